"""Energy against limits: each transaction counts once, and a correction replaces what it corrects.

A transaction is known by ``transaction_ref``; of two messages on it the higher revision holds, in
whatever order they come.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the store rebuilds sessions by their annotations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voltbus_backbone.contract.agreements import Limits
    from voltbus_backbone.contract.auth import TransactionChanged


@dataclass(frozen=True)
class CountedTransaction:
    """One transaction as it counts. Without an agreement it counts for none (any more)."""

    transaction_ref: str
    agreement_id: str | None
    revision: int
    energy_wh: int
    station_id: str
    ended_at: datetime | None = None


@dataclass(frozen=True)
class UsageDelta:
    """What a batch adds to an agreement's totals; negative where a correction took away."""

    energy_wh: int = 0
    transactions: int = 0

    def plus(self, energy_wh: int, transactions: int) -> UsageDelta:
        """With more added."""
        return UsageDelta(self.energy_wh + energy_wh, self.transactions + transactions)


@dataclass(frozen=True)
class UsageUpdate:
    """What is to be stored: the sessions that changed and the totals they change."""

    sessions: tuple[CountedTransaction, ...]
    deltas: dict[str, UsageDelta]


def to_counted_transaction(message: TransactionChanged) -> CountedTransaction:
    """Return a transaction message as it counts; unknown energy counts as none."""
    return CountedTransaction(
        message.transaction_ref,
        message.agreement_id,
        message.revision,
        max(message.energy_wh or 0, 0),
        message.station_id,
        message.ended_at,
    )


def count_transactions(
    known: Mapping[str, CountedTransaction], arrivals: Iterable[CountedTransaction]
) -> UsageUpdate:
    """Decide what the arrivals change, given the sessions known so far by transaction_ref."""
    current = dict(known)
    changed: dict[str, CountedTransaction] = {}
    deltas: dict[str, UsageDelta] = defaultdict(UsageDelta)
    for arrival in arrivals:
        before = current.get(arrival.transaction_ref)
        if before is not None and before.revision >= arrival.revision:
            continue
        if before is None and arrival.agreement_id is None:
            continue
        if before is not None and before.agreement_id is not None:
            deltas[before.agreement_id] = deltas[before.agreement_id].plus(-before.energy_wh, -1)
        if arrival.agreement_id is not None:
            deltas[arrival.agreement_id] = deltas[arrival.agreement_id].plus(arrival.energy_wh, 1)
        current[arrival.transaction_ref] = changed[arrival.transaction_ref] = arrival
    return UsageUpdate(tuple(changed.values()), dict(deltas))


def is_exhausted(limits: Limits, used_wh: int) -> bool:
    """Return whether the energy cap is used up."""
    return limits.energy_cap_wh is not None and used_wh >= limits.energy_cap_wh
