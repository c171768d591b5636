"""Local lists on the real stack: what an operator plans is on the stations, and stays right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from operating import until

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])


async def plan(
    operator: Operator, name: str, *, place: str = "stations", **fields: Any
) -> dict[str, Any]:
    """Put a plan, over the one that is there."""
    path = f"/v1/local-lists/{place}/{name}"
    known = await operator.send("GET", "auth", path)
    headers = {"If-Match": known.headers["ETag"]} if known.is_success else {}
    found: dict[str, Any] = await operator.done("PUT", "auth", path, json=fields, headers=headers)
    return found


async def standing(operator: Operator, name: str) -> dict[str, Any]:
    """How the station's list stands."""
    found: dict[str, Any] = await operator.done("GET", "auth", f"/v1/stations/{name}/local-list")
    return found


async def in_sync(operator: Operator, name: str, *refs: str) -> dict[str, Any]:
    """Wait until the station is known to hold these tokens and no others."""
    return await until(
        lambda: standing(operator, name),
        lambda found: found["status"] == "in_sync" and found["entries"] == sorted(refs),
    )


def holds(station: Station16 | Station2) -> set[str]:
    """The values on the station's own list, as tokens are written."""
    return {name.rpartition(":")[2].upper() for name in station.local_list.entries}


async def change(operator: Operator, ref: str, **fields: Any) -> None:
    """Patch a token."""
    path = f"/v1/tokens/{ref}"
    known = await operator.send("GET", "auth", path)
    headers = {"If-Match": known.headers["ETag"]}
    await operator.done("PATCH", "auth", path, json=fields, headers=headers)


@everywhere
async def test_a_plan_becomes_a_list(operator: Operator, protocol: Protocol) -> None:
    """Full at first, a differential for what is added, blocked and erased (1.6 5.15, D01)."""
    name, password = await operator.station()
    first, first_ref = await operator.token()
    second, second_ref = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await plan(operator, name, tokens=[first_ref])
        await in_sync(operator, name, first_ref)
        assert holds(station) == {first}
        await plan(operator, name, tokens=[first_ref, second_ref])
        await in_sync(operator, name, first_ref, second_ref)
        assert holds(station) == {first, second}
        await change(operator, first_ref, status="blocked")
        found = await in_sync(operator, name, second_ref)
        assert holds(station) == {second}
        assert found["left_out"] == {"blocked": 1}
        await operator.done(
            "POST", "auth", f"/v1/tokens/{second_ref}/erase", headers={"If-Match": "*"}
        )
        await in_sync(operator, name)
        assert holds(station) == set()
        sent = [
            dict(payload)["updateType"]
            for action, payload in station.received
            if action == "SendLocalList"
        ]
        assert sent == ["Full", "Differential", "Differential", "Full"]
