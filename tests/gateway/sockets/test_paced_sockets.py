"""Stations over their budgets, on real sockets (ADR 0013)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from websockets.frames import Frame, Opcode

from gateway.stage import DEADLINE_S, PASSWORD, Stage, basic, gateways_end, known_station, soon
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CallOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LARGE = {"vendorId": "Acme", "data": "x" * 200_000}


async def raw_end(reader: asyncio.StreamReader) -> bytes:
    """Everything until the gateway closes."""
    async with asyncio.timeout(DEADLINE_S):
        return await reader.read()


async def test_who_floods_with_pings_is_closed_and_nobody_else(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """RFC 6455 §5.5.2 wants each answered: a station with more than its budget is closed (1008)."""
    stage = await start(control_frames_burst=50)
    async with stage.station("CP-1") as bad, stage.station("CP-2") as good:
        bad.socket.transport.write(Frame(Opcode.PING, b"").serialize(mask=True) * 5000)
        assert (await bad.wait_closed())[0] == 1008
        assert (await good.call("Heartbeat", {}))[0] == 3
    assert (await stage.event(registry.STATION_DISCONNECTED, "CP-1")).code == 1008


async def test_pings_in_an_honest_number_are_answered(stage: Stage) -> None:
    """A station that pings each second, and was not read for two minutes, is not closed."""
    async with stage.station("CP-1") as station:
        async with asyncio.timeout(DEADLINE_S):
            for pong in [await station.socket.ping() for _ in range(120)]:
                await pong
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_who_sends_more_than_its_budget_is_slowed_and_answered(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Data over the budget waits in the socket: every call is answered, in order, none is lost."""
    stage = await start(messages_per_s=200.0, budget_burst_s=0.05)
    async with stage.station("CP-1") as station:
        for number in range(60):
            await station.send(2, str(number), "Heartbeat", {})
        answers = [(await station.receive())[1] for _ in range(60)]
    assert answers == [str(number) for number in range(60)]


async def test_large_calls_are_not_parsed_ahead(start: Callable[..., Awaitable[Stage]]) -> None:
    """Seventeen at once: one is in hand, one waits as bytes, the others are not read."""
    stage = await start(answer_deadline_s=DEADLINE_S, outage_s=DEADLINE_S)
    async with stage.station("CP-1") as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
        stage.bus.stalled = True
        for number in range(17):
            text = json.dumps([2, str(number), "DataTransfer", LARGE]).encode()
            station.socket.transport.write(Frame(Opcode.TEXT, text).serialize(mask=True))
        ours = gateways_end(stage)
        await soon(lambda: not ours.transport.is_reading())
        connection = next(iter(stage.gateway.connections.list_current()))
        assert connection.waiting_bytes == 0
        assert ours._kept_bytes <= len(json.dumps(LARGE)) + 100
        stage.bus.stalled = False
        assert [(await station.receive())[1] for _ in range(17)] == [str(n) for n in range(17)]


async def test_a_large_answer_waits_for_none_of_the_stations_calls(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A13: the directions are independent, whatever the size of a message."""
    stage = await start(answer_deadline_s=DEADLINE_S)
    stage.services.silent.add(registry.AUTHORIZE.name)
    async with stage.station("CP-1") as station:
        await station.call("BootNotification", BOOT)
        await station.send(2, "a", "Authorize", {"idTag": "ABC"})
        await stage.command("CP-1", "DataTransfer", {"vendorId": "Acme"})
        _, id_, _, _ = await station.receive()
        await station.send(3, id_, {"status": "Accepted", "data": "x" * 100_000})
        assert (await stage.wait_for_command_end()).outcome is CallOutcome.ANSWERED


async def test_an_answer_right_before_the_close_counts(stage: Stage) -> None:
    """A station answers Reset and closes in one packet: it has answered (1.6 5.14)."""
    async with stage.station("CP-1") as station:
        await station.call("BootNotification", BOOT)
        await stage.command("CP-1", "Reset", {"type": "Soft"})
        _, id_, _, _ = await station.receive()
        answer = json.dumps([3, id_, {"status": "Accepted"}]).encode()
        station.socket.transport.write(
            Frame(Opcode.TEXT, answer).serialize(mask=True)
            + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
        )
        assert (await stage.wait_for_command_end()).outcome is CallOutcome.ANSWERED


async def test_facts_right_before_the_close_are_stored(stage: Stage) -> None:
    """What a station sends before it closes has happened, also behind a call that is in hand."""
    status = {"connectorId": 1, "errorCode": "NoError", "timestamp": "2026-03-01T10:00:00Z"}
    async with stage.station("CP-1") as station:
        await station.call("BootNotification", BOOT)
        words = ("Preparing", "Charging", "Finishing")
        calls = [
            [2, str(number), "StatusNotification", {**status, "status": word}]
            for number, word in enumerate(words)
        ]
        station.socket.transport.write(
            b"".join(
                Frame(Opcode.TEXT, json.dumps(call).encode()).serialize(mask=True) for call in calls
            )
            + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
        )
        reported = [
            await stage.event(registry.STATUS_REPORTED, "CP-1", number)
            for number in range(1, len(words) + 1)
        ]
    assert [event.status for event in reported] == list(words)


BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}


async def test_who_stops_in_the_middle_of_messages_is_closed_when_memory_is_short(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """The process holds no more than its limit; the one that holds longest goes (1013)."""
    stage = await start(max_held_bytes=1024 * 1024)
    half = Frame(Opcode.TEXT, b" " * 500_000).serialize(mask=True)[:-10]
    async with stage.station("CP-0") as good:
        names = ["CP-1", "CP-2", "CP-3"]
        for name in names:
            stage.services.logins[name] = known_station()
        sockets = [await stage.socket(name) for name in names]
        for socket in sockets:
            socket.transport.write(half)
        async with asyncio.timeout(DEADLINE_S):
            done, _ = await asyncio.wait(
                [asyncio.create_task(socket.wait_closed()) for socket in sockets],
                return_when=asyncio.FIRST_COMPLETED,
            )
        assert done
        assert 1013 in {socket.close_code for socket in sockets}
        assert (await good.call("Heartbeat", {}))[0] == 3
        assert stage.gateway.listeners.held_bytes <= 1024 * 1024
        for socket in sockets:
            socket.transport.abort()
    await soon(lambda: stage.gateway.listeners.held_bytes == 0)


async def test_frames_before_the_upgrade_are_not_answered(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Who knocks and floods meanwhile is not read; what came waits for the door's decision."""
    stage = await start(login_deadline_s=1.0)
    stage.services.silent.add(registry.STATION_LOGIN.name)
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.listeners.port())
    head = [
        "GET /ocpp/CP-1 HTTP/1.1",
        "Host: gateway",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol: ocpp1.6",
        *(f"{name}: {value}" for name, value in basic("CP-1", PASSWORD).items()),
    ]
    writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
    await stage.bus.wait_for("auth.requests", lambda _: True)
    writer.write(Frame(Opcode.PING, b"").serialize(mask=True) * 1000)
    assert (await raw_end(reader)).startswith(b"HTTP/1.1 503 ")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_who_breaks_the_protocol_and_stays_is_cut_off(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """RFC 6455 §7.1.7: the peer owes nothing but to go, and is not waited for."""
    stage = await start(close_timeout_s=0.2)
    async with stage.station("CP-1") as station:
        station.socket.transport.pause_reading()
        station.socket.transport.write(b"\xff" * 100)
        left: Any = await stage.event(registry.STATION_DISCONNECTED, "CP-1")
        assert left.code == 1002
        station.socket.transport.abort()
        await station.socket.wait_closed()
