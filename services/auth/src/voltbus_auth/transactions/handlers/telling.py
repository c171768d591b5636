"""What `transactions.events` is told of a transaction that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.transactions.domain import account, ledger
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.registry import (
    TRANSACTION_CORRECTED,
    TRANSACTION_ENDED,
    TRANSACTION_STARTED,
    TRANSACTION_UPDATED,
)

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.transactions.domain.ledger import Entry
    from voltbus_backbone.contract.values import Sample

_ROWS = {
    ledger.STARTED: TRANSACTION_STARTED,
    ledger.UPDATED: TRANSACTION_UPDATED,
    ledger.ENDED: TRANSACTION_ENDED,
    ledger.CORRECTED: TRANSACTION_CORRECTED,
}


def changed_event(
    entry: Entry,
    *,
    source: str,
    now: datetime,
    at: datetime | None = None,
    samples: tuple[Sample, ...] = (),
    traceparent: bytes | None = None,
) -> envelope.Record | None:
    """Make the event of a change, under an id that a redelivery makes again; None: nothing is told.

    ``at``: the time of the message that caused it, else that of the last one; ``samples``: what it
    brought.
    """
    if entry.event is None:
        return None
    record = entry.record
    return envelope.event(
        _ROWS[entry.event],
        account.snapshot(record, at=at or record.last_at, samples=samples),
        id=f"{record.ref}:{entry.revision}",
        source=source,
        now=now,
        traceparent=traceparent,
    )
