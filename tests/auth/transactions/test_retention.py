"""Ended transactions go when the operator wants them gone, and nothing else does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import DAY, HOUR, MINUTE, NOW, asked, register, said
from auth.conftest import replica_on
from voltbus_auth.transactions.handlers.retention import Retention
from voltbus_auth.transactions.store.documents import record_document
from voltbus_backbone.contract.auth import Phase

if TYPE_CHECKING:
    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack

KEPT = 30 * DAY


def retention(served: Served, clock: Clock, kept: timedelta = KEPT) -> Retention:
    return Retention(served.store.transaction, kept=kept, now=clock, every_s=1)


async def charged(served: Served, clock: Clock, name: str, *, ended: bool = True) -> None:
    """A transaction with samples, told now; its station's clock stands where it stands."""
    replica = replica_on(served.store, clock)
    samples = (register(1000, NOW),)
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, transaction_id=name, samples=samples)))
    if ended:
        await replica.handle(asked(said(Phase.ENDED, NOW + HOUR, 1, transaction_id=name)))


async def left(served: Served) -> tuple[list[str], int]:
    """The transactions that are there, and of how many of them there are samples."""
    records = await served.store.transaction_records()
    refs = await served.database["samples"].distinct("ref")
    return sorted(record.wire_id for record in records), len(refs)


async def test_what_is_old_and_over_goes(served: Served, clock: Clock) -> None:
    """Old by our clock, whatever the station's said; what has not ended, or was heard of, stays."""
    await charged(served, clock, "old")
    await charged(served, clock, "open", ended=False)
    await charged(served, clock, "heard-of")
    clock.time += KEPT - MINUTE
    late = said(Phase.UPDATED, NOW + MINUTE, 7, transaction_id="heard-of")
    await replica_on(served.store, clock).handle(asked(late))
    await charged(served, clock, "new")
    assert await retention(served, clock).tidy() == 0
    clock.time += 2 * MINUTE
    assert await retention(served, clock).tidy() == 1
    assert await left(served) == (["heard-of", "new", "open"], 3)
    assert await retention(served, clock).tidy() == 0


async def test_for_ever(served: Served, clock: Clock) -> None:
    """Without a limit nothing is ever deleted."""
    await charged(served, clock, "old")
    clock.time += 10_000 * DAY
    assert await retention(served, clock, timedelta()).tidy() == 0
    assert await left(served) == (["old"], 1)


async def test_two_replicas_and_more_than_a_portion(served: Served, clock: Clock) -> None:
    """However many there are and whoever deletes, each goes once and all go."""
    await charged(served, clock, "old")
    (record,) = await served.store.transaction_records()
    copies = [
        {**record_document(replace(record, ref=f"copy-{number}")), "stored_at": NOW}
        for number in range(1200)
    ]
    await served.database["transactions"].insert_many(copies)
    clock.time += KEPT + DAY
    counts = await asyncio.gather(*(retention(served, clock).tidy() for _ in range(2)))
    assert sum(counts) == 1201
    assert await left(served) == ([], 0)
