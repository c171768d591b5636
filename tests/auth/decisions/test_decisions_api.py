"""Explanations and past decisions over REST, on real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import (
    CARD,
    MINUTE,
    NOW,
    REF,
    STATION,
    asked,
    authorize,
    card,
    started16,
    state,
    terms,
)
from auth.conftest import replica_on
from auth.rest_answers import created, explained, problem
from voltbus_backbone.contract.agreements import AgreementStatus, Limits

if TYPE_CHECKING:
    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack


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
        ({"station_id": STATION}, 2),
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
            params = {"limit": 3, "station_id": STATION, cursor: walked[-1]["id"]}
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
