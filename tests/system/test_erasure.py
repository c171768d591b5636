"""Forgetting a person, from the operator's request to the agreements and what was charged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from operating import until

if TYPE_CHECKING:
    from operating import Operator, Subscriber

pytestmark = pytest.mark.stack


async def test_an_erased_token_leaves_agreements_and_charges(
    operator: Operator, subscriber: Subscriber
) -> None:
    """Its agreement names it no more and says so to others; what it charged has a random name."""
    name, password = await operator.station()
    value, ref = await operator.token()
    agreement = await operator.agreement(ref)
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        transaction = await station.start(value, 1, 0)
        await station.stop(transaction, 100)
    await subscriber.wait_for("transaction.ended", station_id=name, token_ref=ref)
    await operator.done("POST", "auth", f"/v1/tokens/{ref}/erase")
    await subscriber.wait_for("agreement.updated", id=agreement, tokens=())

    async def named() -> Any:
        params = {"token_ref": ref}
        return await operator.done("GET", "agreements", "/v1/agreements", params=params)

    assert (await until(named, lambda page: not page["data"]))["data"] == []
    history = await operator.done("GET", "agreements", f"/v1/agreements/{agreement}/history")
    assert ref not in str(history)
    assert history["data"][0]["cause"] == "token_erased"
    listed = await operator.done("GET", "auth", "/v1/transactions", params={"station_id": name})
    (charged,) = listed["data"]
    assert charged["token_ref"].startswith("erased:")
