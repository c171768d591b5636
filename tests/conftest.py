"""The real servers, started once per run: Kafka, MongoDB and, where a test wants them, services."""

from __future__ import annotations

import gc
import secrets
from typing import TYPE_CHECKING

import hypothesis
import pytest
import pytest_asyncio
import structlog

from mongod_clock import forget_by_itself
from voltbus.embedded.stack import Stack, temporary_stack
from voltbus_backbone.bus.kafka import ensure_topics
from voltbus_backbone.observability import hide, shorten
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# As in a process, but not cached, so that a test may capture. The library's own default draws
# coloured tracebacks with every local variable: slow, and it would show what logs must not.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        hide,
        shorten,
        structlog.processors.JSONRenderer(),
    ],
    cache_logger_on_first_use=False,
)

# A busy machine is no fault: an example may take its time, and so may making one.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """Let no collection of garbage look at the modules and the tests, which stay to the end."""
    gc.freeze()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    """Real Kafka and real MongoDB; with the four services when any test of the run needs them."""
    items = request.session.items
    whole = any("stack" in getattr(item, "fixturenames", ()) for item in items)
    async with temporary_stack() if whole else temporary_stack(services=()) as started:
        # Many tests put their clock into the past, where all is over already.
        await forget_by_itself(started.mongo_uri(), on=False)
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(servers: Stack) -> Stack:
    """The whole stack, shared: a test uses its own station ids and tokens, and breaks nothing."""
    return servers


@pytest.fixture(scope="session")
def mongo_uri(servers: Stack) -> str:
    """The administrator's connection string; take a database name of your own."""
    return servers.mongo_uri()


@pytest.fixture
def database_name() -> str:
    """A database that no other test uses."""
    return f"test_{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def kafka_settings(servers: Stack) -> KafkaSettings:
    """How to reach the real broker."""
    return KafkaSettings(bootstrap=servers.kafka)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def topic_prefix(kafka_settings: KafkaSettings) -> str:
    """Topics of the tests' own on the real broker, three partitions each."""
    prefix = f"test{secrets.token_hex(3)}."
    await ensure_topics(kafka_settings, prefix, partitions=3)
    return prefix
