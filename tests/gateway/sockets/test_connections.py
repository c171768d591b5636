"""Whose connection it is, and what the log says of it (design 3, ownership)."""

from __future__ import annotations

import asyncio
import gc
import socket as sockets
import weakref
from typing import TYPE_CHECKING

import pytest

from gateway.stage import GATEWAY_ID, Stage, known_station, soon
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.contract.stations import GatewayBeat


def log_of(stage: Stage, station_id: str) -> list[tuple[str, str]]:
    """The station's connected and disconnected, in order: (which, connection)."""
    return [
        (event.type.split(".")[2], event.message.connection_id)
        for event in stage.bus.events("stations.events")
        if event.type in {registry.STATION_CONNECTED.name, registry.STATION_DISCONNECTED.name}
        and event.message.station_id == station_id
    ]


async def test_the_log_says_who_came_where_and_left_how(stage: Stage) -> None:
    """Both events name the connection; they are keyed by station, so the log orders them."""
    async with stage.station("CP-1", offers=("ocpp2.0.1",)) as station:
        connected = await stage.event(registry.STATION_CONNECTED, "CP-1")
        await station.socket.close(1000, "bye")
    left = await stage.event(registry.STATION_DISCONNECTED, "CP-1")
    assert connected.protocol is Protocol.OCPP201
    assert connected.gateway_id == GATEWAY_ID
    assert connected.gateway_partition == stage.requester.partition
    assert left.connection_id == connected.connection_id
    assert left.code == 1000
    records = [record for record in stage.bus.records("stations.events") if record.key == b"CP-1"]
    assert len(records) == 2


async def test_a_second_frame_waits_for_no_acknowledgement_of_the_first(stage: Stage) -> None:
    """Nagle's algorithm is off at our end: else two answers in a row are 40 ms apart."""
    async with stage.station("CP-1"):
        (listener,) = stage.gateway.listeners._listeners.values()
        (ours,) = listener.servers[0].connections
        accepted = ours.transport.get_extra_info("socket")
        assert accepted.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY) == 1


async def test_a_dropped_tcp_connection_is_1006(stage: Stage) -> None:
    """Design 9: stations drop TCP without a close frame."""
    async with stage.station("CP-1") as station:
        station.socket.transport.abort()
        assert (await stage.event(registry.STATION_DISCONNECTED, "CP-1")).code == 1006
    assert stage.gateway.connections.count() == 0


async def test_a_second_socket_of_a_station_takes_over(stage: Stage) -> None:
    """The newer socket serves at once; the older is closed and its end names only itself."""
    async with stage.station("CP-1") as older:
        first = await stage.event(registry.STATION_CONNECTED, "CP-1")
        async with stage.station("CP-1") as newer:
            assert (await older.wait_closed())[0] == 1008
            second = await stage.event(registry.STATION_CONNECTED, "CP-1", 2)
            left = await stage.event(registry.STATION_DISCONNECTED, "CP-1")
            assert left.connection_id == first.connection_id != second.connection_id
            await stage.command("CP-1", "ClearCache", {})
            frame = await newer.receive()
            assert frame[2] == "ClearCache"
            await newer.send(3, frame[1], {"status": "Accepted"})
            assert (await stage.wait_for_command_end()).outcome is CallOutcome.ANSWERED
    await stage.event(registry.STATION_DISCONNECTED, "CP-1", 2)
    kinds = [kind for kind, _ in log_of(stage, "CP-1")]
    assert kinds == ["connected", "connected", "disconnected", "disconnected"]


async def test_a_station_takes_over_while_its_old_tcp_connection_hangs(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """The old peer never answers our close: the new connection does not wait for it."""
    stage = await start(close_timeout_s=0.2)
    async with stage.station("CP-1") as older:
        older.socket.transport.pause_reading()
        async with stage.station("CP-1") as newer:
            assert (await newer.call("Heartbeat", {}))[0] == 3
            left = await stage.event(registry.STATION_DISCONNECTED, "CP-1")
            assert left.connection_id == log_of(stage, "CP-1")[0][1]
            assert (await newer.call("Heartbeat", {}))[0] == 3
        older.socket.transport.abort()


async def test_many_reconnections_leave_one_connection(stage: Stage) -> None:
    """However sockets of one station race, one remains, and it is the last in the log."""
    stage.services.logins["CP-1"] = known_station()
    sockets = [await stage.socket("CP-1") for _ in range(5)]
    await soon(lambda: stage.gateway.connections.count() == 1)
    current = next(iter(stage.gateway.connections.list_current()))
    connected = [connection for kind, connection in log_of(stage, "CP-1") if kind == "connected"]
    assert connected[-1] == current.connection_id
    assert connected == sorted(connected)
    await asyncio.gather(*(socket.close() for socket in sockets))


async def test_the_gateway_beats(start: Callable[..., Awaitable[Stage]]) -> None:
    """Beats are keyed by gateway and count its connections."""
    stage = await start(beat_s=0.05)

    def beats() -> list[GatewayBeat]:
        return [
            event.message
            for event in stage.bus.events("stations.events")
            if event.type == registry.GATEWAY_BEAT.name
        ]

    async with stage.station("CP-1"):
        await soon(lambda: any(beat.connections == 1 for beat in beats()))
    assert all(beat.gateway_id == GATEWAY_ID and not beat.leaving for beat in beats())


async def test_a_dead_peer_is_found_by_pings(start: Callable[..., Awaitable[Stage]]) -> None:
    """A station that is silent on a half-open connection is disconnected."""
    stage = await start(ping_interval_s=0.05, ping_timeout_s=0.1, close_timeout_s=0.1)
    async with stage.station("CP-1") as station:
        station.socket.transport.pause_reading()
        await stage.event(registry.STATION_DISCONNECTED, "CP-1")
        station.socket.transport.abort()


class Forgetful(MemoryBus):
    """Refuses to store that a station has connected."""

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Store the others."""
        if any(b"connected" in dict(record.headers)["ce_id"] for record in records):
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(Unavailable("not stored"))
            return refused
        return super().publish(records)


async def test_a_connection_that_kafka_does_not_know_of_is_closed(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Nobody could send it a command: it is told to come again (1012)."""
    stage = await start(Forgetful(), grace_s=0.5)
    async with stage.station("CP-1") as station:
        assert (await station.wait_closed())[0] == 1012


@pytest.mark.parametrize("ping_interval_s", [0, 0.01])
async def test_a_closed_socket_is_freed_at_once(
    start: Callable[..., Awaitable[Stage]], ping_interval_s: float
) -> None:
    """No cycle keeps a dead socket: a reconnect storm leaves nothing to the garbage collector."""
    stage = await start(ping_interval_s=ping_interval_s)
    gc.disable()
    try:
        async with stage.station("CP-1") as station:
            assert (await station.call("Heartbeat", {}))[0] == 3
            connection = next(iter(stage.gateway.connections.list_current()))
            socket = weakref.ref(connection._transport._socket)  # type: ignore[attr-defined]  # ours
            assert socket() is not None
            del connection
        await soon(lambda: socket() is None)
    finally:
        gc.enable()
