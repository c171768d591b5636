"""Local lists on the real stack: what an operator plans is on the stations, and stays right."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from operating import until
from voltbus.simulator import Station2, Station16
from voltbus.simulator.transactions import LocalList

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator
    from voltbus.simulator import Protocol

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


@asynccontextmanager
async def holding(
    operator: Operator, protocol: Protocol, *refs: str
) -> AsyncIterator[Station16 | Station2]:
    """A station that has booted and holds the list of these tokens."""
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await plan(operator, name, tokens=list(refs))
        await in_sync(operator, name, *refs)
        yield station


@everywhere
async def test_a_plan_becomes_a_list(operator: Operator, protocol: Protocol) -> None:
    """Full at first, a differential for what is added, blocked and erased (1.6 5.15, D01)."""
    first, first_ref = await operator.token()
    second, second_ref = await operator.token()
    async with holding(operator, protocol, first_ref) as station:
        name = station.station_id
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


async def listed(operator: Operator, name: str, status: str) -> dict[str, Any]:
    """Wait until the station's list stands so."""
    return await until(lambda: standing(operator, name), lambda found: found["status"] == status)


def updates(station: Station16 | Station2) -> list[dict[str, Any]]:
    """The lists that a station was sent."""
    return [dict(one) for action, one in station.received if action == "SendLocalList"]


async def test_limits_of_16(operator: Operator) -> None:
    """SendLocalListMaxLength cuts messages, LocalAuthListMaxLength the list (1.6 9.2)."""
    name, password = await operator.station()
    refs = [(await operator.token())[1] for _ in range(6)]
    async with operator.connected("1.6", name, password) as station:
        assert isinstance(station, Station16)
        station.configuration.keys["SendLocalListMaxLength"].value = "2"
        station.configuration.keys["LocalAuthListMaxLength"].value = "5"
        await station.boot()
        await plan(operator, name, tokens=refs)
        found = await listed(operator, name, "in_sync")
        assert (found["held"], found["left_out"]) == (5, {"over_limit": 1})
        assert [one["updateType"] for one in updates(station)] == [
            "Full",
            "Differential",
            "Differential",
        ]
        assert len(station.local_list.entries) == 5


@pytest.mark.parametrize("protocol", ["2.0.1", "2.1"])
async def test_limits_of_2x(operator: Operator, protocol: Protocol) -> None:
    """ItemsPerMessage, BytesPerMessage, and the maxLimit of Entries, which only a report tells."""
    name, password = await operator.station()
    refs = [(await operator.token())[1] for _ in range(7)]
    async with operator.connected(protocol, name, password) as station:
        assert isinstance(station, Station2)
        variables = station.device.variables
        variables["localauthlistctrlr", "", 0, "itemspermessage", ""].value = "3"
        variables["localauthlistctrlr", "", 0, "bytespermessage", ""].value = "400"
        variables["localauthlistctrlr", "", 0, "entries", ""].max_limit = 6
        await station.boot()
        await plan(operator, name, tokens=refs)
        found = await until(
            lambda: standing(operator, name),
            lambda found: found["status"] == "in_sync" and found["held"] == 6,
        )
        assert found["left_out"] == {"over_limit": 1}
        assert found["limits"] == {
            "entries": 6,
            "items_per_message": 3,
            "bytes_per_message": 400,
        }
        assert station.device.value("LocalAuthListCtrlr", "Entries") == "6"
        assert all(len(one["localAuthorizationList"]) <= 3 for one in updates(station))


@everywhere
async def test_a_mismatch_is_repaired(operator: Operator, protocol: Protocol) -> None:
    """A list that somebody else left there is replaced in full (1.6 5.15, D01.FR.05)."""
    first, first_ref = await operator.token()
    second, second_ref = await operator.token()
    async with holding(operator, protocol, first_ref) as station:
        name = station.station_id
        station.local_list.version += 7
        station.local_list.entries = {"ISO14443:foreign": {"status": "Accepted"}}
        await plan(operator, name, tokens=[first_ref, second_ref])
        found = await in_sync(operator, name, first_ref, second_ref)
        assert holds(station) == {first, second}
        assert found["version"] == station.local_list.version > 8
        assert [one["updateType"] for one in updates(station)][-2:] == ["Differential", "Full"]


@everywhere
async def test_a_list_lost_in_a_reboot(operator: Operator, protocol: Protocol) -> None:
    """After a boot the version is compared (1.6 5.10, D02); a lost list is sent again."""
    token, ref = await operator.token()
    async with holding(operator, protocol, ref) as station:
        station.local_list = LocalList()
        await station.boot()
        await station.wait_until(lambda: holds(station) == {token})
        await in_sync(operator, station.station_id, ref)


async def test_a_station_without_lists(operator: Operator) -> None:
    """1.6 5.10: version -1 is shown as unsupported, and nothing more is sent."""
    name, password = await operator.station()
    _, ref = await operator.token()
    async with operator.connected("1.6", name, password) as station:
        assert isinstance(station, Station16)
        station.configuration.keys["SupportedFeatureProfiles"].value = "Core"
        await station.boot()
        await plan(operator, name, tokens=[ref])
        await listed(operator, name, "unsupported")
        page = await operator.done(
            "GET", "auth", "/v1/local-lists/stations?state=unsupported&limit=100"
        )
        assert name in {one["station_id"] for one in page["data"]}
        assert updates(station) == []


@everywhere
async def test_agreements_cover_tokens(operator: Operator, protocol: Protocol) -> None:
    """On with the agreement, off with its suspension; NEVER stays out."""
    site = f"site-{secrets.token_hex(4)}"
    name, password = await operator.station(site_id=site)
    token, ref = await operator.token()
    _, never = await operator.token(whitelist="NEVER")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await plan(operator, site, place="sites", covered=True)
        agreement = await operator.agreement(ref, never, scope={"locations": [site]})
        # Agreements of other tests, which hold everywhere, cover this site too.
        await until(
            lambda: standing(operator, name),
            lambda found: found["status"] == "in_sync" and ref in found["entries"],
        )
        assert token in holds(station)
        path = f"/v1/agreements/{agreement}"
        known = await operator.send("GET", "agreements", path)
        headers = {"If-Match": known.headers["ETag"]}
        await operator.done("POST", "agreements", f"{path}/suspend", headers=headers)
        found = await until(
            lambda: standing(operator, name),
            lambda found: found["status"] == "in_sync" and ref not in found["entries"],
        )
        assert token not in holds(station)
        assert never not in found["entries"]
        assert found["left_out"]["never"] >= 1


async def test_a_plan_waits_for_its_station(operator: Operator) -> None:
    """Nothing is queued for a station that is away; when it comes, its list does."""
    group = f"group-{secrets.token_hex(4)}"
    name, password = await operator.station(group_id=group)
    token, ref = await operator.token(group_id="FLEET-OFFLINE")
    await plan(operator, group, place="groups", token_groups=["FLEET-OFFLINE"])
    await listed(operator, name, "unreachable")
    commands = await operator.done("GET", "config", f"/v1/commands?station_id={name}")
    assert commands["data"] == []
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        await in_sync(operator, name, ref)
        assert holds(station) == {token}
        listed_commands = await operator.done("GET", "config", f"/v1/commands?station_id={name}")
        assert token not in str(listed_commands)
