"""The gateway as a process: its settings, its readiness on real Kafka, and SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gateway.stage import PASSWORD, Services, Station, basic, known_station, soon
from voltbus.embedded.ports import free_ports
from voltbus_backbone.bus.consumption import Consumption, Loop
from voltbus_backbone.bus.kafka import GroupConsumer, Publisher, Tail
from voltbus_backbone.bus.replies import ReplyAddresses, reply_topics
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.contract.values import AuthorizationStatus
from voltbus_backbone.errors import SettingsError
from voltbus_backbone.settings import load
from voltbus_gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.settings import KafkaSettings

DEADLINE_S = 90.0


async def start_process(**settings: str) -> asyncio.subprocess.Process:
    """The gateway with this environment and nothing else of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VOLTBUS_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voltbus_gateway",
        env=clean | {f"VOLTBUS_{name.upper()}": value for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.stack
async def test_bad_settings_are_one_line_and_exit_code_2() -> None:
    """A malformed setting: one line that names the variable; no stack trace."""
    process = await start_process(http_port="0", ocpp_port="many")
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert err.count(b"\n") == 1
    assert b"VOLTBUS_OCPP_PORT" in err


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "OCPP_PORT"),
        ({"ocpp_port": "0", "ocpp_path": "ocpp"}, "OCPP_PATH"),
        ({"ocpp_port": "0", "connect_rate_per_s": "-1"}, "CONNECT_RATE_PER_S"),
        ({"ocpp_port": "0", "unknown_properties": "eat"}, "UNKNOWN_PROPERTIES"),
    ],
)
def test_each_bad_setting_is_named(
    settings: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing or out of range is refused before anything starts."""
    for variable, value in ({"http_port": "0"} | settings).items():
        monkeypatch.setenv(f"VOLTBUS_{variable.upper()}", value)
    with pytest.raises(SettingsError, match=f"VOLTBUS_{name}"):
        load(Settings)


class StandIns:
    """auth and config on real Kafka, answering as ``Services`` does."""

    def __init__(self, kafka: KafkaSettings, prefix: str) -> None:
        self.services = Services(MemoryBus())
        self._publisher = Publisher(kafka, prefix)
        types = {row.name for row in registry.TYPES.values() if row.topic in self._topics}
        self._loop = Loop(
            Consumption("stand-ins", self._topics, frozenset(types), self._handle),
            consumer=GroupConsumer(kafka, prefix, "stand-ins"),
            publisher=self._publisher,
            addresses=ReplyAddresses(reply_topics(prefix, None), self._publisher.partition_counts),
            dead_letters=Topic.AUTH_DEAD_LETTER,
            batch_records=100,
        )

    _topics = (Topic.AUTH_REQUESTS, Topic.CONFIG_REQUESTS)

    async def _handle(self, events: Sequence[Event]) -> list[Record]:
        return [record for event in events for record in await self.services.handle(event)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Services]:
        """Answer until the end."""
        await self._publisher.start()
        work = asyncio.create_task(self._loop.run())
        try:
            yield self.services
        finally:
            self._loop.stop()
            await work
            await self._publisher.stop()


class Process:
    """A gateway process that is ready."""

    def __init__(self, process: asyncio.subprocess.Process, http: int, ocpp: int) -> None:
        self.process = process
        self.http = f"http://127.0.0.1:{http}"
        self.ocpp = f"ws://127.0.0.1:{ocpp}/ocpp"

    @contextlib.asynccontextmanager
    async def station(self, name: str, protocol: str = "ocpp1.6") -> AsyncIterator[Station]:
        """A connected station."""
        socket = await connect(
            f"{self.ocpp}/{name}",
            subprotocols=[Subprotocol(protocol)],
            additional_headers=basic(name, PASSWORD),
            compression=None,
        )
        try:
            yield Station(socket)
        finally:
            await socket.close()


@pytest_asyncio.fixture
async def gateway(kafka_settings: KafkaSettings, topic_prefix: str) -> AsyncIterator[Process]:
    """A gateway on real Kafka."""
    http, ocpp = free_ports(2)
    process = await start_process(
        instance_id="gateway-p",
        http_port=str(http),
        ocpp_port=str(ocpp),
        kafka_bootstrap=kafka_settings.bootstrap,
        topic_prefix=topic_prefix,
        grace_s="5",
    )
    made = Process(process, http, ocpp)
    try:
        await soon(lambda: _ready(made), DEADLINE_S)
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _ready(made: Process) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{made.http}/readyz").status_code == 200
    return False


@pytest.mark.stack
async def test_a_process_serves_stations_on_real_kafka_and_ends_in_order(
    gateway: Process, kafka_settings: KafkaSettings, topic_prefix: str
) -> None:
    """Log-in, Boot, Authorize, a stop; SIGTERM closes with 1001 and the process exits 0."""
    told: list[Event] = []
    stand_ins = StandIns(kafka_settings, topic_prefix)
    tail = Tail(kafka_settings, [Topic.STATIONS_EVENTS], prefix=topic_prefix)
    async with stand_ins.running() as services, tail, gateway_events(tail, told):
        services.logins["CP-P"] = known_station()
        services.tokens["ABC"] = AuthorizationStatus.ACCEPTED
        with pytest.raises(InvalidStatus):
            async with gateway.station("CP-unknown"):
                pass
        async with gateway.station("CP-P") as station, asyncio.timeout(DEADLINE_S):
            boot = {"chargePointVendor": "Acme", "chargePointModel": "One"}
            assert (await station.call("BootNotification", boot))[2]["status"] == "Accepted"
            answer = await station.call("Authorize", {"idTag": "ABC"})
            assert answer[2] == {"idTagInfo": {"status": "Accepted"}}
            stop = {
                "transactionId": 1,
                "meterStop": 5,
                "timestamp": datetime.now(UTC).isoformat(),
            }
            assert (await station.call("StopTransaction", stop))[0] == 3
            gateway.process.send_signal(signal.SIGTERM)
            assert (await station.wait_closed())[0] == 1001
        async with asyncio.timeout(DEADLINE_S):
            assert await gateway.process.wait() == 0
            await soon(lambda: any(_is_last_beat(event) for event in told))
    kinds = [event.type for event in told if event.subject == "CP-P"]
    assert kinds[0] == registry.STATION_CONNECTED.name
    assert kinds[-1] == registry.STATION_DISCONNECTED.name


def _is_last_beat(event: Event) -> bool:
    return event.type == registry.GATEWAY_BEAT.name and bool(event.decode().leaving)


@contextlib.asynccontextmanager
async def gateway_events(tail: Tail, told: list[Event]) -> AsyncIterator[None]:
    """Collect what a tail reads."""

    async def read() -> None:
        async for event in tail:
            told.append(event)  # noqa: PERF401 - the list grows while the test reads it

    reading: asyncio.Task[Any] = asyncio.create_task(read())
    yield
    reading.cancel()
    await asyncio.wait([reading])
