"""A station that sends what fits no schema: its facts count, and its operator learns of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.registry import Topic
from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.repairs.repair import Kind, Repair
from voltbus_gateway.metrics import REPAIRS
from voltbus_gateway.reports.repairs import ReportedPlaces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.stage import Stage

STOP = {"transactionId": 42, "meterStop": 26008.3, "timestamp": "2026-03-01T12:00:00Z"}
BOOT = {"chargePointVendor": "Acme", "chargePointModel": "M" * 23}
FAULT = {"connectorId": 1, "errorCode": "NoError", "status": "Faulted", "info": "i" * 77}
CARD = "04A2B3C4D5E6F70123456"


def list_repaired(stage: Stage) -> list[Any]:
    """The events about repairs so far."""
    return [
        event.message
        for event in stage.bus.events(Topic.STATIONS_EVENTS)
        if event.type == registry.STATION_REPAIRED.name
    ]


def count(action: str, kind: Kind) -> float:
    """How many repairs of a kind were counted in an action of 1.6."""
    return float(REPAIRS.labels("ocpp1.6", action, kind.value)._value.get())


async def test_a_stop_with_an_odd_field_is_confirmed_and_told(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """1.6 §4.10; the event, the log line and the count name the place and never the value."""
    stage = await start()
    before = count("StopTransaction", Kind.CONVERTED)
    with capture_logs() as logs:
        async with stage.station("CP-1") as station:
            for number in range(3):
                answer = await station.call("StopTransaction", STOP | {"idTag": CARD}, f"s{number}")
                assert answer[0] == 3
            message = await stage.bus.wait_for(
                Topic.AUTH_REQUESTS, lambda event: event.type == registry.TRANSACTION.name
            )
            told = await stage.event(registry.STATION_REPAIRED, "CP-1")
    notes = ("meterStop: rounded", "idTag: longer than 20 characters, kept whole")
    assert message.message.meter_wh == 26008
    assert message.message.repairs == notes
    assert (told.action, told.repairs) == ("StopTransaction", notes)
    assert len(list_repaired(stage)) == 1
    lines = [line for line in logs if line["event"] == "message.repaired"]
    assert [(line["station"], line["repairs"]) for line in lines] == [("CP-1", list(notes))]
    assert CARD not in str(logs)
    assert count("StopTransaction", Kind.CONVERTED) == before + 3


async def test_a_boot_and_a_fault_with_long_texts(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """The station is let in, and its connector is seen as Faulted."""
    stage = await start()
    async with stage.station("CP-1") as station:
        booted = await station.call("BootNotification", BOOT, "b")
        assert booted[2]["status"] == "Accepted"
        assert (await station.call("StatusNotification", FAULT, "f"))[0] == 3
        status = await stage.event(registry.STATUS_REPORTED, "CP-1")
    assert (status.status, status.info) == ("Faulted", "i" * 77)
    assert status.repairs == ("info: longer than 50 characters, kept whole",)


async def test_strictness_is_a_setting(start: Callable[..., Awaitable[Stage]]) -> None:
    """``VOLTBUS_STATION_FACTS=strict``: the schema decides, and nothing is mended."""
    stage = await start(station_facts=Facts.STRICT)
    async with stage.station("CP-1") as station:
        answer = await station.call("StopTransaction", STOP, "s")
        assert answer[:3] == [4, "s", "TypeConstraintViolation"]
    assert list_repaired(stage) == []


async def test_a_number_that_the_schema_allows_and_nobody_can_keep(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """2.x sets integers no limit: a reservation of 1e30 costs no start."""
    stage = await start()
    event = {
        "eventType": "Started",
        "timestamp": "2026-03-01T12:00:00Z",
        "triggerReason": "CablePluggedIn",
        "seqNo": 0,
        "reservationId": 1e30,
        "transactionInfo": {"transactionId": "tx-1"},
    }
    async with stage.station("CP-2", offers=["ocpp2.0.1"]) as station:
        assert (await station.call("TransactionEvent", event, "e"))[0] == 3
        told = await stage.event(registry.STATION_REPAIRED, "CP-2")
    assert told.repairs == ("reservationId: no integer, left out",)


async def test_an_answer_against_its_schema_is_kept(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """The command is answered with the station's word, and says what was odd in it."""
    stage = await start()
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "RemoteStartTransaction", {"idTag": "A"})
        frame = await station.receive()
        await station.send(3, frame[1], {"status": "Accepted", "transactionId": 5})
        ended = await stage.wait_for_command_end()
        told = await stage.event(registry.STATION_REPAIRED, "CP-1")
    assert ended.outcome is CallOutcome.ANSWERED
    assert ended.payload == {"status": "Accepted", "transactionId": 5}
    assert ended.repairs == told.repairs == ("payload: unknown property transactionId",)
    assert told.action == "RemoteStartTransaction"


async def test_an_answer_that_breaks_off_ends_its_command_at_once(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Nobody waits 30 s for what has come; it is no refusal of the station's."""
    stage = await start()
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "ClearCache", {})
        frame = await station.receive()
        await station.socket.send(f'[3,"{frame[1]}",{{"status":')
        ended = await stage.wait_for_command_end()
    assert ended.outcome is CallOutcome.TIMED_OUT
    assert (
        ended.error_description == "The station's answer could not be read: The message is no JSON"
    )


ROUNDED = Repair("meterStop", Kind.CONVERTED, "rounded")
NULL = Repair("meterStop", Kind.DROPPED, "null, left out")
REASON = Repair("reason", Kind.DROPPED, "null, left out")


def test_a_place_is_told_of_once_an_hour() -> None:
    """Whatever was mended there; another place, action or station is told of at once."""
    told = ReportedPlaces()
    assert told.select_new("CP-1", "StopTransaction", [ROUNDED], 0.0) == (ROUNDED,)
    assert told.select_new("CP-1", "StopTransaction", [ROUNDED, NULL, REASON], 10.0) == (REASON,)
    assert told.select_new("CP-2", "StopTransaction", [ROUNDED], 10.0) == (ROUNDED,)
    assert told.select_new("CP-1", "StartTransaction", [ROUNDED], 10.0) == (ROUNDED,)
    assert told.select_new("CP-1", "StopTransaction", [ROUNDED, REASON], 3600.0) == (ROUNDED,)
    assert told.select_new("CP-1", "StopTransaction", [ROUNDED, REASON], 3610.0) == (REASON,)


def test_a_station_that_invents_places_takes_nobodys_room() -> None:
    """Bounded memory: what has no room is only counted, and others are not told of again."""
    told = ReportedPlaces(stations=2, places=3)
    assert told.select_new("CP-1", "StopTransaction", [ROUNDED], 0.0) == (ROUNDED,)
    made_up = [Repair(f"x{number}", Kind.DROPPED, "left out") for number in range(9)]
    assert told.select_new("CP-2", "DataTransfer", made_up, 0.0) == tuple(made_up[:3])
    assert told.select_new("CP-2", "DataTransfer", made_up, 1.0) == ()
    assert told.select_new("CP-1", "StopTransaction", [ROUNDED], 1.0) == ()
