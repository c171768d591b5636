"""Who is dead and who only waits for us: pings and paused reading (design 4; RFC 6455 §5.5.2)."""

from __future__ import annotations

import asyncio
import json
import socket as network
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from gateway.stage import DEADLINE_S, Stage, Station, gateways_end, soon
from voltbus_backbone.contract import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from websockets.protocol import Event

MORE_THAN_IS_READ_AHEAD = 60
DEAD = 1011
GONE = 1006


class Pinged(ClientConnection):
    """A station that counts the pings that it answers."""

    pings = 0

    def process_event(self, event: Event) -> None:
        """Something came."""
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
        super().process_event(event)


class Sipping(ClientConnection):
    """A station that reads a little each time it is told to read on."""

    def process_event(self, event: Event) -> None:
        """Something came."""
        super().process_event(event)
        if isinstance(event, Frame) and self.transport.is_reading():
            self.transport.pause_reading()


async def wait_for_second_ping(socket: ClientConnection, times: int) -> None:
    """Wait for so many more pings; each but the first tells that the one before was borne."""
    assert isinstance(socket, Pinged)
    enough = socket.pings + times
    await soon(lambda: socket.pings >= enough or socket.close_code is not None)
    assert socket.close_code is None


@asynccontextmanager
async def connect_unread_station(stage: Stage) -> AsyncIterator[Station]:
    """A station that has sent so far ahead, while auth is silent, that the gateway reads no more.

    Auth speaks again when ``stage.bus.stalled`` is false.
    """
    async with stage.station("CP-1", create_connection=Pinged) as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
        stage.bus.stalled = True
        for number in range(MORE_THAN_IS_READ_AHEAD):
            await station.send(2, f"a{number}", "Authorize", {"idTag": "ABC"})
        await soon(lambda: not gateways_end(stage).transport.is_reading())
        yield station


async def test_a_station_that_we_do_not_read_is_not_taken_for_dead(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Its pongs wait behind its calls: several time-outs later all are answered, in order."""
    stage = await start(
        ping_interval_s=0.1, ping_timeout_s=1.0, answer_deadline_s=DEADLINE_S, outage_s=DEADLINE_S
    )
    async with connect_unread_station(stage) as station:
        await wait_for_second_ping(station.socket, 3)
        assert not gateways_end(stage).transport.is_reading()
        stage.bus.stalled = False
        answers = [await station.receive() for _ in range(MORE_THAN_IS_READ_AHEAD)]
        assert [answer[:2] for answer in answers] == [
            [3, f"a{number}"] for number in range(MORE_THAN_IS_READ_AHEAD)
        ]
        await wait_for_second_ping(station.socket, 2)
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_a_station_that_died_while_we_did_not_read_is_found_when_we_do(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Time-outs that did not count are followed by one that does."""
    stage = await start(
        ping_interval_s=0.2,
        ping_timeout_s=0.2,
        close_timeout_s=0.1,
        answer_deadline_s=DEADLINE_S,
        outage_s=DEADLINE_S,
    )
    async with connect_unread_station(stage) as station:
        await wait_for_second_ping(station.socket, 2)
        station.socket.transport.pause_reading()
        stage.bus.stalled = False
        left = await stage.event(registry.STATION_DISCONNECTED, "CP-1")
        assert left.code == DEAD
        station.socket.transport.abort()


@asynccontextmanager
async def never_reading(stage: Stage) -> AsyncIterator[Station]:
    """A station with little room for answers reads none, so the gateway reads no more calls."""
    narrow = network.socket()
    narrow.setsockopt(network.SOL_SOCKET, network.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    address = ("127.0.0.1", stage.gateway.listeners.port())
    await asyncio.get_running_loop().sock_connect(narrow, address)
    async with stage.station("CP-1", create_connection=Sipping, sock=narrow) as station:
        sending = gateways_end(stage).transport.get_extra_info("socket")
        sending.setsockopt(network.SOL_SOCKET, network.SO_SNDBUF, 4096)
        station.socket.transport.pause_reading()
        for number in range(1000):
            text = json.dumps([2, f"h{number}", "Heartbeat", {}]).encode()
            # Past its library, which would wait for room.
            station.socket.transport.write(Frame(Opcode.TEXT, text).serialize(mask=True))
        ours, limit = gateways_end(stage).transport, stage.settings.write_limit_bytes
        await soon(lambda: not ours.is_reading() and ours.get_write_buffer_size() > limit)
        yield station
        station.socket.transport.abort()


async def test_a_station_that_sends_but_never_reads_is_found(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """That we do not read, because it does not, is no excuse for it."""
    stage = await start(
        ping_interval_s=0.5, ping_timeout_s=0.1, close_timeout_s=0.1, write_limit_bytes=1024
    )
    async with never_reading(stage):
        left = await stage.event(registry.STATION_DISCONNECTED, "CP-1")
        assert left.code == DEAD


async def test_a_station_that_goes_while_we_wait_for_it_to_read(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """An ordinary end (1006), which nobody need look into: nothing broke."""
    stage = await start(write_limit_bytes=1024)
    with capture_logs() as logs:
        async with never_reading(stage):
            pass
        assert (await stage.event(registry.STATION_DISCONNECTED, "CP-1")).code == GONE
    assert [line["event"] for line in logs] == []


async def test_a_station_that_reads_slowly_is_not_taken_for_dead(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Its pong waits behind what we wrote before: to take some of that is a sign of life."""
    stage = await start(ping_timeout_s=0.8, write_limit_bytes=1024)
    async with never_reading(stage) as station:
        ours = gateways_end(stage)
        lives = asyncio.create_task(ours._ping_once(stage.settings))
        await asyncio.sleep(0)
        assert not ours.taken
        station.socket.transport.resume_reading()
        await soon(lambda: ours.taken)
        assert await lives


async def test_a_pause_in_reading_is_noticed_though_it_is_short(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """The library pauses where StationSocket looks: what keep_alive relies on, of its internals."""
    stage = await start(answer_deadline_s=DEADLINE_S, outage_s=DEADLINE_S)
    async with connect_unread_station(stage) as station:
        ours = gateways_end(stage)
        stage.bus.stalled = False
        for _ in range(MORE_THAN_IS_READ_AHEAD):
            await station.receive()
        assert ours.transport.is_reading()
        assert ours.held


class Mute(Pinged):
    """A station whose library answers no ping."""

    def data_received(self, data: bytes) -> None:
        """Something came: read it, and keep the pongs back."""
        send = self.protocol.send_frame
        self.protocol.send_frame = lambda frame: (  # type: ignore[method-assign]  # ours
            None if frame.opcode is Opcode.PONG else send(frame)
        )
        super().data_received(data)
        self.protocol.send_frame = send  # type: ignore[method-assign]  # ours


async def test_a_station_that_answers_no_ping_lives_while_its_heartbeats_come(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Cheap firmware ignores pings (against RFC 6455 §5.5.3); its heartbeats are seldom."""
    stage = await start(ping_interval_s=0.02, ping_timeout_s=0.02, close_timeout_s=0.1)
    async with stage.station("CP-1", create_connection=Mute) as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
        await wait_for_second_ping(station.socket, 5)
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_a_station_that_answers_no_ping_and_falls_silent_is_dead(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Without a byte for ``ping_silence_s`` nothing speaks for it."""
    stage = await start(
        ping_interval_s=0.02, ping_timeout_s=0.02, ping_silence_s=0.2, close_timeout_s=0.1
    )
    async with stage.station("CP-1", create_connection=Mute) as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
        assert (await stage.event(registry.STATION_DISCONNECTED, "CP-1")).code == DEAD


async def test_a_pong_may_wait_behind_a_frame_that_comes_slowly(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A frame is never interrupted by another (RFC 6455 §5.4): its bytes are the sign of life."""
    stage = await start(ping_timeout_s=0.5)
    async with stage.station("CP-1") as station:
        ours = gateways_end(stage)
        await asyncio.wait_for(ours._ping_once(stage.settings), DEADLINE_S)
        assert ours.ponged
        station.socket.transport.pause_reading()
        lives = asyncio.create_task(ours._ping_once(stage.settings))
        await asyncio.sleep(0)
        before = ours.received_at
        text = json.dumps([2, "h", "Heartbeat", {}]).encode()
        station.socket.transport.write(Frame(Opcode.TEXT, text).serialize(mask=True)[:9])
        await soon(lambda: ours.received_at > before)
        assert await lives
        station.socket.transport.abort()
