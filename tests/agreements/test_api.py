"""`/v1/agreements` on real MongoDB: the five operations and the habits of REST (ocpp-rules D)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agreements.conftest import NOW, body
from voltbus_agreements.domain.agreement import Policy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from agreements.conftest import Replica

pytestmark = pytest.mark.stack

PATCH = {"Content-Type": "application/merge-patch+json"}


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document that an answer is (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:voltbus:problem:{kind}"
    assert found["status"] == status
    return found


def fields(found: dict[str, Any]) -> list[str]:
    return [error["field"] for error in found["errors"]]


async def patched(
    replica: Replica, agreement_id: str, patch: Any, if_match: str | None = "*"
) -> httpx.Response:
    headers = PATCH | ({"If-Match": if_match} if if_match is not None else {})
    return await replica.client.patch(
        f"/v1/agreements/{agreement_id}", content=json.dumps(patch), headers=headers
    )


async def test_create_and_retrieve(replica: Replica) -> None:
    """POST answers 201 with Location and ETag; GET gives the same, every field present."""
    answer = await replica.client.post(
        "/v1/agreements",
        json=body(
            contract_id="nl-tnm-c00122045-k",
            valid_to="2027-01-01T01:00:00+01:00",
            schedule={"timezone": "Europe/Stockholm", "weekly": {"mon": [["06:00", "22:00"]]}},
            station_terms={"charging_speed": {"limit": 11000}, "payment_methods": ["rfid"]},
            limits={"energy_cap_wh": 1000, "max_power_w": 11000},
            metadata={"cost.centre": 12},
        ),
    )
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/agreements/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    assert made["id"].startswith("agr_")
    assert (made["status"], made["revision"]) == ("draft", 1)
    assert made["contract_id"] == "NLTNMC00122045K"
    assert made["valid_to"] == "2027-01-01T00:00:00Z"
    assert made["scope"]["stations"] == []
    assert made["metadata"] == {"cost.centre": 12}
    got = await replica.client.get(answer.headers["location"])
    assert got.json() == made
    assert got.headers["etag"] == '"1"'


async def test_valid_from_defaults_to_now(replica: Replica) -> None:
    """An agreement without a beginning begins when it is made."""
    sent = body()
    del sent["valid_from"]
    made = (await replica.client.post("/v1/agreements", json=sent)).json()
    assert made["valid_from"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"kind": "other"}, "kind"),
        ({"name": " "}, "name"),
        ({"surprise": 1}, "body"),
        ({"status": "active"}, "body"),
        ({"valid_from": "2026-03-01T12:00:00"}, "valid_from"),
        ({"valid_from": 1700000000}, "valid_from"),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, "valid_from"),
        ({"valid_to": "2020-01-01T00:00:00Z"}, "valid_to"),
        ({"contract_id": "NL-TNM-C00122045-X"}, "contract_id"),
        ({"tokens": [{"ref": "with space"}]}, "tokens.0.ref"),
        ({"parties": [{"id": "x", "role": "friend"}]}, "parties.0.role"),
        ({"limits": {"energy_cap_wh": -1}}, "limits.energy_cap_wh"),
        ({"limits": {"energy_cap_wh": 2**63}}, "limits.energy_cap_wh"),
        ({"scope": {"evses": ["S1"]}}, "scope.evses"),
        (
            {"schedule": {"timezone": "UTC", "weekly": {"mon": [["9", "10"]]}}},
            "schedule.weekly.mon",
        ),
        ({"charging_priority": 10}, "charging_priority"),
    ],
)
async def test_invalid_bodies_name_the_field(
    replica: Replica, wrong: dict[str, Any], where: str
) -> None:
    """What cannot be is a 422 that names the field and quotes no value."""
    answer = await replica.client.post("/v1/agreements", json=body(**wrong))
    assert fields(problem(answer, 422, "invalid-request")) == [where]
    assert "with space" not in answer.text


@pytest.mark.parametrize(
    "metadata", [{"a": {"b": 1}}, {"a": None}, {"$a b": 1}, {"a": 2**64}, {"a": "x" * 501}]
)
async def test_metadata_are_flat(replica: Replica, metadata: dict[str, Any]) -> None:
    """Metadata hold plain values under plain names, whatever MongoDB could or could not keep."""
    answer = await replica.client.post("/v1/agreements", json=body(metadata=metadata))
    problem(answer, 422, "invalid-request")


async def test_no_json_is_a_problem(replica: Replica) -> None:
    """A body that is no JSON gets a problem document, not a stack trace."""
    answer = await replica.client.post(
        "/v1/agreements", content=b"{", headers={"Content-Type": "application/json"}
    )
    problem(answer, 400, "invalid-json")
    made = await replica.made()
    answer = await replica.client.patch(
        f"/v1/agreements/{made['id']}", content=b"{", headers=PATCH | {"If-Match": "*"}
    )
    problem(answer, 400, "invalid-json")


@pytest.mark.parametrize("path", ["agr_nothing", "agr_00000000000000000000000000", "$gt"])
async def test_unknown_ids_are_404(replica: Replica, path: str) -> None:
    """An id that does not exist, or cannot, is a 404 on every route."""
    where = f"/v1/agreements/{path}"
    for answer in (
        await replica.client.get(where),
        await replica.client.get(f"{where}/history"),
        await replica.client.get(f"{where}/usage"),
        await replica.client.post(f"{where}/activate"),
        await replica.client.patch(where, json={}, headers={"If-Match": "*"}),
        await replica.client.delete(where, headers={"If-Match": "*"}),
    ):
        problem(answer, 404, "not-found")


async def test_scopes_are_needed(replica: Replica) -> None:
    """Without a token 401; a reader may not write (403)."""
    reading = replica.credentials("agreements:read")
    answer = await replica.client.post("/v1/agreements", json=body(), headers=reading)
    problem(answer, 403, "forbidden")
    assert (await replica.client.get("/v1/agreements", headers=reading)).status_code == 200
    nobody = {"Authorization": ""}
    problem(await replica.client.get("/v1/agreements", headers=nobody), 401, "unauthorized")


async def test_merge_patch(replica: Replica) -> None:
    """PATCH changes what it names, null removes, arrays are replaced (RFC 7396)."""
    made = await replica.made(
        activate=False, tariff="day", limits={"energy_cap_wh": 5, "max_concurrent": 2}
    )
    patch = {"tariff": None, "limits": {"energy_cap_wh": 7}, "tokens": [{"ref": "other"}]}
    answer = await patched(replica, made["id"], patch, '"1"')
    assert answer.status_code == 200
    after = answer.json()
    assert answer.headers["etag"] == '"2"'
    assert after["tariff"] is None
    assert (after["limits"]["energy_cap_wh"], after["limits"]["max_concurrent"]) == (7, 2)
    assert [token["ref"] for token in after["tokens"]] == ["other"]
    assert after == await replica.read(made["id"])


async def test_a_patch_without_effect_is_no_revision(replica: Replica) -> None:
    """Writing what is there already changes neither the ETag nor the events."""
    made = await replica.made(activate=False)
    answer = await patched(replica, made["id"], {"name": made["name"], "tariff": None})
    assert answer.headers["etag"] == '"1"'
    assert len(await replica.told()) == 1


@pytest.mark.parametrize(
    ("patch", "where"),
    [
        ({"revision": 7}, ["body"]),
        ({"valid_from": None}, ["valid_from"]),
        ({"name": None}, ["name"]),
        ({"kind": None}, ["kind"]),
        ({"valid_to": "2020-01-01T00:00:00Z"}, ["valid_to"]),
        ([], ["body"]),
        ("x", ["body"]),
    ],
)
async def test_invalid_patches(replica: Replica, patch: Any, where: list[str]) -> None:
    """What the patch would make of the agreement is checked like a new one."""
    made = await replica.made(activate=False)
    found = problem(await patched(replica, made["id"], patch), 422, "invalid-request")
    assert [error["field"] for error in found.get("errors", [])] == where


HOSTILE = [
    b"[" * 100_000,
    b'{"name":' * 5000,
    b'{"scope":' * 900 + b"1" + b"}" * 900,
    b"\xff\xfe",
    b"",
    b"null",
    b'{"name": "\\ud800"}',
    b'{"metadata": {"a": 123456789012345678901234567890}}',
    b'{"limits": {"max_power_w": NaN}}',
    b'{"limits": {"energy_cap_wh": 1e400}}',
    b'{"timezone": "../../etc/passwd"}',
    b'{"valid_from": "9999-12-31T23:59:59-14:00"}',
    b'{"schedule": {"timezone": "UTC", "weekly": {"\\u0000": []}}}',
    b'{"scope": {"evses": "S1/1"}}',
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_bodies_are_the_senders_fault(replica: Replica, hostile: bytes) -> None:
    """Whatever is sent as a body or a patch: a 4xx problem, and nothing changes."""
    made = await replica.made(activate=False)
    for answer in (
        await replica.client.post(
            "/v1/agreements", content=hostile, headers={"Content-Type": "application/json"}
        ),
        await replica.client.patch(
            f"/v1/agreements/{made['id']}", content=hostile, headers=PATCH | {"If-Match": "*"}
        ),
    ):
        assert answer.status_code in {400, 422}, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await replica.client.get("/v1/agreements")).json()["data"] == [made]


async def test_a_patch_in_another_format_is_415(replica: Replica) -> None:
    """Only JSON merge patches; the answer says so (RFC 5789)."""
    made = await replica.made(activate=False)
    answer = await replica.client.patch(
        f"/v1/agreements/{made['id']}",
        content=b"[]",
        headers={"Content-Type": "application/json-patch+json", "If-Match": "*"},
    )
    problem(answer, 415, "unsupported-media-type")
    assert answer.headers["accept-patch"] == "application/merge-patch+json"


async def test_if_match(replica: Replica) -> None:
    """PATCH and DELETE want If-Match: missing 428, stale 412; transitions honour it when sent."""
    made = await replica.made(activate=False)
    where = f"/v1/agreements/{made['id']}"
    problem(await patched(replica, made["id"], {}, None), 428, "precondition-required")
    problem(await replica.client.delete(where), 428, "precondition-required")
    stale = {"If-Match": '"9"'}
    problem(await patched(replica, made["id"], {}, '"9"'), 412, "precondition-failed")
    problem(await replica.client.delete(where, headers=stale), 412, "precondition-failed")
    answer = await replica.client.post(f"{where}/activate", headers=stale)
    problem(answer, 412, "precondition-failed")
    answer = await replica.client.post(f"{where}/activate", headers={"If-Match": '"1"'})
    assert answer.json()["status"] == "active"


async def test_the_whole_life_over_rest(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Submit, reject, reopen, submit, approve, suspend, resume, terminate; reasons are kept."""
    replica = await make_replica(Policy(approval_required=True))
    made = await replica.made(activate=False)
    where = f"/v1/agreements/{made['id']}"
    refused = problem(await replica.client.post(f"{where}/activate"), 409, "illegal-transition")
    assert "draft" in refused["detail"]
    assert "submit" in refused["detail"]
    for command, status in (
        ("submit", "pending_approval"),
        ("reject", "rejected"),
        ("reopen", "draft"),
        ("submit", "pending_approval"),
        ("approve", "active"),
        ("suspend", "suspended"),
        ("resume", "active"),
        ("terminate", "terminated"),
    ):
        answer = await replica.client.post(f"{where}/{command}", json={"reason": f"{command}!"})
        assert (answer.json()["status"], answer.json()["status_reason"]) == (status, f"{command}!")
    problem(await replica.client.post(f"{where}/resume"), 409, "illegal-transition")
    told = [event.type.split(".")[2] for event in await replica.told()]
    assert told == [
        "created",
        *["updated"] * 4,
        "activated",
        "suspended",
        "resumed",
        "terminated",
    ]
    history = (await replica.client.get(f"{where}/history")).json()
    assert [line["cause"] for line in history["data"]][:2] == ["terminate", "resume"]
    assert [line["revision"] for line in history["data"]] == list(range(9, 0, -1))


async def test_refusals_are_409(replica: Replica) -> None:
    """Incomplete, over, immutable: the state is in the way, and the answer says of what."""
    bare = await replica.made(activate=False, parties=[], tokens=[])
    answer = await replica.client.post(f"/v1/agreements/{bare['id']}/activate")
    assert fields(problem(answer, 409, "incomplete")) == ["parties", "parties", "tokens"]
    over = await replica.made(activate=False, valid_to=(NOW - timedelta(hours=1)).isoformat())
    answer = await replica.client.post(f"/v1/agreements/{over['id']}/activate")
    problem(answer, 409, "period-over")
    active = await replica.made()
    answer = await patched(replica, active["id"], {"kind": "roaming"})
    assert fields(problem(answer, 409, "immutable")) == ["kind"]
    answer = await replica.client.delete(
        f"/v1/agreements/{active['id']}", headers={"If-Match": "*"}
    )
    problem(answer, 409, "illegal-transition")


async def test_deletion_leaves_a_tombstone(replica: Replica) -> None:
    """A deleted draft is gone; its key is told `deleted`, then emptied (compaction)."""
    made = await replica.made(activate=False)
    answer = await replica.client.delete(
        f"/v1/agreements/{made['id']}", headers={"If-Match": '"1"'}
    )
    assert answer.status_code == 204
    problem(await replica.client.get(f"/v1/agreements/{made['id']}"), 404, "not-found")
    created, deleted, tombstone = await replica.told()
    assert created.type == "voltbus.agreement.created.v1"
    assert deleted.type == "voltbus.agreement.deleted.v1"
    assert (tombstone.data, tombstone.key) == (None, made["id"].encode())


async def test_term_changes_supersede(replica: Replica) -> None:
    """After activation PATCH makes a revision that names the one it supersedes, kept in history."""
    made = await replica.made(tariff="day")
    after = (await patched(replica, made["id"], {"tariff": "night"})).json()
    assert (after["revision"], after["supersedes"]) == (3, f"{made['id']}:2")
    history = (await replica.client.get(f"/v1/agreements/{made['id']}/history")).json()["data"]
    assert [line["agreement"]["tariff"] for line in history] == ["night", "day", "day"]
    assert history[1]["id"] == after["supersedes"]


async def test_history_pages(replica: Replica) -> None:
    """History is paged by the ids of its revisions, both ways."""
    made = await replica.made()
    where = f"/v1/agreements/{made['id']}/history"
    first = (await replica.client.get(where, params={"limit": 1})).json()
    assert first["has_more"]
    cursor = first["data"][0]["id"]
    rest = (await replica.client.get(where, params={"starting_after": cursor})).json()
    assert [line["revision"] for line in rest["data"]] == [1]
    assert not rest["has_more"]
    back = await replica.client.get(where, params={"ending_before": rest["data"][0]["id"]})
    assert back.json()["data"] == first["data"]
    for wrong in ("agr_other:1", f"{made['id']}:x", "9" * 30):
        answer = await replica.client.get(where, params={"starting_after": wrong})
        problem(answer, 422, "invalid-request")


async def test_lists_page_both_ways(replica: Replica) -> None:
    """The newest first; cursors are exclusive in both directions; has_more tells of more."""
    made = []
    for _ in range(5):
        replica.hands.time += timedelta(milliseconds=5)
        made.append((await replica.made(activate=False))["id"])
    newest = made[::-1]

    async def listed(**params: Any) -> tuple[list[str], bool]:
        found = (await replica.client.get("/v1/agreements", params=params)).json()
        return [item["id"] for item in found["data"]], found["has_more"]

    assert await listed() == (newest, False)
    assert await listed(limit=2) == (newest[:2], True)
    assert await listed(limit=2, starting_after=newest[1]) == (newest[2:4], True)
    assert await listed(limit=2, starting_after=newest[3]) == (newest[4:], False)
    assert await listed(limit=2, ending_before=newest[4]) == (newest[2:4], True)
    assert await listed(limit=2, ending_before=newest[2]) == (newest[:2], False)
    assert await listed(ending_before=newest[0]) == ([], False)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"starting_after": "nonsense"},
        {"starting_after": "agr_" + "0" * 26, "ending_before": "agr_" + "0" * 26},
        {"status": "happy"},
        {"contract_id": "NL-TNM-C00122045-X"},
        {"valid_at": "yesterday"},
    ],
)
async def test_wrong_list_parameters(replica: Replica, params: dict[str, Any]) -> None:
    """A parameter that cannot be is a 422, not an empty page."""
    answer = await replica.client.get("/v1/agreements", params=params)
    problem(answer, 422, "invalid-request")


async def test_filters(replica: Replica) -> None:
    """Each filter finds what it names and nothing else; they narrow together."""
    driver = await replica.made(
        tokens=[{"ref": "t-1"}],
        contract_id="NL-TNM-C00122045-K",
        valid_to=(NOW + timedelta(days=1)).isoformat(),
    )
    site = await replica.made(
        kind="site_host",
        tokens=[],
        parties=[{"id": "p", "role": "provider"}, {"id": "host", "role": "customer"}],
        scope={"stations": ["S1"], "evses": ["S2/1"]},
        activate=False,
    )

    async def listed(**params: Any) -> list[str]:
        found = (await replica.client.get("/v1/agreements", params=params)).json()
        return [item["id"] for item in found["data"]]

    both = {driver["id"], site["id"]}
    assert await listed(status="active") == [driver["id"]]
    assert set(await listed(status=["active", "draft"])) == both
    assert await listed(kind="site_host") == [site["id"]]
    assert await listed(token_ref="t-1") == [driver["id"]]
    assert await listed(party_id="host") == [site["id"]]
    assert await listed(contract_id="nltnmc00122045k") == [driver["id"]]
    assert await listed(station_id="S1") == await listed(station_id="S2") == [site["id"]]
    assert await listed(station_id="S") == []
    assert set(await listed(valid_at=NOW.isoformat())) == both
    assert await listed(valid_at=(NOW + timedelta(days=1)).isoformat()) == [site["id"]]
    assert await listed(valid_at=(NOW - timedelta(days=2)).isoformat()) == []
    assert await listed(status="active", kind="site_host") == []


async def test_an_idempotency_key_makes_one_agreement(replica: Replica) -> None:
    """The same key and payload give the first answer again; another payload is a 422."""
    sent = body()
    headers = {"Idempotency-Key": "order-17"}
    first = await replica.client.post("/v1/agreements", json=sent, headers=headers)
    again = await replica.client.post("/v1/agreements", json=sent, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    for name in ("location", "etag"):
        assert first.headers[name] == again.headers[name]
    assert len((await replica.client.get("/v1/agreements")).json()["data"]) == 1
    other = await replica.client.post("/v1/agreements", json=body(), headers=headers)
    problem(other, 422, "idempotency-key-reused")


async def test_an_idempotency_key_of_a_refused_request_is_free(replica: Replica) -> None:
    """A request without effect does not use up its key."""
    headers = {"Idempotency-Key": "order-18"}
    wrong = body(contract_id="nonsense")
    answer = await replica.client.post("/v1/agreements", json=wrong, headers=headers)
    problem(answer, 422, "invalid-request")
    answer = await replica.client.post("/v1/agreements", json=body(), headers=headers)
    assert answer.status_code == 201


async def test_a_repeated_transition_with_a_key_succeeds(replica: Replica) -> None:
    """A resend of activate after a lost answer is answered as the first time, not with 409."""
    made = await replica.made(activate=False)
    where = f"/v1/agreements/{made['id']}/activate"
    headers = {"Idempotency-Key": "go"}
    answers = [await replica.client.post(where, headers=headers) for _ in range(2)]
    assert [answer.json()["revision"] for answer in answers] == [2, 2]
    problem(await replica.client.post(where), 409, "illegal-transition")


async def test_every_route_is_described(replica: Replica) -> None:
    """The OpenAPI document has a summary for each operation."""
    document = (await replica.client.get("/openapi.json")).json()
    operations = [
        operation
        for path, methods in document["paths"].items()
        if path.startswith("/v1/agreements")
        for operation in methods.values()
    ]
    assert len(operations) == 16
    assert all(operation["summary"] for operation in operations)
