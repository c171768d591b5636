"""Transactions over REST, on real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import (
    DAY,
    HOUR,
    NOW,
    STATION,
    asked,
    card,
    register,
    said,
    started16,
)
from auth.conftest import replica_on
from auth.rest_answers import created, problem
from voltbus_backbone.contract.auth import Phase

if TYPE_CHECKING:
    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack


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
