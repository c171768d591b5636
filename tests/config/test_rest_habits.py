"""What every REST route does by itself (ADR 0015), shown at config: keys, audit, odd values."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from voltbus.embedded.keys import make_keys, operator_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import httpx

    from config.conftest import Replica

pytestmark = pytest.mark.stack

START = {"action": "remote_start", "payload": {"id_token": "04A1B2C3D4"}}
JSON = {"Content-Type": "application/json"}


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:voltbus:problem:{kind}"
    return found


async def test_a_repeated_remote_start_goes_out_once(replica: Replica) -> None:
    """The same POST under the same Idempotency-Key is one command, and the same answer."""
    await replica.register("CS-1")
    headers = {"Idempotency-Key": "tap-17"}
    path = "/v1/stations/CS-1/commands"
    first = await replica.client.post(path, json=START, headers=headers)
    again = await replica.client.post(path, json=START, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (
        False,
        "true",
    )
    assert len((await replica.client.get("/v1/commands")).json()["data"]) == 1
    other = {"action": "clear_cache"}
    problem(await replica.client.post(path, json=other, headers=headers), 422, _REUSED)


_REUSED = "idempotency-key-reused"


async def test_two_at_once_under_one_key_are_one(replica: Replica) -> None:
    """Who comes while the first still runs is told so (409), or gets its answer."""
    await replica.register("CS-1")
    path, headers = "/v1/stations/CS-1/commands", {"Idempotency-Key": "k"}
    answers = await asyncio.gather(
        *(replica.client.post(path, json=START, headers=headers) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len((await replica.client.get("/v1/commands")).json()["data"]) == 1


async def test_a_key_is_its_callers_own(replica: Replica, tmp_path: Path) -> None:
    """Another token of the same subject and client shares it; the route is part of it."""
    await replica.register("CS-1")
    headers = {"Idempotency-Key": "k"}
    command = await replica.client.post("/v1/stations/CS-1/commands", json=START, headers=headers)
    station = await replica.client.post("/v1/stations", json={"id": "CS-2"}, headers=headers)
    assert (command.status_code, station.status_code) == (202, 201)
    keys = make_keys(tmp_path)
    token = operator_token(keys, scope="commands:write")
    headers["Authorization"] = f"Bearer {token}"
    again = await replica.client.post("/v1/stations/CS-1/commands", json=START, headers=headers)
    assert again.json() == command.json()


async def test_a_refused_request_gives_its_key_back(replica: Replica) -> None:
    """It had no effect, so that the same key may be tried again."""
    headers = {"Idempotency-Key": "k"}
    path = "/v1/stations/CS-1/commands"
    problem(await replica.client.post(path, json=START, headers=headers), 404, "not-found")
    await replica.register("CS-1")
    assert (await replica.client.post(path, json=START, headers=headers)).status_code == 202


async def test_every_change_says_who_made_it(replica: Replica) -> None:
    """Kept and shown: subject, route, what it was about, and what became of it; reads are not."""
    await replica.register("CS-1")
    await replica.client.get("/v1/stations/CS-1")
    await replica.client.patch("/v1/stations/CS-1", json={"registration": "never"})
    await replica.client.delete("/v1/stations/CS-1")
    found = (await replica.client.get("/v1/audit")).json()
    assert [(entry["method"], entry["route"], entry["status"]) for entry in found["data"]] == [
        ("DELETE", "/v1/stations/{station_id}", 204),
        ("PATCH", "/v1/stations/{station_id}", 422),
        ("POST", "/v1/stations", 201),
    ]
    newest = found["data"][0]
    assert newest["by"] == "local-operator"
    assert newest["resource"] == {"station_id": "CS-1"}
    assert newest["family"] == "ipv4"
    assert not found["has_more"]


async def test_the_audit_is_narrowed_and_paged(replica: Replica) -> None:
    """Filters for who, what and how it ended; the usual cursors and `sort`."""
    for number in range(4):
        await replica.register(f"CS-{number}")
    await replica.client.delete("/v1/stations/CS-2")

    async def listed(**query: Any) -> list[str]:
        answer = await replica.client.get("/v1/audit", params=query)
        assert answer.status_code == 200, answer.text
        return [entry["id"] for entry in answer.json()["data"]]

    everything = await listed()
    assert len(everything) == 5
    assert await listed(sort="created_at") == everything[::-1]
    assert await listed(limit=2, starting_after=everything[1]) == everything[2:4]
    assert await listed(limit=2, ending_before=everything[3]) == everything[1:3]
    assert await listed(resource="CS-2") == everything[:1]
    assert await listed(method="delete", status=204, by="local-operator") == everything[:1]
    assert await listed(by="somebody-else") == []
    assert await listed(to="2001-01-01T00:00:00Z") == []


async def test_the_audit_needs_its_own_scope(replica: Replica, tmp_path: Path) -> None:
    """Who may change stations need not see who else did."""
    token = operator_token(make_keys(tmp_path), scope="stations:read stations:write")
    answer = await replica.client.get("/v1/audit", headers={"Authorization": f"Bearer {token}"})
    problem(answer, 403, "forbidden")


async def test_a_misspelt_filter_shows_nothing(replica: Replica) -> None:
    """Else it would show everything. The nearest name is told, and not what was sent."""
    answer = await replica.client.get("/v1/commands", params={"station": "CS-SECRET"})
    found = problem(answer, 422, "invalid-request")
    assert found["errors"][0]["field"] == "query"
    assert "the nearest is station_id" in found["errors"][0]["message"]
    assert "CS-SECRET" not in answer.text
    answer = await replica.client.post("/v1/stations", params={"x": "y"}, json={"id": "CS-1"})
    problem(answer, 422, "invalid-request")


DEEP = b'{"action":"x","payload":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/stations/CS-1/settings", b'{"keys":{"a\\u0000b":"1"}}'),
        ("PUT", "/v1/layers/group:north", b'{"keys":{"a\\u0000b":"1"}}'),
        ("PUT", "/v1/layers/group:a%00b", b"{}"),
        ("GET", "/v1/stations/a%00b", b""),
        ("GET", "/v1/stations?group_id=a%00b", b""),
        ("PATCH", "/v1/stations/CS-1", b'{"metadata":{"a\\u0000b":"1"}}'),
        ("PATCH", "/v1/stations/CS-1", b'{"metadata":{"a":"\\ud800"}}'),
        ("POST", "/v1/stations/CS-1/commands", b'{"action":"x","payload":{"a":"\\ud800"}}'),
        ("POST", "/v1/stations/CS-1/commands", b'{"action":"x","payload":{"\\udfff":1}}'),
        (
            "POST",
            "/v1/stations/CS-1/commands",
            b'{"action":"x","payload":{"a":9223372036854775808}}',
        ),
        ("POST", "/v1/stations/CS-1/commands", b'{"action":"x","payload":{"a":1e999}}'),
        ("POST", "/v1/stations/CS-1/commands", DEEP),
        (
            "POST",
            "/v1/stations/CS-1/commands",
            b'{"action":"clear_cache","expires_at":"9999-12-31T23:59:59-14:00"}',
        ),
    ],
)
async def test_what_no_store_can_hold_is_422(
    replica: Replica, method: str, path: str, body: bytes
) -> None:
    """NUL in names and addresses, half characters, 64 bits, infinity, depth, the end of time."""
    await replica.register("CS-1")
    answer = await replica.client.request(method, path, content=body, headers=JSON if body else {})
    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    "body", [b'{"id":NaN}', b'{"id":"\xff"}', b"[" * 60_000, b"{", b'{"id":' + b"9" * 5000 + b"}"]
)
async def test_what_is_no_json_is_400(replica: Replica, body: bytes) -> None:
    """NaN, Latin-1, brackets without end: RFC 8259 has none of them."""
    answer = await replica.client.post("/v1/stations", content=body, headers=JSON)
    problem(answer, 400, "invalid-json")


async def test_a_key_lasts_a_day(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Not shorter than clients retry (24 h); then it is forgotten by MongoDB's own index."""
    replica = await make_replica()
    await replica.register("CS-1")
    path, headers = "/v1/stations/CS-1/commands", {"Idempotency-Key": "k"}
    await replica.client.post(path, json=START, headers=headers)
    kept = await replica.database["idempotency_keys"].find_one({})
    assert kept is not None
    assert kept["expires_at"] - kept["claimed_at"] >= timedelta(hours=24)
    assert "04A1B2C3D4" not in str(kept)
