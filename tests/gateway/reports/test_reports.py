"""What Kafka will never store is given up by a gateway, and holds nothing else up (ADR 0011)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.calls.test_calls import START_16, STATUS_16, STOP_16
from gateway.stage import DEADLINE_S, Stage, soon
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.dead_letters import letter_of
from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.registry import Topic
from voltbus_gateway.reports.reports import Reports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.dead_letters import Letter


class Counting(MemoryBus):
    """Counts how often something is published."""

    def __init__(self) -> None:
        super().__init__()
        self.published = 0

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Count, then store."""
        self.published += 1
        return super().publish(records)


def report(name: str, size: int = 1) -> Record:
    headers = [("ce_id", name.encode()), ("ce_type", b"t")]
    return Record(Topic.STATIONS_EVENTS, b"CP-1", b"x" * size, headers)


def letters(bus: MemoryBus) -> list[Letter]:
    return [
        letter_of(record.headers, record.key, record.value)
        for record in bus.records(Topic.GATEWAY_DEAD_LETTER)
    ]


async def test_a_report_that_kafka_refuses_is_not_repeated() -> None:
    """A dead letter, once; the reports beside it are stored, and nothing is owed any more."""
    bus = Counting()
    bus.largest = 500
    reports = Reports(bus, retry_s=0.001)
    for record in (report("a"), report("big", 600), report("b")):
        reports.report(record)
    async with asyncio.timeout(DEADLINE_S):
        await reports.settle()
    # Long enough for repetitions, if there were any.
    async with asyncio.timeout(DEADLINE_S):
        await bus.changed(lambda: len(bus.records(Topic.GATEWAY_DEAD_LETTER)) == 1)
    stored = [envelope.header(r.headers, "ce_id") for r in bus.records(Topic.STATIONS_EVENTS)]
    assert stored == [b"a", b"b"]
    assert bus.published == 3
    (letter,) = letters(bus)
    assert letter.reason.startswith("Kafka refused it (too_large)")
    assert (letter.id, letter.body) == ("big", None)
    reports.close()


async def test_while_kafka_is_away_so_many_bytes_are_owed_and_no_more() -> None:
    """The oldest are given up when all together are too large, however few they are."""
    bus = MemoryBus()
    bus.stalled = True
    reports = Reports(bus, limit_bytes=5_000)
    for number in range(10):
        reports.report(report(str(number), 1_000))
    assert len(reports._owed) == 4
    bus.stalled = False
    async with asyncio.timeout(DEADLINE_S):
        await reports.settle()
    reports.close()


async def test_a_fact_that_kafka_refuses_is_an_error_and_a_letter(stage: Stage) -> None:
    """A broker takes less than ours: the station hears it, the fact is kept, the others go on."""
    async with stage.station("CP-1") as station:
        assert (await station.call("StartTransaction", START_16))[0] == 3
        stage.bus.largest = 1_500
        reading = {"timestamp": "2026-03-01T11:00:00Z", "sampledValue": [{"value": "1"}] * 50}
        large = STOP_16 | {"transactionData": [reading]}
        answer = await station.call("StopTransaction", large)
        assert answer[:3] == [4, "m1", "InternalError"]
        assert "never" in answer[3]
        values = {"connectorId": 1, "meterValue": [reading]}
        assert (await station.call("MeterValues", values))[:3] == [4, "m1", "InternalError"]
        assert await station.call("StatusNotification", STATUS_16) == [3, "m1", {}]
        assert (await station.call("StopTransaction", STOP_16))[0] == 3
    await soon(lambda: len(letters(stage.bus)) == 2)
    assert [letter.type for letter in letters(stage.bus)] == [
        registry.TRANSACTION.name,
        registry.METER_VALUES.name,
    ]
    assert all(letter.body is None for letter in letters(stage.bus))


async def test_an_answer_that_grows_too_large_ends_its_command_with_what_fits(
    stage: Stage,
) -> None:
    """450 kB of numbers that come to 1.6 MB: cut, and said so."""
    numbers = "[" + ",".join(["1e15"] * 90_000) + "]"
    async with stage.station("CP-1", offers=("ocpp2.0.1",)) as station:
        await stage.event(registry.STATION_CONNECTED, "CP-1")
        await stage.command("CP-1", "DataTransfer", {"vendorId": "v"})
        number = (await station.receive())[1]
        await station.socket.send(f'[3,"{number}",{{"status":"Accepted","data":{numbers}}}]')
        ended = await stage.wait_for_command_end()
    payload: dict[str, Any] = ended.payload or {}
    assert payload["status"] == "Accepted"
    assert 10_000 < len(payload["data"]) < 90_000
    assert ended.repairs == ("data: cut after some of its entries, the message is too large",)
