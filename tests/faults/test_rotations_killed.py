"""auth is killed in the middle of a rotation: it ends as if nothing had been (A7)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from operating import until
from system.test_rotations import CARRIER, given, rotate

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])

OVER = {"succeeded", "failed"}


async def ended(operator: Operator, rotation: dict[str, Any]) -> dict[str, Any]:
    async def read() -> Any:
        answer = await operator.send("GET", "auth", f"/v1/rotations/{rotation['id']}")
        return answer.json() if answer.is_success else {"state": ""}

    found: dict[str, Any] = await until(read, lambda body: body["state"] in OVER, deadline_s=90)
    return found


async def taken(
    operator: Operator, station: Station16 | Station2, protocol: Protocol, rotation: dict[str, Any]
) -> str:
    """The password that a rotation that succeeds has given."""
    over = await ended(operator, rotation)
    assert over["state"] == "succeeded", over
    return given(station, protocol)


async def nothing_else_lets_in(
    operator: Operator, protocol: Protocol, name: str, old: str, new: str
) -> None:
    """One password was sent, and it alone lets the station in."""
    listed = await operator.done("GET", "config", f"/v1/commands?station_id={name}")
    assert len([one for one in listed["data"] if one["action"] == "set_password"]) == 1
    assert await operator.lets_in(protocol, name, new)
    assert not await operator.lets_in(protocol, name, old)


@everywhere
async def test_killed_as_soon_as_it_has_promised(
    fragile: Stack, operator: Operator, protocol: Protocol
) -> None:
    """Kill -9 after the 202, wherever the asking was: one command, one password, no lock-out."""
    name, old = await operator.station()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()
        await fragile.signal("config", signal.SIGSTOP)  # nothing is heard of before the kill
        try:
            rotation = await rotate(operator, name)
            await fragile.kill("auth")
        finally:
            await fragile.signal("config", signal.SIGCONT)
        await fragile.restart("auth")
        new = await taken(operator, station, protocol, rotation)
    await nothing_else_lets_in(operator, protocol, name, old, new)


@everywhere
async def test_killed_while_the_station_answers(
    fragile: Stack, operator: Operator, protocol: Protocol
) -> None:
    """The answer comes while auth is away: it is heard of after the restart."""
    name, old = await operator.station()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()
        rotation = await rotate(operator, name)
        await station.wait_for(CARRIER[protocol])
        await fragile.kill("auth")
        await fragile.restart("auth")
        new = await taken(operator, station, protocol, rotation)
    await nothing_else_lets_in(operator, protocol, name, old, new)
