"""Two sockets with one identity do not push each other out for ever (ADR 0019; A20)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from gateway.stage import DEADLINE_S, GATEWAY_ID, Stage, Station, known_station, soon
from voltbus_backbone.contract import gateway, registry
from voltbus_gateway.domain.door.contests import TAKEOVERS

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


async def take_over(stage: Stage, holder: ClientConnection) -> ClientConnection:
    """A second station takes the place, and the first one hears it."""
    newer = await stage.socket("CP-1")
    await Station(holder).wait_closed()
    return newer


async def provoke_contest(stage: Stage) -> ClientConnection:
    """The holder after so many takeovers that the identity is contested."""
    stage.services.logins["CP-1"] = known_station()
    socket = await stage.socket("CP-1")
    for _ in range(TAKEOVERS):
        socket = await take_over(stage, socket)
    await stage.event(registry.DUPLICATE_IDENTITY, "CP-1")
    return socket


async def list_refused(stage: Stage) -> int:
    """The status of a refused newcomer."""
    with pytest.raises(InvalidStatus) as caught:
        await stage.socket("CP-1")
    return caught.value.response.status_code


async def test_after_some_takeovers_the_holder_stays(stage: Stage) -> None:
    """The newcomer hears 409 and when to come again; the holder is served as before."""
    holder = await provoke_contest(stage)
    with pytest.raises(InvalidStatus) as caught:
        await stage.socket("CP-1")
    assert caught.value.response.status_code == 409
    assert 0 < int(caught.value.response.headers["Retry-After"]) <= 10
    assert (await Station(holder).call("Heartbeat", {}))[0] == 3
    await holder.close()


async def test_the_operator_is_told_with_both_addresses(stage: Stage) -> None:
    """A warning and an event that name the station; the refusal is told too."""
    with capture_logs() as logs:
        holder = await provoke_contest(stage)
        assert await list_refused(stage) == 409
    event = await stage.event(registry.DUPLICATE_IDENTITY, "CP-1")
    assert (event.address, event.other_address) == ("127.0.0.1", "127.0.0.1")
    assert (event.count, event.pause_s) == (TAKEOVERS, 10.0)
    [warning] = [line for line in logs if line["event"] == "station.duplicate_identity"]
    assert (warning["station"], warning["log_level"]) == ("CP-1", "warning")
    told = await stage.event(registry.STATION_REFUSED, "CP-1")
    assert (told.kind, told.reason) == ("login", "duplicate_identity")
    await holder.close()


async def test_in_40_seconds_hardly_anybody_is_closed(stage: Stage) -> None:
    """Two stations that come back each second: it was 32 closings, and one of them a second."""
    stage.services.logins["CP-1"] = known_station()
    contests = stage.gateway.listeners._connections._contests
    second = 0.0
    contests._clock = lambda: second
    holder = await stage.socket("CP-1")
    closings = 0
    while second < 40:
        second += 1.0
        try:
            holder = await take_over(stage, holder)
        except InvalidStatus:
            continue
        closings += 1
        await soon(lambda: stage.gateway.connections.count() == 1)
    assert closings <= TAKEOVERS + 2
    assert (await Station(holder).call("Heartbeat", {}))[0] == 3
    await holder.close()


async def test_a_real_reconnection_comes_in_at_once_though_it_is_contested(stage: Stage) -> None:
    """The holder's TCP connection is dead: nobody keeps a place for it."""
    holder = await provoke_contest(stage)
    stage.gateway.listeners._connections._contests._probe_s = 0.05
    holder.transport.pause_reading()
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE_S), AsyncExitStack() as stack:
        # What came in the last second still speaks for it.
        while True:
            try:
                newer = await stack.enter_async_context(stage.station("CP-1"))
            except InvalidStatus:
                continue
            break
        assert (await newer.call("Heartbeat", {}))[0] == 3
        holder.transport.abort()


async def test_a_station_whose_old_connection_hangs_is_never_contested(stage: Stage) -> None:
    """However often it comes back: its old connections do not answer our close."""
    stage.services.logins["CP-1"] = known_station()
    hanging = []
    for _ in range(TAKEOVERS * 2):
        socket = await stage.socket("CP-1")
        socket.transport.pause_reading()
        hanging.append(socket)
    async with stage.station("CP-1") as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
    for socket in hanging:
        socket.transport.abort()
    events = stage.bus.events("stations.events")
    assert not [event for event in events if event.type == registry.DUPLICATE_IDENTITY.name]


async def test_when_the_holder_leaves_the_other_comes_in(stage: Stage) -> None:
    """A contest is about a place that somebody holds."""
    holder = await provoke_contest(stage)
    await holder.close()
    await soon(lambda: stage.gateway.connections.count() == 0)
    async with stage.station("CP-1") as station:
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_two_stations_at_two_gateways_are_damped_too(stage: Stage) -> None:
    """Config has this gateway close its own, since a newer one is elsewhere (design 3)."""
    stage.services.logins["CP-1"] = known_station()
    for number in range(1, TAKEOVERS + 1):
        socket = await stage.socket("CP-1")
        connected = await stage.event(registry.STATION_CONNECTED, "CP-1", number)
        assert connected.address == "127.0.0.1"
        await stage.send_to_inbox(
            gateway.CloseConnection(
                gateway_id=GATEWAY_ID,
                station_id="CP-1",
                connection_id=connected.connection_id,
                address="192.0.2.7",
            ),
            registry.CLOSE_CONNECTION,
        )
        assert (await Station(socket).wait_closed())[0] == 1008
    event = await stage.event(registry.DUPLICATE_IDENTITY, "CP-1")
    assert (event.address, event.other_address) == ("127.0.0.1", "192.0.2.7")
    assert await list_refused(stage) == 409
