"""REST of stations: register, see, list, change, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.stations import StationRegistered, StationState

if TYPE_CHECKING:
    from config.conftest import Replica

pytestmark = pytest.mark.stack


async def ids(replica: Replica, **query: Any) -> tuple[list[str], bool]:
    answer = await replica.client.get("/v1/stations", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [each["id"] for each in body["data"]], body["has_more"]


async def test_a_station_is_registered_and_found(replica: Replica) -> None:
    """201 with its address and its entity tag; events tell of it."""
    body = {
        "id": "CS 1+A",
        "registration": "pending",
        "group_id": "north",
        "site_id": "site-1",
        "evse_kinds": {"1": "dc", "2": "ac"},
        "metadata": {"owner": "Example"},
    }
    answer = await replica.client.post("/v1/stations", json=body)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/stations/CS%201%2BA"
    assert answer.headers["etag"] == '"1"'
    found = await replica.client.get(answer.headers["location"])
    assert found.headers["etag"] == '"1"'
    assert body.items() <= found.json().items()
    assert found.json() == answer.json()
    await replica.settle()
    [told] = replica.told("stations.events", StationRegistered)
    assert (told.station_id, told.status, told.removed) == ("CS 1+A", "Pending", False)
    [state] = replica.told("stations.state", StationState)
    assert (state.group_id, state.evse_kinds) == ("north", {"1": "dc", "2": "ac"})


async def test_an_id_is_taken_once(replica: Replica) -> None:
    """409, and the first one is as it was."""
    await replica.register("CS-1", group_id="north")
    answer = await replica.client.post("/v1/stations", json={"id": "CS-1"})
    assert answer.status_code == 409
    assert (await replica.station("CS-1"))["group_id"] == "north"


async def test_an_idempotency_key_repeats_the_answer(replica: Replica) -> None:
    """The same body gives the stored answer, another one 422 (rules D)."""
    headers = {"Idempotency-Key": "k-1"}
    first = await replica.client.post("/v1/stations", json={"id": "CS-1"}, headers=headers)
    again = await replica.client.post("/v1/stations", json={"id": "CS-1"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    other = await replica.client.post("/v1/stations", json={"id": "CS-2"}, headers=headers)
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a:b"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "å"}, "id"),
        ({"id": ".."}, "id"),
        ({"id": "x" * 49}, "id"),
        ({"id": "CS-1", "registration": "maybe"}, "registration"),
        ({"id": "CS-1", "evse_kinds": {"one": "dc"}}, "evse_kinds.one.[key]"),
        ({"id": "CS-1", "metadata": {"$where": "1"}}, "metadata.$where.[key]"),
        ({"id": "CS-1", "metadata": {"a": 1}}, "metadata.a"),
        ({"id": "CS-1", "group_id": ""}, "group_id"),
        ({"id": "CS-1", "colour": "red"}, "body"),
    ],
)
async def test_a_senseless_station_is_refused_with_its_field(
    replica: Replica, body: dict[str, Any], field: str
) -> None:
    """Ids: at most 48 characters and no colon (A1); 422 with the field."""
    answer = await replica.client.post("/v1/stations", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in {error["field"] for error in answer.json()["errors"]}


async def test_a_body_that_is_no_json_is_a_problem(replica: Replica) -> None:
    """400 without a stack trace."""
    answer = await replica.client.post(
        "/v1/stations", content=b"{nonsense", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_stations_are_listed_in_pages_both_ways(replica: Replica) -> None:
    """The newest first or, by `sort`, the oldest; exclusive cursors and has_more (ADR 0015)."""
    for number in (3, 1, 4, 0, 2):
        await replica.register(f"CS-{number}")
        replica.hands.move(1)
    newest = ["CS-2", "CS-0", "CS-4", "CS-1", "CS-3"]
    assert await ids(replica, limit=2) == (newest[:2], True)
    assert await ids(replica, limit=2, starting_after=newest[1]) == (newest[2:4], True)
    assert await ids(replica, limit=2, starting_after=newest[3]) == (newest[4:], False)
    assert await ids(replica, limit=2, ending_before=newest[4]) == (newest[2:4], True)
    assert await ids(replica, limit=2, ending_before=newest[2]) == (newest[:2], False)
    oldest = newest[::-1]
    assert await ids(replica, limit=2, sort="created_at") == (oldest[:2], True)
    after = {"sort": "created_at", "starting_after": oldest[1]}
    assert await ids(replica, limit=3, **after) == (oldest[2:], False)
    for query in (
        {"limit": 0},
        {"limit": 101},
        {"starting_after": "a", "ending_before": "b"},
        {"starting_after": "CS-9"},
        {"sort": "id"},
    ):
        answer = await replica.client.get("/v1/stations", params=query)
        assert answer.status_code == 422


async def test_stations_are_found_by_what_they_are(replica: Replica) -> None:
    """Filters: registration, group, site, connected."""
    await replica.register("CS-1", group_id="north")
    await replica.register("CS-2", group_id="south", site_id="s")
    await replica.register("CS-3", registration="rejected")
    await replica.connect("CS-2")
    await replica.connect("CS-3")
    await replica.disconnect("CS-3")
    assert (await ids(replica, group_id="north"))[0] == ["CS-1"]
    assert (await ids(replica, site_id="s"))[0] == ["CS-2"]
    assert (await ids(replica, registration="rejected"))[0] == ["CS-3"]
    assert (await ids(replica, connected=True))[0] == ["CS-2"]
    assert (await ids(replica, connected=False))[0] == ["CS-3", "CS-1"]
    assert (await ids(replica, connected=True, group_id="north"))[0] == []


async def test_a_change_is_a_merge_patch(replica: Replica) -> None:
    """Null removes, what is left out stays (RFC 7396); the entity tag moves."""
    await replica.register("CS-1", group_id="north", metadata={"a": "1", "b": "2"})
    answer = await replica.client.patch(
        "/v1/stations/CS-1",
        json={"group_id": None, "metadata": {"a": None, "c": "3"}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert answer.json()["group_id"] is None
    assert answer.json()["metadata"] == {"b": "2", "c": "3"}
    same = await replica.client.patch("/v1/stations/CS-1", json={"metadata": {"b": "2"}})
    assert same.headers["etag"] == '"2"'


@pytest.mark.parametrize("body", [{"id": "CS-2"}, {"registration": None, "x": 1}, {"site_id": 7}])
async def test_a_senseless_change_changes_nothing(replica: Replica, body: dict[str, Any]) -> None:
    """422 with the field; the id can't be changed."""
    before = await replica.register("CS-1")
    answer = await replica.client.patch("/v1/stations/CS-1", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert await replica.station("CS-1") == before


async def test_if_match_is_honoured(replica: Replica) -> None:
    """A stale entity tag is 412, for changing and for removing (rules D)."""
    await replica.register("CS-1")
    stale = {"If-Match": '"1"'}
    path = "/v1/stations/CS-1"
    first = await replica.client.patch(path, json={"site_id": "a"}, headers=stale)
    assert first.status_code == 200
    second = await replica.client.patch(path, json={"site_id": "b"}, headers=stale)
    assert second.status_code == 412
    assert (await replica.client.delete(path, headers=stale)).status_code == 412
    assert (await replica.client.delete(path, headers={"If-Match": '"2"'})).status_code == 204


async def test_unknown_stations_are_not_found(replica: Replica) -> None:
    """404 for seeing, changing and removing."""
    path = "/v1/stations/CS-9"
    assert (await replica.client.get(path)).status_code == 404
    assert (await replica.client.patch(path, json={})).status_code == 404
    assert (await replica.client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/stations"),
        ("POST", "/v1/stations"),
        ("GET", "/v1/stations/CS-1"),
        ("PATCH", "/v1/stations/CS-1"),
        ("DELETE", "/v1/stations/CS-1"),
        ("GET", "/v1/stations/CS-1/settings"),
        ("PUT", "/v1/stations/CS-1/settings"),
        ("POST", "/v1/stations/CS-1/commands"),
        ("GET", "/v1/commands"),
        ("GET", "/v1/commands/c"),
        ("DELETE", "/v1/commands/c"),
        ("POST", "/v1/commands/c/cancel"),
        ("GET", "/v1/layers"),
        ("PUT", "/v1/layers/default"),
    ],
)
async def test_every_route_needs_a_token(replica: Replica, method: str, path: str) -> None:
    """401 without one (design 8)."""
    answer = await replica.client.request(method, path, headers={"Authorization": ""}, json={})
    assert answer.status_code == 401


async def test_an_operator_s_change_outlives_a_boot_at_the_same_time(replica: Replica) -> None:
    """Boot and PATCH write the same document; neither is lost."""
    await replica.register("CS-1")
    await replica.ask(event(registry.BOOT, replica.a_boot("CS-1", firmware_version="7")))
    await replica.client.patch("/v1/stations/CS-1", json={"group_id": "north"})
    await replica.ask(event(registry.BOOT, replica.a_boot("CS-1", firmware_version="8")))
    shown = await replica.station("CS-1")
    assert (shown["group_id"], shown["firmware_version"]) == ("north", "8")
