"""The whole handler under resends, redeliveries and any order: one effect (rules B, design 4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from auth.auth_examples import HOUR, MINUTE, NOW, asked, card, register, said, started16
from auth.conftest import Clock, replica_on
from auth.memory_store import MemoryStore
from voltbus_backbone.contract.auth import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.transactions.domain.record import Record
    from voltbus_backbone.contract.auth import TransactionMessage

MESSAGES: tuple[TransactionMessage, ...] = (
    said(Phase.STARTED, NOW, 0, id_token=card(), samples=(register(1000, NOW),)),
    said(Phase.UPDATED, NOW + MINUTE, 1, charging_state="Charging", id_token=card()),
    said(
        Phase.UPDATED,
        NOW + 2 * MINUTE,
        2,
        trigger="Deauthorized",
        samples=(register(1500, NOW + 2 * MINUTE),),
    ),
    said(Phase.ENDED, NOW + HOUR, 3, samples=(register(5000, NOW + HOUR),)),
    started16(station_id="CS-2"),
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[list[int], bool]]:
    """Batches of messages in any order, some resent, some batches handled again after a crash."""
    order = draw(st.permutations(range(len(MESSAGES))))
    order += draw(st.lists(st.integers(0, len(MESSAGES) - 1), max_size=4))
    batches: list[tuple[list[int], bool]] = []
    while order:
        size = draw(st.integers(1, len(order)))
        batches.append((order[:size], draw(st.booleans())))
        order = order[size:]
    return batches


async def handled(batches: Sequence[tuple[list[int], bool]]) -> tuple[list[Record], list[str]]:
    """The records afterwards, and the ids of the events that reached Kafka."""
    store, clock = MemoryStore(), Clock()
    await replica_on(store, clock).token(max_concurrent=2)
    reached: list[str] = []
    for batch, crashes in batches:
        events = [asked(MESSAGES[index]) for index in batch]
        told = await replica_on(store, clock).handle(*events)
        if crashes:  # stored, but nothing was sent: the same records come again
            again = await replica_on(store, clock).handle(*events)
            assert again.answers == told.answers
            assert [one[:2] for one in again.events] == [one[:2] for one in told.events]
            told = again
        reached.extend(name for _, name, _ in told.events)
    return list(store.transactions.values()), reached


def bare(records: Sequence[Record]) -> list[Record]:
    """Without what tells how they came about, and without 1.6's number."""
    return sorted(
        (replace(one, revision=0, recent=(), wire_id="") for one in records),
        key=lambda one: one.ref,
    )


@cache
def in_order() -> list[Record]:
    """The records of everything in order, once."""
    return bare(asyncio.run(handled([([index], False) for index in range(len(MESSAGES))]))[0])


@settings(max_examples=40, deadline=None)
@given(deliveries())
def test_one_effect(batches: list[tuple[list[int], bool]]) -> None:
    """The same two records, the same answers again, and each revision told exactly once."""
    records, reached = asyncio.run(handled(batches))
    for one, expected in zip(bare(records), in_order(), strict=True):
        # Whoever ends before it starts never took a place under the limit.
        assert replace(one, holds=()) == replace(expected, holds=())
    revisions = [f"{one.ref}:{number}" for one in records for number in range(1, one.revision + 1)]
    assert sorted(reached) == sorted(revisions)
