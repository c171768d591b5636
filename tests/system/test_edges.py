"""What one edge may send the next, on the real stack (docs/adr/0011-edges.md).

Each test sends the largest that is legal, while a bystander whose records go to the same partition
is served all the time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.partitioner import murmur2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from operating import DEADLINE_S, until
from voltbus.simulator import SUBPROTOCOLS
from voltbus_backbone.bounds import COMMAND_BYTES, FRAME_BYTES
from voltbus_backbone.bus.kafka import Publisher
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator, Subscriber
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

SOON_S = 15.0  # an answer's own budget, and a busy machine; never the minutes of a dead partition


class RawStation:
    """A station of which every byte is ours; it answers the calls that come with ``answers``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self.answers: dict[str, Any] = {}

    async def read(self) -> None:
        """Hand out what comes, until the socket is closed."""
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                kind, number, *rest = json.loads(text)
                if kind == 2:
                    answer = self.answers.get(rest[0])
                    reply = [4, number, "NotSupported", "", {}] if answer is None else answer
                    frame = reply if answer is None else [3, number, answer]
                    await self._socket.send(short(frame))
                else:
                    self._waiting.pop(number).set_result([kind, *rest])

    async def call(self, action: str, payload: Any) -> list[Any]:
        """A call and its answer: [3, payload] or [4, code, ...]."""
        number = secrets.token_hex(6)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        frame = short([2, number, action, payload])
        assert len(frame) <= FRAME_BYTES
        await self._socket.send(frame)
        async with asyncio.timeout(DEADLINE_S):
            found: list[Any] = await answer
        return found


def short(frame: Any) -> str:
    """JSON without blanks, its numbers as short as a station may write them."""
    return json.dumps(frame, separators=(",", ":")).replace("1000000000000000.0", "1e15")


@asynccontextmanager
async def raw_station(
    operator: Operator, protocol: Protocol, name: str | None = None
) -> AsyncIterator[tuple[str, RawStation]]:
    """A registered station that has booted."""
    name, password = await operator.station(name)
    basic = base64.b64encode(f"{name}:{password}".encode()).decode()
    async with connect(
        f"{operator.stack.ocpp()}/{name}",
        subprotocols=[Subprotocol(SUBPROTOCOLS[protocol])],
        additional_headers={"Authorization": f"Basic {basic}"},
        open_timeout=DEADLINE_S,
    ) as socket:
        station = RawStation(socket)
        reading = asyncio.create_task(station.read())
        boot: dict[str, Any] = {"chargePointVendor": "V", "chargePointModel": "M"}
        if protocol != "1.6":
            boot = {"chargingStation": {"vendorName": "V", "model": "M"}, "reason": "PowerUp"}
        answer = await station.call("BootNotification", boot)
        assert answer[1]["status"] == "Accepted"
        yield name, station
        reading.cancel()


async def partitions_of(stack: Stack, topic: Topic) -> int:
    publisher = Publisher(KafkaSettings(bootstrap=stack.kafka), stack.topic_prefix)
    await publisher.start()
    found = await publisher.learn(topic)
    await publisher.stop()
    return found


def named_beside(key: str, partitions: int) -> str:
    """A station id whose records go where those of a key do."""

    def place(text: str) -> int:
        return (int(murmur2(text.encode())) & 0x7FFFFFFF) % partitions

    mark = secrets.token_hex(3)
    return next(name for number in count() if place(name := f"CP-{mark}-{number}") == place(key))


@asynccontextmanager
async def served(station: RawStation, token: str) -> AsyncIterator[list[float]]:
    """Meanwhile this station authorizes again and again, and is answered each time."""
    seconds: list[float] = []
    over = asyncio.Event()

    async def authorize() -> None:
        while not over.is_set():
            started = time.monotonic()
            answer = await station.call("Authorize", {"idTag": token})
            assert answer[0] == 3, answer
            assert answer[1]["idTagInfo"]["status"] == "Accepted"
            seconds.append(time.monotonic() - started)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(authorize())
    try:
        yield seconds
    finally:
        over.set()
        await task
    assert seconds
    assert max(seconds) < SOON_S


async def accepted(operator: Operator, station: RawStation) -> str:
    """A token that this 1.6 station's authorizations are accepted with."""
    token, _ = await operator.token()

    async def status() -> Any:
        return (await station.call("Authorize", {"idTag": token}))[1]["idTagInfo"]["status"]

    await until(status, lambda found: found == "Accepted")
    return token


@pytest.mark.parametrize("different", [1, 27_000])
async def test_a_stop_of_27_000_samples_is_recorded_and_its_neighbours_are_served(
    operator: Operator, subscriber: Subscriber, different: int
) -> None:
    """378 kB that come to 1.2 MB: confirmed (1.6 §4.10), ended once, no sample lost."""
    partitions = await partitions_of(operator.stack, Topic.AUTH_REQUESTS)
    async with raw_station(operator, "1.6") as (name, station):
        beside = named_beside(name, partitions)
        async with raw_station(operator, "1.6", beside) as (_, bystander):
            token = await accepted(operator, bystander)
            begun = datetime.now(UTC) - timedelta(hours=2)
            start = {"connectorId": 1, "idTag": token, "timestamp": begun.isoformat()}
            answer = await station.call("StartTransaction", {**start, "meterStart": 1000})
            number = answer[1]["transactionId"]
            at = (begun + timedelta(hours=1)).isoformat()
            samples = [{"value": str(1 + count % different)} for count in range(27_000)]
            values = [{"timestamp": at, "sampledValue": samples}]
            stop = {
                "transactionId": number,
                "timestamp": at,
                "meterStop": 6000,
                "transactionData": values,
            }
            async with served(bystander, token):
                started = time.monotonic()
                answer = await station.call("StopTransaction", stop)
                assert answer[0] == 3, answer
                assert time.monotonic() - started < SOON_S
                (ended,) = await subscriber.wait_for("transaction.ended", station_id=name)
    assert (ended.meter_start_wh, ended.meter_stop_wh) == (1000, 6000)
    told = subscriber.of("transaction.updated", station_id=name)
    assert sum(len(event.samples) for event in [*told, ended]) == different


async def test_the_largest_frames_on_the_gateway_s_own_partition_send_nobody_away(
    operator: Operator, subscriber: Subscriber
) -> None:
    """2.1 MeterValues and TransactionEvents of 512 KiB beside the gateway's beat: all go on."""
    (beat,) = (await subscriber.wait_for("gateway.beat", leaving=False))[:1]
    partitions = await partitions_of(operator.stack, Topic.STATIONS_EVENTS)
    name = named_beside(beat.gateway_id, partitions)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    room = (FRAME_BYTES - 600) // len(short({"value": 100_000}) + ",")
    samples = [{"value": 100_000 + count} for count in range(room)]
    values = [{"timestamp": at, "sampledValue": samples}]
    event = {
        "timestamp": at,
        "triggerReason": "MeterValuePeriodic",
        "transactionInfo": {"transactionId": secrets.token_hex(8)},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": values,
    }
    async with (
        raw_station(operator, "2.1", name) as (_, station),
        raw_station(operator, "1.6") as (_, bystander),
    ):
        token = await accepted(operator, bystander)
        async with served(bystander, token):
            answer = await station.call("MeterValues", {"evseId": 1, "meterValue": values})
            assert answer == [3, {}]
            for number, phase in enumerate(("Started", "Updated", "Ended")):
                answer = await station.call(
                    "TransactionEvent", {**event, "eventType": phase, "seqNo": number}
                )
                assert answer[0] == 3, answer
            reported = await subscriber.wait_for("station.meter-values", 2, station_id=name)
            assert len({sample for one in reported for sample in one.samples}) == room
            await subscriber.wait_for("transaction.ended", station_id=name)
            # Who comes now is let in.
            async with raw_station(operator, "1.6"):
                pass
    ready = await operator.client.get(operator.stack.http("gateway") + "/readyz")
    assert ready.status_code == 200


async def test_an_answer_of_450_kb_to_a_command_ends_it(operator: Operator) -> None:
    """Numbers that grow fourfold: the command ends, with what fits, and the next one is sent."""
    async with raw_station(operator, "2.0.1") as (name, station):
        station.answers["DataTransfer"] = {"status": "Accepted", "data": [1e15] * 90_000}
        station.answers["ClearCache"] = {"status": "Accepted"}
        path = f"/v1/stations/{name}/commands"
        transfer = {"action": "DataTransfer", "payload": {"vendorId": "v"}}
        made = await operator.done("POST", "config", path, json=transfer)
        following = await operator.done("POST", "config", path, json={"action": "ClearCache"})

        async def shown(command: Any = made) -> Any:
            return await operator.done("GET", "config", f"/v1/commands/{command['id']}")

        found = await until(shown, lambda one: one["status"] not in {"queued", "sent"})
        assert (found["status"], found["answer_status"]) == ("answered", "Accepted")
        assert 0 < len(found["answer"]["data"]) < 90_000
        last = await until(lambda: shown(following), lambda one: one["status"] == "answered")
        assert last["answer_status"] == "Accepted"


async def test_a_command_of_2_mb_is_refused_and_its_gateway_goes_on(operator: Operator) -> None:
    """Told at once (413 or 422), not accepted and then stuck before everybody else's commands."""
    async with raw_station(operator, "1.6") as (name, station):
        station.answers["ClearCache"] = {"status": "Accepted"}
        path = f"/v1/stations/{name}/commands"
        for size in (2_000_000, COMMAND_BYTES):
            data = {"vendorId": "v", "data": "x" * size}
            answer = await operator.send(
                "POST", "config", path, json={"action": "DataTransfer", "payload": data}
            )
            assert answer.status_code in {413, 422}
            assert answer.headers["content-type"] == "application/problem+json"
        made = await operator.done("POST", "config", path, json={"action": "ClearCache"})

        async def shown() -> Any:
            return await operator.done("GET", "config", f"/v1/commands/{made['id']}")

        await until(shown, lambda one: one["status"] == "answered")


async def test_an_agreement_of_1_3_mb_is_refused_and_the_others_are_told(
    operator: Operator, subscriber: Subscriber
) -> None:
    """Within each limit of the API and too large for its event: refused, and no outbox stands."""
    _, ref = await operator.token()
    texts = [f"{number:04}" + "é" * 251 for number in range(1000)]
    body = {
        "kind": "driver",
        "name": "A large contract",
        "tokens": [{"ref": ref, "type": "ISO14443"}],
        "scope": {"locations": texts, "groups": texts, "stations": texts},
    }
    answer = await operator.send("POST", "agreements", "/v1/agreements", json=body)
    assert answer.status_code in {413, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert "ééé" not in answer.text
    other = await operator.agreement(ref)
    await subscriber.wait_for("agreement.activated", id=other)
