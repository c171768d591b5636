"""Usage: each transaction counts once, a correction replaces (rules D)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_agreements.domain.usage import (
    CountedTransaction,
    count_transactions,
    is_exhausted,
    to_counted_transaction,
)
from voltbus_backbone.contract.agreements import Limits
from voltbus_backbone.contract.auth import TransactionChanged
from voltbus_backbone.contract.values import Protocol


def session(ref: str, agreement: str | None, revision: int, energy_wh: int) -> CountedTransaction:
    return CountedTransaction(ref, agreement, revision, energy_wh, "S1")


def test_the_same_transaction_counts_once() -> None:
    """A repetition with the same revision changes nothing, within a batch and across batches."""
    first = session("t1", "a", 2, 100)
    counted = count_transactions({}, [first, first])
    assert counted.deltas["a"].energy_wh == 100
    assert counted.deltas["a"].transactions == 1
    assert count_transactions({"t1": first}, [first]).sessions == ()


def test_a_correction_replaces() -> None:
    """The difference counts, and the transaction stays one."""
    counted = count_transactions({"t1": session("t1", "a", 2, 100)}, [session("t1", "a", 3, 40)])
    assert (counted.deltas["a"].energy_wh, counted.deltas["a"].transactions) == (-60, 0)


def test_a_correction_may_move_to_another_agreement() -> None:
    """What one agreement loses the other gets; without an agreement it counts for none."""
    known = {"t1": session("t1", "a", 2, 100), "t2": session("t2", "a", 2, 50)}
    counted = count_transactions(known, [session("t1", "b", 3, 100), session("t2", None, 3, 50)])
    assert (counted.deltas["a"].energy_wh, counted.deltas["a"].transactions) == (-150, -2)
    assert (counted.deltas["b"].energy_wh, counted.deltas["b"].transactions) == (100, 1)


def test_a_transaction_without_agreement_is_not_kept() -> None:
    """Nothing to count, nothing to store."""
    assert count_transactions({}, [session("t1", None, 1, 100)]).sessions == ()


@given(
    st.permutations(
        [
            session(f"t{ref}", "a", revision, 10 * revision)
            for ref in "123"
            for revision in (1, 2, 3)
        ]
    ),
    st.integers(0, 9),
)
def test_any_order_and_batching_gives_the_same_totals(
    arrivals: list[CountedTransaction], cut: int
) -> None:
    """The highest revision of each transaction holds, however the messages come (design 4)."""
    known: dict[str, CountedTransaction] = {}
    totals: Counter[str] = Counter()
    for batch in (arrivals[:cut], arrivals[cut:], arrivals[:3]):
        counted = count_transactions(known, batch)
        known |= {found.transaction_ref: found for found in counted.sessions}
        for name, delta in counted.deltas.items():
            totals[name] += delta.energy_wh
    assert totals["a"] == 3 * 30


@pytest.mark.parametrize(
    ("cap", "used", "exhausted"), [(None, 10**9, False), (100, 99, False), (100, 100, True)]
)
def test_the_cap(cap: int | None, used: int, exhausted: bool) -> None:  # noqa: FBT001 - a table
    """A cap is used up when it is reached."""
    assert is_exhausted(Limits(energy_cap_wh=cap), used) is exhausted


def test_unknown_energy_counts_as_none() -> None:
    """A transaction that ended without readings is one transaction of 0 Wh."""
    message = TransactionChanged(
        transaction_ref="t1",
        station_id="S1",
        protocol=Protocol.OCPP16,
        transaction_id="1",
        revision=2,
        state="ended",
        at=datetime(2026, 3, 1, tzinfo=UTC),
        agreement_id="a",
    )
    assert to_counted_transaction(message).energy_wh == 0
