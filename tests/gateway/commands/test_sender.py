"""Calls to stations on config's behalf: each ends in exactly one CallEnded (A13, A17)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.stage import DEADLINE_S, GATEWAY_ID, Stage, soon
from voltbus_backbone.contract import gateway, registry
from voltbus_backbone.contract.config import CallOutcome, RejectedBy
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voltbus_backbone.contract.config import CallEnded
    from voltbus_gateway.connection.connection import Connection

RESET = {"type": "Soft"}


def ends(stage: Stage) -> list[CallEnded]:
    """Every CallEnded so far."""
    return [
        event.message
        for event in stage.bus.events("config.requests")
        if event.type == registry.CALL_ENDED.name
    ]


async def test_a_command_goes_to_the_station_and_its_answer_to_config(stage: Stage) -> None:
    """The round trip, with the answer's payload as it came."""
    async with stage.station("CP-1") as station:
        connection = await stage.event(registry.STATION_CONNECTED, "CP-1")
        await stage.command("CP-1", "Reset", RESET)
        kind, id_, action, payload = await station.receive()
        assert (kind, action, payload) == (2, "Reset", RESET)
        await station.send(3, id_, {"status": "Accepted"})
        ended = await stage.wait_for_command_end()
    assert ended.outcome is CallOutcome.ANSWERED
    assert ended.payload == {"status": "Accepted"}
    assert ended.connection_id == connection.connection_id


async def test_a_refusal_is_reported_with_its_code(stage: Stage) -> None:
    """A CALLERROR of the station, also with a code that nobody knows (design 9)."""
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "Reset", RESET)
        await station.send(4, (await station.receive())[1], "MyOwnError", "no", {})
        ended = await stage.wait_for_command_end()
    assert (ended.outcome, ended.error_code) == (CallOutcome.REJECTED, "MyOwnError")
    assert (ended.rejected_by, ended.unsent) == (RejectedBy.STATION, False)


async def test_silence_of_the_station_is_a_timeout(stage: Stage) -> None:
    """After its time the command ends, and the next one is sent."""
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "Reset", RESET, "c1", timeout_s=0.05)
        await stage.command("CP-1", "ClearCache", {}, "c2")
        assert (await station.receive())[2] == "Reset"
        assert (await stage.wait_for_command_end("c1")).outcome is CallOutcome.TIMED_OUT
        assert (await station.receive())[2] == "ClearCache"


async def test_a_station_that_is_not_here_is_reported(stage: Stage) -> None:
    """Config keeps the command for the station's next connection."""
    await stage.command("CP-1", "Reset", RESET)
    assert (await stage.wait_for_command_end()).outcome is CallOutcome.NOT_CONNECTED


@pytest.mark.parametrize(
    ("action", "payload"), [("Reset", {"type": "Gently"}), ("NoSuch", {}), ("Heartbeat", {})]
)
async def test_an_invalid_command_is_not_sent(
    stage: Stage, action: str, payload: dict[str, Any]
) -> None:
    """The payload is checked against the schema before it leaves."""
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", action, payload)
        end = await stage.wait_for_command_end()
        assert (end.outcome, end.unsent) == (CallOutcome.INVALID, True)
        assert end.rejected_by is RejectedBy.GATEWAY
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_the_stations_calls_are_answered_while_a_command_waits(stage: Stage) -> None:
    """A13: the directions are independent, and calls may cross."""
    stage.services.tokens["ABC"] = AuthorizationStatus.ACCEPTED
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "Reset", RESET)
        command = await station.receive()
        for number in range(3):
            answer = await station.call("Authorize", {"idTag": "ABC"}, str(number))
            assert answer[:2] == [3, str(number)]
        await station.send(3, command[1], {"status": "Accepted"})
        assert (await stage.wait_for_command_end()).outcome is CallOutcome.ANSWERED


async def test_one_command_at_a_time_in_order(stage: Stage) -> None:
    """A13: one outstanding CALL; the next leaves when the first is answered."""
    async with stage.station("CP-1") as station:
        for number in range(5):
            await stage.command("CP-1", "ClearCache", {}, f"c{number}")
        for number in range(5):
            frame = await station.receive()
            assert len(ends(stage)) == number
            await station.send(3, frame[1], {"status": "Accepted"})
            await stage.wait_for_command_end(f"c{number}")
    assert [end.command_id for end in ends(stage)] == [f"c{number}" for number in range(5)]


async def test_a_command_that_comes_twice_is_sent_once(stage: Stage) -> None:
    """A repeated SendCall must not unlock twice; after the end it gets the same report."""
    async with stage.station("CP-1") as station:
        for _ in range(2):
            await stage.command("CP-1", "Reset", RESET)
        frame = await station.receive()
        await station.send(3, frame[1], {"status": "Accepted"})
        await stage.wait_for_command_end()
        await stage.command("CP-1", "Reset", RESET)
        await stage.command("CP-1", "ClearCache", {}, "c2")
        assert (await station.receive())[2] == "ClearCache"
    reports = [end for end in ends(stage) if end.command_id == "c1"]
    assert [end.outcome for end in reports] == [CallOutcome.ANSWERED] * 2
    assert reports[0] == reports[1]


async def test_commands_end_when_the_connection_does(stage: Stage) -> None:
    """Sent but unanswered is a timeout (it may have been done); not sent is not connected."""
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "Reset", RESET, "c1")
        await stage.command("CP-1", "ClearCache", {}, "c2")
        await station.receive()
        station.socket.transport.abort()
        assert (await stage.wait_for_command_end("c1")).outcome is CallOutcome.TIMED_OUT
        assert (await stage.wait_for_command_end("c2")).outcome is CallOutcome.NOT_CONNECTED


async def test_a_command_that_comes_too_late_is_not_sent(stage: Stage) -> None:
    """Config has given it up by then: no connector is unlocked that nobody waits for (design 3)."""
    async with stage.station("CP-1") as station:
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        await stage.command("CP-1", "Reset", RESET, "old", not_after=long_ago, attempt=2)
        ended = await stage.wait_for_command_end("old")
        assert (ended.outcome, ended.late, ended.attempt) == (CallOutcome.NOT_CONNECTED, True, 2)
        soon_enough = datetime.now(UTC) + timedelta(hours=2)
        await stage.command("CP-1", "ClearCache", {}, "new", not_after=soon_enough)
        assert (await station.receive())[2] == "ClearCache"


async def test_a_command_that_was_late_is_sent_when_it_comes_again(stage: Stage) -> None:
    """Config sends it again with more time; what was not done is not taken for done."""
    async with stage.station("CP-1") as station:
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        await stage.command("CP-1", "Reset", RESET, not_after=long_ago, attempt=1)
        await stage.wait_for_command_end()
        await stage.command("CP-1", "Reset", RESET, attempt=2)
        frame = await station.receive()
        await station.send(3, frame[1], {"status": "Accepted"})
        await stage.bus.changed(lambda: len(ends(stage)) == 2)
    assert [(end.outcome, end.late) for end in ends(stage)] == [
        (CallOutcome.NOT_CONNECTED, True),
        (CallOutcome.ANSWERED, False),
    ]


@pytest.mark.parametrize("how", ["told", "taken over", "draining"])
async def test_a_command_to_a_closing_socket_was_not_sent(
    start: Callable[..., Awaitable[Stage]], how: str
) -> None:
    """A hanging peer keeps its old socket open for seconds; a command then waits for the next."""
    stage = await start(close_timeout_s=DEADLINE_S, grace_s=2 * DEADLINE_S)
    async with stage.station("CP-1") as station:
        await station.call("Heartbeat", {})
        (connection,) = stage.gateway.connections.list_current()
        station.socket.transport.pause_reading()
        ending = [asyncio.create_task(_close(stage, connection, how))]
        await soon(lambda: connection.leaving)
        if how != "taken over":  # the newer socket would take it
            await stage.command("CP-1", "ClearCache", {}, "next")
            assert (await stage.wait_for_command_end("next")).outcome is CallOutcome.NOT_CONNECTED
        assert not connection.closed
        station.socket.transport.abort()
        await asyncio.gather(*ending)


@pytest.mark.parametrize("how", ["told", "taken over"])
async def test_a_command_ends_as_soon_as_its_socket_closes(
    start: Callable[..., Awaitable[Stage]], how: str
) -> None:
    """The next command need not wait until a hanging peer is cut off (takeover in a second)."""
    stage = await start(close_timeout_s=DEADLINE_S)
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "Reset", RESET, "out")
        await station.receive()
        await stage.command("CP-1", "ClearCache", {}, "behind")
        (connection,) = stage.gateway.connections.list_current()
        station.socket.transport.pause_reading()
        await _close(stage, connection, how)
        assert (await stage.wait_for_command_end("out")).outcome is CallOutcome.TIMED_OUT
        assert (await stage.wait_for_command_end("behind")).outcome is CallOutcome.NOT_CONNECTED
        assert not connection.closed
        station.socket.transport.abort()


async def _close(stage: Stage, connection: Connection, how: str) -> None:
    if how == "told":
        told = gateway.CloseConnection(
            gateway_id=GATEWAY_ID, station_id="CP-1", connection_id=connection.connection_id
        )
        await stage.send_to_inbox(told, registry.CLOSE_CONNECTION)
    elif how == "draining":
        await stage.stop()
    else:
        newer = await stage.socket("CP-1")
        await newer.close()


async def test_a_pending_station_gets_no_remote_start(stage: Stage) -> None:
    """B02.FR.05: configured and asked, but not started from afar; a rejected one gets nothing."""
    boot = {"chargePointVendor": "Acme", "chargePointModel": "One"}
    stage.services.registrations["CP-1"] = "Pending"
    async with stage.station("CP-1") as station:
        await station.call("BootNotification", boot)
        await stage.command("CP-1", "RemoteStartTransaction", {"idTag": "ABC"}, "c1")
        refused = await stage.wait_for_command_end("c1")
        assert (refused.outcome, refused.error_code) == (CallOutcome.REJECTED, "SecurityError")
        await stage.command("CP-1", "GetConfiguration", {}, "c2")
        assert (await station.receive())[2] == "GetConfiguration"


async def test_a_command_behind_a_boot_answer_does_not_overtake_it(stage: Stage) -> None:
    """Config accepts a station and sends it a command at once: the acceptance comes first."""
    boot = {"chargePointVendor": "Acme", "chargePointModel": "One"}
    async with stage.station("CP-1") as station:
        await station.send(2, "b", "BootNotification", boot)
        await stage.bus.wait_for("config.requests", lambda event: event.type == registry.BOOT.name)
        await stage.command("CP-1", "RemoteStartTransaction", {"idTag": "ABC"})
        assert (await station.receive())[:2] == [3, "b"]
        assert (await station.receive())[2] == "RemoteStartTransaction"


async def test_config_can_close_a_connection(stage: Stage) -> None:
    """The station has a newer connection elsewhere: this one is closed, and only this one."""
    async with stage.station("CP-1") as station:
        connected = await stage.event(registry.STATION_CONNECTED, "CP-1")
        for connection_id in ("another", connected.connection_id):
            await stage.send_to_inbox(
                gateway.CloseConnection(
                    gateway_id=GATEWAY_ID,
                    station_id="CP-1",
                    connection_id=connection_id,
                    reason="newer",
                ),
                registry.CLOSE_CONNECTION,
            )
        assert await station.wait_closed() == (1008, "newer")


async def test_reports_survive_an_outage(start: Callable[..., Awaitable[Stage]]) -> None:
    """A command's end that Kafka refused is told again when Kafka is back."""
    stage = await start(registration_deadline_s=0.05)
    async with stage.station("CP-1") as station:
        await stage.command("CP-1", "Reset", RESET)
        frame = await station.receive()
        stage.bus.broken = True
        await station.send(3, frame[1], {"status": "Accepted"})
        assert (await station.call("Heartbeat", {}))[1] == "m1"
        stage.bus.broken = False
        assert (await stage.wait_for_command_end()).outcome is CallOutcome.ANSWERED
