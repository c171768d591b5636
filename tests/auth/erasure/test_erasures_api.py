"""Erasing a token over REST, on real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.rest_answers import created, problem

if TYPE_CHECKING:
    from auth.conftest import Served

pytestmark = pytest.mark.stack


async def test_erasing_twice_under_one_key(served: Served) -> None:
    """The same Idempotency-Key gets the first erasure's record; without it the token is unknown."""
    path = f"/v1/tokens/{(await created(served))['ref']}/erase"
    headers = {"Idempotency-Key": "erase-1", "If-Match": "*"}
    first = await served.client.post(path, headers=headers)
    assert first.status_code == 200
    assert (await served.client.post(path, headers=headers)).json() == first.json()
    problem(await served.client.post(path), 404, "not-found")
    assert len((await served.client.get("/v1/erasures")).json()["data"]) == 1


async def test_erasing_needs_the_revision_that_was_read(served: Served) -> None:
    """What is erased does not come back: 428 without If-Match, as for DELETE (RFC 6585 §3)."""
    made = await created(served)
    problem(
        await served.client.post(f"/v1/tokens/{made['ref']}/erase"), 428, "precondition-required"
    )
    assert (await served.client.get(f"/v1/tokens/{made['ref']}")).status_code == 200
