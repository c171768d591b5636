"""The REST interface of auth on real MongoDB: credentials, tokens, transactions, explanations."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import (
    CARD,
    DAY,
    HOUR,
    KEY,
    MINUTE,
    NOW,
    REF,
    STATION,
    asked,
    authorize,
    card,
    register,
    said,
    started16,
    state,
    terms,
)
from auth.conftest import replica_on
from voltbus_backbone.contract.agreements import AgreementStatus, Limits
from voltbus_backbone.contract.auth import PasswordVerifier, Phase

if TYPE_CHECKING:
    import httpx

    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack

CREDENTIALS = f"/v1/stations/{STATION}/credentials"


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document that an answer is (RFC 9457), without the token in it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert CARD not in answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:voltbus:problem:{kind}"
    return found


async def created(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.client.post("/v1/tokens", json={"id_token": CARD, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_password_is_shown_once(served: Served) -> None:
    """PUT makes a password of 160 bits and shows it once; afterwards only its verifier exists."""
    answer = await served.client.put(CREDENTIALS, json={"security_profile": 1})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    password = answer.json()["password"]
    assert len(bytes.fromhex(password)) == 20
    known = (await served.store.credentials({STATION}))[STATION]
    (verifier,) = known.verifiers
    salt = bytes.fromhex(verifier.salt)
    assert verifier.digest == hashlib.sha256(salt + password.encode()).hexdigest()
    shown = await served.client.get(CREDENTIALS)
    assert shown.json()["password"] is None
    documents = await served.database["credentials"].find().to_list(None)
    assert password not in str(documents)


async def test_chosen_password(served: Served) -> None:
    """A password that the operator chose is kept as scrypt; one that cannot work is refused."""
    body = {"security_profile": 2, "password": "correct horse battery"}
    answer = await served.client.put(CREDENTIALS, json=body)
    assert answer.json()["password"] == "correct horse battery"
    known = (await served.store.credentials({STATION}))[STATION]
    assert (known.verifiers[0].algorithm, known.minimum_profile) == ("scrypt", 2)
    refused = await served.client.put(CREDENTIALS, json={"password": "hunter2"})
    found = problem(refused, 422, "invalid-request")
    assert found["errors"][0]["field"] == "password"
    assert "hunter2" not in refused.text


async def test_rotation(served: Served) -> None:
    """A7: both passwords are valid until the operator says that the new one is in use."""
    await served.client.put(CREDENTIALS, json={})
    answer = await served.client.put(CREDENTIALS, json={"keep_previous": True})
    assert answer.json()["passwords"] == 2
    answer = await served.client.delete(f"{CREDENTIALS}/previous")
    assert answer.json()["passwords"] == 1
    answer = await served.client.put(CREDENTIALS, json={})
    assert answer.json()["passwords"] == 1


async def test_a_rotation_that_begins_again_keeps_what_the_station_has(served: Served) -> None:
    """A7: a PUT that is repeated, its answer lost, must not drop the station's password."""
    first = (await served.client.put(CREDENTIALS, json={})).json()["password"]
    for count in (2, 3, 4):
        answer = await served.client.put(CREDENTIALS, json={"keep_previous": True})
        assert answer.json()["passwords"] == count
        known = (await served.store.credentials({STATION}))[STATION]
        assert any(fits(first, verifier) for verifier in known.verifiers)
    too_many = await served.client.put(CREDENTIALS, json={"keep_previous": True})
    problem(too_many, 409, "too-many-passwords")
    answer = await served.client.delete(f"{CREDENTIALS}/previous")
    assert answer.json()["passwords"] == 1


def fits(password: str, verifier: PasswordVerifier) -> bool:
    """Whether a generated password is the verifier's."""
    salted = bytes.fromhex(verifier.salt) + password.encode()
    digest = hashlib.sha256(salted).hexdigest()
    return bool(digest == verifier.digest)


async def test_shutting_a_station_out(served: Served) -> None:
    """DELETE removes the credentials; twice is 404."""
    await served.client.put(CREDENTIALS, json={"security_profile": 3})
    assert (await served.client.delete(CREDENTIALS)).status_code == 204
    problem(await served.client.delete(CREDENTIALS), 404, "not-found")
    problem(await served.client.get(CREDENTIALS), 404, "not-found")


@pytest.mark.parametrize(
    "body",
    [{"security_profile": 0}, {"security_profile": 4}, {"secret": 1}, {"password": 12}, []],
)
async def test_bad_credentials(served: Served, body: Any) -> None:
    """Invalid bodies get a problem with field errors."""
    assert problem(await served.client.put(CREDENTIALS, json=body), 422, "invalid-request")[
        "errors"
    ]


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


async def test_erasing_twice_under_one_key(served: Served) -> None:
    """The same Idempotency-Key gets the first erasure's record; without it the token is unknown."""
    path = f"/v1/tokens/{(await created(served))['ref']}/erase"
    headers = {"Idempotency-Key": "erase-1"}
    first = await served.client.post(path, headers=headers)
    assert first.status_code == 200
    assert (await served.client.post(path, headers=headers)).json() == first.json()
    problem(await served.client.post(path), 404, "not-found")
    assert len((await served.client.get("/v1/erasures")).json()["data"]) == 1


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
    assert seen == sorted(seen)
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


async def test_scopes(served: Served) -> None:
    """Each route needs its scope: 401 without a token, 403 with another."""
    other = served.as_operator("agreements:read")
    for method, path in (
        ("GET", "/v1/tokens"),
        ("POST", "/v1/tokens"),
        ("GET", "/v1/transactions"),
        ("PUT", CREDENTIALS),
        ("POST", "/v1/authorizations/explain"),
    ):
        answer = await served.client.request(method, path, headers={"Authorization": ""}, json={})
        problem(answer, 401, "unauthorized")
        answer = await served.client.request(method, path, headers=other, json={})
        problem(answer, 403, "forbidden")


async def test_transactions(served: Served, clock: Clock) -> None:
    """Recorded transactions are listed newest first, filtered, paged, and shown with samples."""
    replica = replica_on(served.store, clock)
    token = await created(served)
    await replica.handle(
        *(
            asked(started16(NOW + day * DAY, station_id=f"CS-{day}", id_token=card(kind="")))
            for day in range(3)
        ),
        asked(said(Phase.STARTED, NOW + 5 * DAY, 0, samples=(register(7, NOW + 5 * DAY),))),
        asked(said(Phase.ENDED, NOW + 5 * DAY + HOUR, 1)),
    )
    body = (await served.client.get("/v1/transactions")).json()
    assert [one["station_id"] for one in body["data"]] == [STATION, "CS-2", "CS-1", "CS-0"]
    for params, count in (
        ({"station_id": "CS-0"}, 1),
        ({"state": "active"}, 3),
        ({"state": "ended"}, 1),
        ({"token_ref": token["ref"]}, 3),
        ({"from": NOW.isoformat(), "to": (NOW + DAY).isoformat()}, 1),
    ):
        found = (await served.client.get("/v1/transactions", params=params)).json()
        assert len(found["data"]) == count, params
    refs = [one["transaction_ref"] for one in body["data"]]
    page = (
        await served.client.get("/v1/transactions", params={"limit": 2, "starting_after": refs[0]})
    ).json()
    assert [one["transaction_ref"] for one in page["data"]] == refs[1:3]
    assert page["has_more"]
    back = (
        await served.client.get("/v1/transactions", params={"limit": 2, "ending_before": refs[3]})
    ).json()
    assert [one["transaction_ref"] for one in back["data"]] == refs[1:3]
    one = (await served.client.get(f"/v1/transactions/{refs[0]}")).json()
    assert one["state"] == "ended"
    assert one["samples"][0]["value"] == 7
    problem(await served.client.get(f"/v1/transactions/{'0' * 26}"), 404, "not-found")
    problem(await served.client.get("/v1/transactions?state=lost"), 422, "invalid-request")


async def explained(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.client.post(
        "/v1/authorizations/explain", json={"station_id": STATION, **fields}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_explain(served: Served, clock: Clock) -> None:
    """Explain answers with status, rule and reason, by reference or by value, at any time."""
    await served.store.put_stations([state(site_id="site-1")])
    found = await explained(served, id_token=CARD)
    assert (found["status"], found["rule"]) == ("Unknown", "unknown")
    token = await created(served, max_concurrent=1)
    found = await explained(served, token_ref=token["ref"])
    assert (found["status"], found["rule"]) == ("Accepted", "accepted")
    assert found["cache_expiry"] == "2026-03-05T12:00:00Z"
    found = await explained(served, id_token=CARD, type="ISO14443")
    assert found["token_ref"] == token["ref"]
    await replica_on(served.store, clock).handle(asked(started16()))
    assert (await explained(served, id_token=CARD))["status"] == "Accepted"
    found = await explained(served, id_token=CARD, starting=True)
    assert (found["status"], found["rule"]) == ("ConcurrentTx", "concurrent")
    await served.store.put_agreements(
        [terms(status=AgreementStatus.SUSPENDED, limits=Limits(max_concurrent=1))]
    )
    found = await explained(served, id_token=CARD)
    assert (found["status"], found["rule"]) == ("Blocked", "blocked")
    assert "suspended" in found["reason"]
    earlier = (NOW - 10 * MINUTE).isoformat()
    assert (await explained(served, id_token=CARD, at=earlier))["at"] == "2026-03-04T11:50:00Z"


async def test_explain_tells_of_a_station_that_nobody_registered(served: Served) -> None:
    """An answer that knows nothing of the station says so: a typing mistake looks like a yes."""
    await created(served)
    found = await explained(served, id_token=CARD)
    assert (found["status"], found["station_known"]) == ("Accepted", False)
    await served.store.put_stations([state(site_id="site-1")])
    assert (await explained(served, id_token=CARD))["station_known"] is True


async def test_past_decisions(served: Served, clock: Clock) -> None:
    """Decisions are listed newest first with rule and reason, filtered and paged."""
    await created(served)
    replica = replica_on(served.store, clock)
    await replica.handle(asked(authorize()))
    await replica.handle(asked(authorize(card("04FF"))))
    start = await replica.handle(asked(started16(station_id="CS-2")))
    await served.store.journal.flush()
    body = (await served.client.get("/v1/authorizations")).json()
    assert [one["status"] for one in body["data"]] == ["Accepted", "Unknown", "Accepted"]
    assert [one["asked_by"] for one in body["data"]] == ["transaction", "authorize", "authorize"]
    newest = body["data"][0]
    assert newest["transaction_ref"] == start.events[0][2].transaction_ref
    assert newest["reason"] == "The token is valid, and no agreement limits it."
    for params, count in (
        ({"station": STATION}, 2),
        ({"token_ref": REF}, 2),
        ({"status": "Unknown"}, 1),
        ({"rule": "accepted"}, 2),
        ({"asked_by": "transaction"}, 1),
        ({"from": (NOW + MINUTE).isoformat()}, 0),
    ):
        found = (await served.client.get("/v1/authorizations", params=params)).json()
        assert len(found["data"]) == count, params
    page = (
        await served.client.get(
            "/v1/authorizations", params={"limit": 1, "starting_after": newest["id"]}
        )
    ).json()
    assert (page["data"], page["has_more"]) == (body["data"][1:2], True)
    back = (
        await served.client.get(
            "/v1/authorizations", params={"ending_before": body["data"][2]["id"]}
        )
    ).json()
    assert back["data"] == body["data"][:2]
    problem(await served.client.get("/v1/authorizations?starting_after=x"), 422, "invalid-request")


async def test_pages_of_decisions_leave_nothing_out(served: Served, clock: Clock) -> None:
    """Walked in either direction, small pages give every decision once, in the order of one list.

    Decisions that were written together share a document; a page may begin or end inside it.
    """
    await created(served)
    replica = replica_on(served.store, clock)
    for size in (3, 1, 4):
        for number in range(size):
            await replica.handle(asked(authorize(evse_id=number + 1)))
        await served.store.journal.flush()
    whole = (await served.client.get("/v1/authorizations")).json()["data"]
    assert len({one["id"] for one in whole}) == len(whole) == 8
    for cursor, first, step in (("starting_after", 0, 1), ("ending_before", -1, -1)):
        walked = [whole[first]]
        more = True
        while more:
            params = {"limit": 3, "station": STATION, cursor: walked[-1]["id"]}
            answer = (await served.client.get("/v1/authorizations", params=params)).json()
            walked += answer["data"][::step]
            more = answer["has_more"]
        assert walked == whole[::step]


@pytest.mark.parametrize(
    "body", [{}, {"station_id": STATION}, {"station_id": STATION, "token_ref": "no"}]
)
async def test_bad_question(served: Served, body: dict[str, Any]) -> None:
    """A question without a token, or with a malformed reference, is refused."""
    answer = await served.client.post("/v1/authorizations/explain", json=body)
    problem(answer, 422, "invalid-request")
