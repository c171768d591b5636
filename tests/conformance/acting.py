"""What the cases have in common: a station that has booted, and an operator's orders to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from conformance.by_hand import open_by_hand
from operating import until
from voltbus.simulator import CallFailedError, Surroundings, make_station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from conformance.by_hand import Raw
    from operating import Operator
    from voltbus.simulator import Options, Protocol, Station2, Station16

T = TypeVar("T")
Payload = dict[str, Any]
Coming = deque[asyncio.Task[T]]

every_version = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
every_2x = pytest.mark.parametrize("protocol", ["2.0.1", "2.1"])

OPEN = {"queued", "sent"}
AHEAD = 5


class Clock:
    """A station's clock that a test moves; it begins an hour ago, so that a charge takes time."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC) - timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.time

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass at the station."""
        self.time += timedelta(minutes=minutes)


@asynccontextmanager
async def booted(
    operator: Operator,
    protocol: Protocol,
    options: Options | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[Station16 | Station2]:
    """A registered station that has connected and booted, and was answered by its registration."""
    name, password = await operator.station(**settings)
    expected = settings.get("registration", "accepted").capitalize()
    around = Surroundings(now=clock) if clock is not None else None
    async with operator.connected(protocol, name, password, options, around) as station:
        assert (await station.boot()).status == expected
        yield station


class Ready:
    """Stations that have booted and take orders already, each for one test.

    config holds orders back for a moment after a boot; here that moment passes while another test
    is running.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self._simulated: dict[Protocol, Coming[Station16 | Station2]] = defaultdict(deque)
        self._by_hand: dict[Protocol, Coming[Raw]] = defaultdict(deque)

    @asynccontextmanager
    async def __call__(self, protocol: Protocol) -> AsyncIterator[Station16 | Station2]:
        """A simulated station that nobody has used; it is closed afterwards."""
        station = await _next(self._simulated[protocol], lambda: self._simulate(protocol))
        try:
            yield station
        finally:
            await station.close()

    @asynccontextmanager
    async def raw(self, protocol: Protocol) -> AsyncIterator[Raw]:
        """A socket that nobody has used; it is closed afterwards."""
        raw = await _next(self._by_hand[protocol], lambda: self._open(protocol))
        try:
            yield raw
        finally:
            await raw.socket.close()

    async def _simulate(self, protocol: Protocol) -> Station16 | Station2:
        name, password = await self.operator.station()
        station = make_station(protocol)
        await station.connect(self.operator.stack.ocpp(), name, password)
        assert (await station.boot()).status == "Accepted"
        assert (await carried_out(self.operator, name, "ClearCache"))["status"] == "answered"
        await station.wait_for("ClearCache")
        station.received.clear()
        station.sent.clear()
        return station

    async def _open(self, protocol: Protocol) -> Raw:
        name, password = await self.operator.station()
        raw = await open_by_hand(self.operator, protocol, name, password)
        await raw.boot()
        made = await order(self.operator, name, "ClearCache")
        call = await raw.asked("ClearCache")
        await raw.send(3, call[1], {"status": "Accepted"})
        assert (await ended(self.operator, made))["status"] == "answered"
        return raw

    async def close(self) -> None:
        """Close those that nobody took."""
        for simulated in self._simulated.values():
            for station in await asyncio.gather(*simulated):
                await station.close()
        for opened in self._by_hand.values():
            for raw in await asyncio.gather(*opened):
                await raw.socket.close()


async def _next(coming: Coming[T], make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    while len(coming) <= AHEAD:
        coming.append(asyncio.create_task(make()))
    return await coming.popleft()


async def takes_calls(station: Station16 | Station2) -> bool:
    """Whether the central system takes this station's ordinary calls (B02.FR.09)."""
    try:
        await station.status(1, "Available")
    except CallFailedError as failure:
        if failure.code != "SecurityError":
            raise
        return False
    return True


def count_of(station: Station16 | Station2, action: str) -> int:
    """How many calls of this action the station has made."""
    return [one.action for one in station.sent].count(action)


async def order(
    operator: Operator, station_id: str, action: str, payload: Payload | None = None, **rest: Any
) -> str:
    """Ask for a call to a station; the command's id."""
    body = {"action": action, "payload": payload or {}, **rest}
    made = await operator.done("POST", "config", f"/v1/stations/{station_id}/commands", json=body)
    return str(made["id"])


async def command(operator: Operator, command_id: str) -> dict[str, Any]:
    """A command as it stands."""
    found: dict[str, Any] = await operator.done("GET", "config", f"/v1/commands/{command_id}")
    return found


async def ended(operator: Operator, command_id: str) -> dict[str, Any]:
    """A command once it is over."""
    return await until(
        lambda: command(operator, command_id), lambda found: found["status"] not in OPEN
    )


async def carried_out(
    operator: Operator, station_id: str, action: str, payload: Payload | None = None, **rest: Any
) -> dict[str, Any]:
    """Ask for a call to a station, and wait for its end."""
    return await ended(operator, await order(operator, station_id, action, payload, **rest))


async def answered(
    operator: Operator, station_id: str, action: str, payload: Payload | None = None
) -> Payload:
    """The payload with which the station answered an order."""
    found = await carried_out(operator, station_id, action, payload)
    assert found["status"] == "answered", found
    answer: Payload = found["answer"]
    return answer


async def register(operator: Operator, station_id: str, registration: str) -> None:
    """Say how the operator stands to a station: accepted, pending or rejected."""
    await operator.done(
        "PATCH", "config", f"/v1/stations/{station_id}", json={"registration": registration}
    )


async def transactions(operator: Operator, station_id: str) -> list[dict[str, Any]]:
    """The station's transactions as they are recorded, the newest first."""
    found = await operator.done("GET", "auth", f"/v1/transactions?station_id={station_id}")
    data: list[dict[str, Any]] = found["data"]
    return data


async def shown(operator: Operator, station_id: str) -> dict[str, Any]:
    """The station as config shows it."""
    found: dict[str, Any] = await operator.done("GET", "config", f"/v1/stations/{station_id}")
    return found


async def connector_state(operator: Operator, station_id: str, state: str) -> None:
    """Wait until config shows a connector in this state."""
    await until(
        lambda: shown(operator, station_id),
        lambda found: state in {each["status"] for each in found["connectors"]},
    )
