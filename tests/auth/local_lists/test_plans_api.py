"""The REST interface of plans and of stations' lists, on real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import REF

if TYPE_CHECKING:
    from auth.local_lists.conftest import Kept

pytestmark = pytest.mark.stack

PLAN = "/v1/local-lists/groups/north"


async def test_a_plans_life(kept: Kept) -> None:
    """Created, shown, replaced under its ETag, removed."""
    made = await kept.client.put(PLAN, json={"tokens": [REF], "covered": True})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    shown = await kept.client.get(PLAN)
    assert shown.json() == made.json()
    assert (shown.json()["id"], shown.json()["scope"], shown.json()["name"]) == (
        "group:north",
        "group",
        "north",
    )
    changed = await kept.client.put(
        PLAN, json={"whitelist": ["ALWAYS"], "blocked": "list"}, headers={"If-Match": '"1"'}
    )
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert (changed.json()["tokens"], changed.json()["whitelist"]) == ([], ["ALWAYS"])
    gone = await kept.client.delete(PLAN, headers={"If-Match": '"2"'})
    assert gone.status_code == 204
    assert (await kept.client.get(PLAN)).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_plan_that_exists_needs_if_match(kept: Kept, method: str) -> None:
    """428 without, 412 with an old one: nobody overwrites what he has not seen."""
    await kept.client.put(PLAN, json={})
    rest: dict[str, Any] = {"json": {}} if method == "PUT" else {}
    missing = await kept.client.request(method, PLAN, **rest)
    stale = await kept.client.request(method, PLAN, headers={"If-Match": '"7"'}, **rest)
    assert (missing.status_code, stale.status_code) == (428, 412)
    for answer in (missing, stale):
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_plan_that_is_gone(kept: Kept) -> None:
    """An ETag of a plan that was removed meanwhile does not bring it back."""
    answer = await kept.client.put(PLAN, json={}, headers={"If-Match": '"1"'})
    assert answer.status_code == 412
    assert (await kept.client.delete(PLAN, headers={"If-Match": '"1"'})).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"tokens": ["04A1B2C3D4"]},
        {"tokens": [REF] * 5001},
        {"whitelist": ["NEVER"]},
        {"whitelist": ["SOMETIMES"]},
        {"blocked": "ignore"},
        {"token_groups": [""]},
        {"other": 1},
    ],
)
async def test_a_senseless_plan_is_refused(kept: Kept, body: dict[str, Any]) -> None:
    """422 with the field at fault, and without what was written there."""
    answer = await kept.client.put(PLAN, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "04A1B2C3D4" not in answer.text


async def test_a_place_that_does_not_exist(kept: Kept) -> None:
    """Groups, sites and stations have plans, nothing else has."""
    answer = await kept.client.put("/v1/local-lists/countries/se", json={})
    assert answer.status_code == 422


async def test_plans_are_listed_in_pages(kept: Kept) -> None:
    """In the order of their ids, in either direction."""
    for name in ("a", "b", "c"):
        await kept.client.put(f"/v1/local-lists/sites/{name}", json={})
    first = (await kept.client.get("/v1/local-lists?limit=2")).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (["site:a", "site:b"], True)
    rest = (await kept.client.get("/v1/local-lists?starting_after=site:b")).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (["site:c"], False)
    back = (await kept.client.get("/v1/local-lists?ending_before=site:c&limit=1")).json()
    assert ([one["id"] for one in back["data"]], back["has_more"]) == (["site:b"], True)


async def test_a_station_that_nobody_knows(kept: Kept) -> None:
    """404, for looking and for resending."""
    assert (await kept.client.get("/v1/stations/CS-9/local-list")).status_code == 404
    assert (await kept.client.post("/v1/stations/CS-9/local-list/resend")).status_code == 404


async def test_resend(kept: Kept) -> None:
    """A Full list goes out although the station is in sync; without a plan there is nothing to."""
    station = await kept.station()
    refused = await kept.client.post("/v1/stations/CS-1/local-list/resend")
    assert refused.status_code == 409
    await kept.plan(tokens=[await kept.token("04AA000001")])
    await kept.work()
    answer = await kept.client.post("/v1/stations/CS-1/local-list/resend")
    assert answer.status_code == 202
    await kept.work()
    assert station.updates() == ["Full", "Full"]


async def test_stations_are_listed_in_pages(kept: Kept) -> None:
    """Those with a plan, by state where wanted; entries are shown one by one only."""
    for name in ("CS-1", "CS-2", "CS-3"):
        await kept.station(name, group_id="north" if name != "CS-3" else None)
    await kept.plan("north", "groups", tokens=[await kept.token("04AA000001")])
    await kept.work()
    path = "/v1/local-lists/stations"
    first = (await kept.client.get(path, params={"limit": 1, "state": "in_sync"})).json()
    assert ([one["station_id"] for one in first["data"]], first["has_more"]) == (["CS-1"], True)
    assert "entries" not in first["data"][0]
    rest = (await kept.client.get(path, params={"starting_after": "CS-1"})).json()
    assert ([one["station_id"] for one in rest["data"]], rest["has_more"]) == (["CS-2"], False)
    back = (await kept.client.get(path, params={"ending_before": "CS-2"})).json()
    assert [one["station_id"] for one in back["data"]] == ["CS-1"]
    none = (await kept.client.get(path, params={"state": "failed"})).json()
    assert none["data"] == []


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", PLAN, "tokens:write"),
        ("GET", "/v1/local-lists", "tokens:write"),
        ("GET", "/v1/local-lists/stations", "tokens:write"),
        ("GET", "/v1/stations/CS-1/local-list", "tokens:write"),
        ("PUT", PLAN, "tokens:read"),
        ("DELETE", PLAN, "tokens:read"),
        ("POST", "/v1/stations/CS-1/local-list/resend", "tokens:read"),
    ],
)
async def test_another_scope_is_not_enough(kept: Kept, method: str, path: str, scope: str) -> None:
    """Reading and writing are granted apart, as with tokens."""
    headers = kept.served.as_operator(scope)
    rest: dict[str, Any] = {"json": {}} if method == "PUT" else {}
    answer = await kept.client.request(method, path, headers=headers, **rest)
    assert answer.status_code == 403
