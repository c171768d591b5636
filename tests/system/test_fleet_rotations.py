"""Many stations get new passwords at a pace, on the real stack."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from operating import until
from system.test_rotations import given, refusal
from voltbus.simulator import RefusedError, make_station

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

PROTOCOLS: tuple[Protocol, ...] = ("1.6", "2.0.1", "2.1")


async def fleet(operator: Operator, **body: Any) -> str:
    answer = await operator.send("POST", "auth", "/v1/rotations", json=body)
    assert answer.status_code == 202, answer.text
    where: str = answer.headers["location"]
    assert where == f"/v1/rotations/fleets/{answer.json()['id']}"
    return where


async def reaches(operator: Operator, where: str, **wanted: Any) -> dict[str, Any]:
    async def read() -> Any:
        return await operator.done("GET", "auth", where)

    found: dict[str, Any] = await until(
        read, lambda body: all(body[name] == value for name, value in wanted.items())
    )
    return found


async def member(operator: Operator, **place: str) -> str:
    """A station that auth, too, knows to be of this group or site; it has no password yet."""
    name = f"CP-{secrets.token_hex(4)}"
    await operator.done("POST", "config", "/v1/stations", json={"id": name, **place})

    async def knocking() -> int:
        try:
            await make_station("1.6").connect(operator.stack.ocpp(), name, "0" * 40)
        except RefusedError as refused:
            return refused.status
        return 101

    # 404: auth has not heard of it; 401: it has, and lets nobody in without credentials.
    await until(knocking, lambda status: status == 401)
    return name


async def test_a_group_is_rotated(operator: Operator) -> None:
    """Those that are there succeed, one that refuses fails, one without a password is skipped."""
    group = f"group-{secrets.token_hex(4)}"
    bare = await member(operator, group_id=group)
    async with AsyncExitStack() as stations:
        held = []
        for protocol in (*PROTOCOLS, "1.6"):
            name = await member(operator, group_id=group)
            old = await password_of(operator, name)
            station = await stations.enter_async_context(operator.connected(protocol, name, old))
            await station.boot()
            held.append((protocol, station, old))
        refusing = held[-1][1]
        refusing.answers["ChangeConfiguration"] = lambda _: refusal("1.6")
        where = await fleet(operator, group_id=group, at_once=2, per_minute=6000, most_failures=5)
        done = await reaches(operator, where, state="completed")
        assert {name: done[name] for name in ("total", "succeeded", "failed", "skipped")} == {
            "total": 5,
            "succeeded": 3,
            "failed": 1,
            "skipped": 1,
        }
        assert [each["station_id"] for each in done["skipped_stations"]] == [bare]
        listed = await operator.done("GET", "auth", f"/v1/rotations?fleet_id={done['id']}")
        names = {station.station_id for _, station, _ in held}
        assert {one["station_id"] for one in listed["data"]} == names
    for protocol, station, old in held[:-1]:
        assert await operator.lets_in(protocol, station.station_id, given(station, protocol))
        assert not await operator.lets_in(protocol, station.station_id, old)
    assert await operator.lets_in("1.6", refusing.station_id, held[-1][2])


async def test_failures_stop_it_and_it_is_paused_and_resumed(operator: Operator) -> None:
    """At the threshold nothing more is begun, until somebody resumes it; pausing does the same."""
    site = f"site-{secrets.token_hex(4)}"
    names = [await member(operator, site_id=site) for _ in range(3)]
    async with AsyncExitStack() as stations:
        for name in names:
            old = await password_of(operator, name)
            station = await stations.enter_async_context(operator.connected("1.6", name, old))
            station.answers["ChangeConfiguration"] = lambda _: refusal("1.6")
            await station.boot()
        where = await fleet(operator, site_id=site, at_once=1, per_minute=6000, most_failures=1)
        stopped = await reaches(operator, where, state="stopped")
        assert (stopped["failed"], stopped["waiting"]) == (1, 2)
        assert "1 failed" in stopped["detail"]
        again = await operator.send("POST", "auth", f"{where}/pause")
        assert again.status_code == 409
        await operator.done("POST", "auth", f"{where}/resume")
        await reaches(operator, where, state="stopped", failed=2)
        await operator.done("POST", "auth", f"{where}/resume")
        await reaches(operator, where, failed=3)


async def test_a_paused_fleet_begins_nothing(operator: Operator) -> None:
    """At one a minute the second waits; paused and resumed, it goes on at once."""
    site = f"site-{secrets.token_hex(4)}"
    names = [await member(operator, site_id=site) for _ in range(2)]
    for name in names:
        await password_of(operator, name)
    where = await fleet(operator, site_id=site, at_once=5, per_minute=1)
    await reaches(operator, where, open=1, waiting=1)
    paused = await operator.done("POST", "auth", f"{where}/pause")
    assert (paused["state"], paused["waiting"]) == ("paused", 1)
    resumed = await operator.done("POST", "auth", f"{where}/resume")
    assert resumed["state"] == "running"
    await reaches(operator, where, open=2, waiting=0)


@pytest.mark.parametrize(
    "body", [{}, {"stations": []}, {"stations": ["CP-1"], "group_id": "g"}, {"site_id": "none"}]
)
async def test_which_stations_must_be_said(operator: Operator, body: dict[str, Any]) -> None:
    """No choice, two choices, or a place that has no stations: 422."""
    answer = await operator.send("POST", "auth", "/v1/rotations", json=body)
    assert answer.status_code == 422


async def password_of(operator: Operator, name: str) -> str:
    """Give a station its first password."""
    path = f"/v1/stations/{name}/credentials"
    made = await operator.done("PUT", "auth", path, json={"security_profile": 1})
    return str(made["password"])
