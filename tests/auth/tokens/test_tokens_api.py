"""Tokens over REST, on real MongoDB (issue: tokens, conventions)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import (
    CARD,
    KEY,
)
from auth.rest_answers import created, explained, problem

if TYPE_CHECKING:
    from auth.conftest import Served

pytestmark = pytest.mark.stack


async def test_create_and_show_a_token(served: Served) -> None:
    """POST answers 201 with Location and ETag; the readable value never comes back."""
    answer = await served.client.post(
        "/v1/tokens",
        json={
            "id_token": CARD,
            "group_id": "FLEET",
            "max_concurrent": 2,
            "expires_at": "2027-01-01T01:00:00+01:00",
        },
    )
    assert answer.status_code == 201
    token = answer.json()
    assert token["ref"] == KEY.ref("ISO14443", CARD)
    assert (token["type"], token["status"]) == ("ISO14443", "accepted")
    assert token["expires_at"] == "2027-01-01T00:00:00Z"
    assert token["masked"] == "…D4"
    assert answer.headers["location"] == f"/v1/tokens/{token['ref']}"
    assert answer.headers["etag"] == '"1"'
    shown = await served.client.get(answer.headers["location"])
    assert shown.json() == token
    assert CARD not in shown.text


async def test_the_value_is_kept_encrypted(served: Served) -> None:
    """The stored document holds no readable value, and the vault can open it."""
    token = await created(served)
    document = await served.database["tokens"].find_one({"_id": token["ref"]})
    assert document is not None
    assert CARD.encode() not in repr(document).encode()
    assert served.store.vault is not None
    assert await served.store.vault.open([document["value"]]) == [CARD]
    (again,) = await served.store.vault.seal([CARD])
    assert bytes(again) != bytes(document["value"])


async def test_a_token_is_registered_once(served: Served) -> None:
    """The same value and type in another case is the same token: 409 (C01.FR.25)."""
    await created(served)
    answer = await served.client.post(
        "/v1/tokens", json={"id_token": CARD.lower(), "type": "iso14443"}
    )
    problem(answer, 409, "token-exists")
    assert answer.headers["location"] == f"/v1/tokens/{KEY.ref('ISO14443', CARD)}"


async def test_token_events(served: Served) -> None:
    """Each change commits with its event: created, updated, deleted, keyed by reference."""
    ref = (await created(served))["ref"]
    path = f"/v1/tokens/{ref}"
    first, second = {"If-Match": '"1"'}, {"If-Match": '"2"'}
    await served.client.patch(path, json={"status": "blocked"}, headers=first)
    await served.client.delete(path, headers=second)
    events = await served.events("tokens.events")
    assert [event.type.split(".")[2] for event in events] == ["created", "updated", "deleted"]
    assert {event.key for event in events} == {ref.encode()}
    assert [event.message.revision for event in events] == [1, 2, 3]
    assert [event.message.status for event in events] == ["accepted", "blocked", "deleted"]
    assert all(CARD.encode() not in (event.data or b"") for event in events)


async def test_change_a_token(served: Served) -> None:
    """PATCH is a merge patch: what is named changes, null takes it back (RFC 7396)."""
    ref = (await created(served, group_id="FLEET", max_concurrent=2))["ref"]
    answer = await served.client.patch(
        f"/v1/tokens/{ref}",
        content=json.dumps({"status": "blocked", "group_id": None}),
        headers={"Content-Type": "application/merge-patch+json", "If-Match": '"1"'},
    )
    assert answer.status_code == 200
    token = answer.json()
    assert (token["status"], token["group_id"], token["max_concurrent"]) == ("blocked", None, 2)
    assert answer.headers["etag"] == '"2"'


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({}, 428, "precondition-required"),
        ({"If-Match": '"7"'}, 412, "precondition-failed"),
    ],
)
async def test_if_match(served: Served, headers: dict[str, str], status: int, kind: str) -> None:
    """A change needs If-Match (428) with the revision that is stored (412); else nothing."""
    path = f"/v1/tokens/{(await created(served))['ref']}"
    body = {"status": "blocked"}
    problem(await served.client.patch(path, json=body, headers=headers), status, kind)
    problem(await served.client.delete(path, headers=headers), status, kind)
    erasing = await served.client.delete(path, params={"erase": True}, headers=headers)
    problem(erasing, status, kind)
    assert (await served.client.get(path)).json()["status"] == "accepted"
    answer = await served.client.patch(path, json=body, headers={"If-Match": '"1"'})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"status": "lost"}, "status"),
        ({"id_token": "other"}, "body"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
    ],
)
async def test_bad_patch(served: Served, patch: dict[str, Any], field: str) -> None:
    """A patch that does not fit names its field and changes nothing."""
    ref = (await created(served))["ref"]
    answer = await served.client.patch(f"/v1/tokens/{ref}", json=patch, headers={"If-Match": '"1"'})
    assert problem(answer, 422, "invalid-request")["errors"][0]["field"] == field
    shown = await served.client.get(f"/v1/tokens/{ref}")
    assert shown.json()["revision"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id_token": ""},
        {"id_token": " \0 "},
        {"id_token": f"{CARD}\n{CARD}"},
        {"id_token": "x" * 256},
        {"id_token": CARD, "status": "maybe"},
        {"id_token": CARD, "colour": "red"},
        {"id_token": CARD, "charging_priority": 10},
        {"id_token": CARD, "type": ""},
    ],
)
async def test_bad_token(served: Served, body: dict[str, Any]) -> None:
    """Invalid bodies get a problem that repeats no value."""
    problem(await served.client.post("/v1/tokens", json=body), 422, "invalid-request")


async def test_blanks_around_a_token_are_no_part_of_it(served: Served) -> None:
    """What a reader pads is registered, and found again, as the same token (C01.FR.25)."""
    made = await created(served, id_token=f" {CARD}\0 ")
    answer = await served.client.post("/v1/tokens", json={"id_token": CARD})
    problem(answer, 409, "token-exists")
    assert made["masked"].endswith(CARD[-2:])
    found = await explained(served, id_token=f"{CARD} ", type=made["type"])
    assert found["token_ref"] == made["ref"]


async def test_idempotency_key(served: Served) -> None:
    """The same key and body: the same answer, one token; another body under it: 422."""
    headers = {"Idempotency-Key": "order-1"}
    first = await served.client.post("/v1/tokens", json={"id_token": CARD}, headers=headers)
    again = await served.client.post("/v1/tokens", json={"id_token": CARD}, headers=headers)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["etag"] == first.headers["etag"]
    other = await served.client.post("/v1/tokens", json={"id_token": "04FF"}, headers=headers)
    problem(other, 422, "idempotency-key-reused")
    kept = await served.database["idempotency_keys"].find().to_list(None)
    assert CARD not in str(kept)


async def test_list_tokens(served: Served) -> None:
    """Lists page in both directions without gaps, and filter by type, status and group."""
    for number in range(5):
        await created(
            served,
            id_token=f"0{number}",
            status="blocked" if number == 0 else "accepted",
            group_id="FLEET" if number < 2 else None,
        )
    seen = []
    after = None
    while True:
        params = {"limit": 2} | ({"starting_after": after} if after else {})
        body = (await served.client.get("/v1/tokens", params=params)).json()
        seen += [token["ref"] for token in body["data"]]
        after = seen[-1]
        if not body["has_more"]:
            break
    assert seen == sorted(seen, reverse=True)  # all of the same moment: the id decides
    assert len(seen) == 5
    back = (
        await served.client.get("/v1/tokens", params={"limit": 2, "ending_before": seen[4]})
    ).json()
    assert [token["ref"] for token in back["data"]] == seen[2:4]
    for params, count in (
        ({"status": "blocked"}, 1),
        ({"group_id": "FLEET"}, 2),
        ({"type": "iso14443"}, 5),
        ({"type": "Central"}, 0),
    ):
        found = (await served.client.get("/v1/tokens", params=params)).json()
        assert len(found["data"]) == count


async def test_key_code_shows_nothing(served: Served) -> None:
    """C04.FR.04: not even the end of a key code is shown."""
    token = await created(served, id_token="12345678", type="keycode")
    assert (token["type"], token["masked"]) == ("KeyCode", "…")


async def test_put_by_value_and_type(served: Served) -> None:
    """One call: 201 the first time, 200 afterwards, and the rights are replaced as a whole."""
    body = {"id_token": CARD, "type": "ISO14443", "group_id": "FLEET", "language": "de"}
    first = await served.client.put("/v1/tokens", json=body)
    assert first.status_code == 201
    again = await served.client.put(
        "/v1/tokens", json={"id_token": CARD, "type": "iso14443", "status": "blocked"}
    )
    assert again.status_code == 200
    made, changed = first.json(), again.json()
    assert (changed["ref"], changed["revision"]) == (made["ref"], made["revision"] + 1)
    assert (changed["status"], changed["group_id"], changed["language"]) == ("blocked", None, None)
    assert again.headers["location"] == first.headers["location"] == f"/v1/tokens/{made['ref']}"
    stale = await served.client.put("/v1/tokens", json=body, headers={"If-Match": '"1"'})
    problem(stale, 412, "precondition-failed")
    other = {"id_token": "04FFFFFF", "type": "ISO14443"}
    gone = await served.client.put("/v1/tokens", json=other, headers={"If-Match": "*"})
    problem(gone, 412, "precondition-failed")


@pytest.mark.parametrize("kind", ["Cen\x00tral", "a\nb", "\x1b[31m", " Central"])
async def test_a_type_has_no_control_characters(served: Served, kind: str) -> None:
    """It is shown in tables and logs, and looked up."""
    answer = await served.client.post("/v1/tokens", json={"id_token": CARD, "type": kind})
    assert problem(answer, 422, "invalid-request")["errors"][0]["field"] == "type"
