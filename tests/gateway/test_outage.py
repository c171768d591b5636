"""Kafka away, and the orderly end (design 4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from gateway.stage import DEADLINE_S, Stage, known_station, soon
from voltbus_backbone.contract import registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.stage import Station


@pytest.mark.parametrize("how", ["broken", "stalled"])
async def test_kafka_away_sends_stations_away_and_recovers(
    start: Callable[..., Awaitable[Stage]], how: str
) -> None:
    """Not ready, 503 for new stations, 1012 for the others; all by itself good again."""
    stage = await start(outage_s=0.3, beat_s=0.1)
    stage.services.logins["CP-2"] = known_station()
    async with stage.station("CP-1") as station:
        await stage.event(registry.STATION_CONNECTED, "CP-1")
        setattr(stage.bus, how, True)
        assert (await station.wait_closed())[0] == 1012
        assert not stage.gateway.is_storing()
        with pytest.raises(InvalidStatus) as caught:
            await stage.socket("CP-2")
        assert caught.value.response.status_code == 503
        setattr(stage.bus, how, False)
        await soon(stage.gateway.is_storing)
    async with stage.station("CP-1") as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
    # What could not be told meanwhile is told now.
    await stage.event(registry.STATION_DISCONNECTED, "CP-1")


async def test_a_short_hiccup_disturbs_nobody(start: Callable[..., Awaitable[Stage]]) -> None:
    """Below the limit the connection stays, and the call waits for Kafka."""
    stage = await start(outage_s=5, beat_s=0.05)
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    async with stage.station("CP-1") as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
        stage.bus.stalled = True
        await station.send(2, "s", "StatusNotification", status)
        await station.send(2, "h", "Heartbeat", {})
        stage.bus.stalled = False
        assert (await station.receive())[1] == "s"
        assert (await station.receive())[1] == "h"
    assert stage.gateway.is_storing()


async def test_the_end_finishes_the_call_in_flight(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """SIGTERM: a call that waits for its answer gets it, then the socket closes with 1001."""
    stage = await start()
    async with stage.station("CP-1") as busy, stage.station("CP-2") as idle:
        assert (await busy.call("Heartbeat", {}))[0] == 3
        stage.bus.stalled = True
        await busy.send(2, "a", "Authorize", {"idTag": "ABC"})
        connection = next(
            connection
            for connection in stage.gateway.connections.list_current()
            if connection.station_id == "CP-1"
        )
        await soon(lambda: not connection.idle)
        ending = asyncio.create_task(stage.stop())
        assert (await idle.wait_closed())[0] == 1001
        assert not ending.done()
        stage.bus.stalled = False
        assert (await busy.receive())[:2] == [3, "a"]
        assert (await busy.wait_closed())[0] == 1001
        await ending
    beats = [
        event.message
        for event in stage.bus.events("stations.events")
        if event.type == registry.GATEWAY_BEAT.name
    ]
    assert beats[-1].leaving
    assert beats[-1].connections == 0
    for name in ("CP-1", "CP-2"):
        await stage.event(registry.STATION_DISCONNECTED, name)


async def test_the_end_does_not_wait_for_ever(start: Callable[..., Awaitable[Stage]]) -> None:
    """A call that nobody answers ends with the grace period."""
    stage = await start(grace_s=0.5, answer_deadline_s=60)
    stage.services.silent.add(registry.AUTHORIZE.name)
    async with stage.station("CP-1") as station:
        await station.send(2, "a", "Authorize", {"idTag": "ABC"})
        connection = next(iter(stage.gateway.connections.list_current()))
        await soon(lambda: not connection.idle)
        async with asyncio.timeout(30):
            await stage.stop()
        assert (await station.wait_closed())[0] == 1001


async def test_many_connections_close_in_batches(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A fleet is not sent away at one moment, and every socket gets its close frame."""
    stage = await start(close_batch=5, grace_s=5)
    async with asyncio.TaskGroup() as group:
        ends: list[asyncio.Task[tuple[int, str]]] = []
        ready: list[asyncio.Event] = []

        async def one(name: str, there: asyncio.Event) -> tuple[int, str]:
            async with stage.station(name) as station:
                there.set()
                return await _end(station)

        for number in range(30):
            ready.append(asyncio.Event())
            ends.append(group.create_task(one(f"CP-{number}", ready[-1])))
        await asyncio.gather(*(event.wait() for event in ready))
        await stage.stop()
    assert {task.result()[0] for task in ends} == {1001}
    assert stage.gateway.connections.count() == 0


async def _end(station: Station) -> tuple[int, str]:
    async with asyncio.timeout(DEADLINE_S):
        return await station.wait_closed()
