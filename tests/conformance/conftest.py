"""One operator and one subscriber for the whole suite; every test registers its own station."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from conformance.acting import Ready
from operating import operating, subscribed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator, Subscriber
    from voltbus.embedded.stack import Stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(stack: Stack) -> AsyncIterator[Operator]:
    """The operator of the shared stack."""
    async with operating(stack) as one:
        yield one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def subscriber(stack: Stack) -> AsyncIterator[Subscriber]:
    """A subscriber that has seen everything since the first test that wanted it."""
    async with subscribed(stack) as one:
        yield one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ready(operator: Operator) -> AsyncIterator[Ready]:
    """Stations that take orders at once."""
    stations = Ready(operator)
    yield stations
    await stations.close()
