"""The agreements service as a process, on real Kafka and MongoDB: killed, restarted, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import httpx
import orjson
import pytest
import pytest_asyncio

from agreements.conftest import body
from voltbus.embedded.keys import make_keys, operator_token
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.kafka import PartitionReader, Publisher, Tail
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.contract.agreements import RetrieveAgreement
from voltbus_backbone.contract.auth import TransactionChanged
from voltbus_backbone.contract.registry import RETRIEVE_AGREEMENT, TRANSACTION_ENDED
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from voltbus_backbone.settings import KafkaSettings

pytestmark = pytest.mark.stack

DEADLINE_S = 90.0


class Service:
    """The process under test, and an operator at its door."""

    def __init__(self, environment: dict[str, str], token: str) -> None:
        self._environment = environment
        self._headers = {"Authorization": f"Bearer {token}"}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start, and be ready when this returns."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "voltbus_agreements",
            env=self._environment,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE_S):
            while True:
                line = await process.stderr.readline()
                assert line, "the service ended before it was ready"
                said = orjson.loads(line)
                if said["event"] == "service.started":
                    break
        self._reading = asyncio.create_task(self._read(process.stderr))
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{said['http_port']}", headers=self._headers, timeout=30
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            code = await self._process.wait()
        if self._reading is not None:
            await self._reading
        await self.client.aclose()
        return code

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.client.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while await stream.readline():
            pass


@pytest_asyncio.fixture(loop_scope="session")
async def environment(
    mongo_uri: str,
    cleared: str,
    kafka_settings: KafkaSettings,
    topic_prefix: str,
    tmp_path: Path,
) -> dict[str, str]:
    """What the process is told."""
    keys = make_keys(tmp_path)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("VOLTBUS_")},
        "VOLTBUS_KAFKA_BOOTSTRAP": kafka_settings.bootstrap,
        "VOLTBUS_TOPIC_PREFIX": topic_prefix,
        "VOLTBUS_HTTP_PORT": "0",
        "VOLTBUS_INSTANCE_ID": "agreements-1",
        "VOLTBUS_MONGO_URI": mongo_uri,
        "VOLTBUS_MONGO_DATABASE": cleared,
        "VOLTBUS_OPERATOR_KEY_FILE": str(keys.operator_public),
    }


@pytest.fixture
def make_service(environment: dict[str, str], tmp_path: Path) -> Callable[[], Service]:
    """Processes with the same settings, one after another."""
    token = operator_token(make_keys(tmp_path))
    return lambda: Service(environment, token)


@pytest_asyncio.fixture(loop_scope="session")
async def publisher(kafka_settings: KafkaSettings, topic_prefix: str) -> AsyncIterator[Publisher]:
    """Another system that writes to Kafka."""
    made = Publisher(kafka_settings, topic_prefix)
    await made.start()
    yield made
    await made.stop()


async def eventually(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """What is answered once it fulfils the condition, before the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        found = await ask()
        while not holds(found):
            await asyncio.sleep(0.02)
            found = await ask()
    return found


def ended(agreement_id: str, energy_wh: int) -> envelope.Record:
    now = datetime.now(UTC)
    message = TransactionChanged(
        transaction_ref=f"{agreement_id}-t1",
        station_id="S1",
        protocol=Protocol.OCPP16,
        transaction_id="1",
        revision=2,
        state="ended",
        at=now,
        agreement_id=agreement_id,
        energy_wh=energy_wh,
    )
    return envelope.event(
        TRANSACTION_ENDED, message, id=f"{agreement_id}-t1:2", source="/test", now=now
    )


async def activated(service: Service) -> str:
    made = await service.ask("POST", "/v1/agreements", json=body())
    await service.ask("POST", f"/v1/agreements/{made['id']}/activate")
    return str(made["id"])


async def usage(service: Service, agreement_id: str) -> Any:
    return await service.ask("GET", f"/v1/agreements/{agreement_id}/usage")


async def test_killed_after_the_answer_it_still_tells(
    make_service: Callable[[], Service], kafka_settings: KafkaSettings, topic_prefix: str
) -> None:
    """Killed right after activate was answered: after a restart Kafka has the event (design 4)."""
    async with Tail(kafka_settings, ["agreements.events"], prefix=topic_prefix) as tail:
        async with make_service() as service:
            made = await activated(service)
        async with make_service(), asyncio.timeout(DEADLINE_S):
            async for event in tail:
                if event.id == f"{made}:2":
                    break
        assert event.type == "voltbus.agreement.activated.v1"
        assert event.decode().status == "active"


async def test_energy_counts_once_over_a_kill(
    make_service: Callable[[], Service], publisher: Publisher
) -> None:
    """A transaction that is told twice, with a kill -9 between, counts once (design 4)."""
    async with make_service() as service:
        first, second = [await activated(service) for _ in range(2)]
        await publisher.publish([ended(first, 5000)])
        await eventually(lambda: usage(service, first), lambda found: found["transactions"] == 1)
    await publisher.publish([ended(first, 5000), ended(second, 1)])
    async with make_service() as service:
        # Both are on one partition: once the second has come, the repetition has too.
        await eventually(lambda: usage(service, second), lambda found: found["transactions"] == 1)
        found = await usage(service, first)
        assert (found["energy_wh"], found["transactions"]) == (5000, 1)
        assert await service.end(signal.SIGTERM) == 0


async def test_agreements_are_retrieved_over_kafka(
    make_service: Callable[[], Service],
    publisher: Publisher,
    kafka_settings: KafkaSettings,
    topic_prefix: str,
) -> None:
    """Another service asks on agreements.requests and gets the agreement on its inbox."""
    requester = Requester(
        instance_id="auth-test",
        source="/voltbus/auth/auth-test",
        inbox_topic=f"{topic_prefix}auth.inbox",
        publisher=publisher,
        start_mark="a",
    )
    await requester.start(
        lambda topic, partition: PartitionReader(kafka_settings, topic, partition),
        await publisher.learn("auth.inbox"),
    )
    try:
        async with make_service() as service:
            made = await service.ask("POST", "/v1/agreements", json=body())
            answers: list[Any] = [
                await requester.ask(RETRIEVE_AGREEMENT, RetrieveAgreement(id=id_), deadline_s=20)
                for id_ in (made["id"], "agr_none")
            ]
    finally:
        await requester.stop()
    assert answers[0].agreement.id == made["id"]
    assert answers[1].agreement is None


async def test_settings_that_cannot_be_used_are_one_line(environment: dict[str, str]) -> None:
    """A missing setting: one line that names it, exit code 2, no stack trace."""
    del environment["VOLTBUS_MONGO_URI"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voltbus_agreements", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert "VOLTBUS_MONGO_URI" in said.decode()
