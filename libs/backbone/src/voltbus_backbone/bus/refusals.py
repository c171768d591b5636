"""What takes the place of a record that Kafka will never store.

Repeating it cannot help, and it must not hold those up that were to go with it. An answer that is
too large becomes a fault, so that whoever asked need not wait; one whose address is none is dropped
(the publisher has counted it). Everything else becomes a dead letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bus import dead_letters
from voltbus_backbone.bus.envelope import Record, encode, header
from voltbus_backbone.contract.registry import FAULT, Fault
from voltbus_backbone.errors import RefusalReason, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.contract.registry import Topic
    from voltbus_backbone.errors import Refusal

log = structlog.get_logger(__name__)

_KEPT = ("correlation-id", "ce_id", "ce_source", "ce_time", "ce_subject", "traceparent")


def is_answer(record: Record) -> bool:
    """Whether a record answers somebody who asked."""
    return record.partition is not None and header(record.headers, "correlation-id") is not None


def instead_of(refusal: Refusal, to: Topic, now: datetime) -> Record | None:
    """What is sent in place of a refused record: a fault, a letter on ``to``, or nothing."""
    record = refusal.record
    if record.topic == to:
        log.error("dead_letter.lost", reason=refusal.reason.value)
        return None
    if not is_answer(record):
        return dead_letters.unsent(refusal, to, now)
    if refusal.reason is RefusalReason.UNDELIVERABLE:
        return None
    headers = [pair for pair in record.headers if pair[0] in _KEPT]
    fault = Fault(code="answer_refused", detail=f"The answer cannot be sent: {refusal.detail}")
    return Record(
        record.topic, None, encode(fault), [*FAULT.fixed_headers, *headers], record.partition
    )


async def deliver(
    publisher: Publishing, records: Sequence[Record], to: Topic, now: datetime
) -> tuple[Refusal, ...]:
    """Publish records; what Kafka will never store is replaced, and returned.

    Raises:
        Unavailable: it is not certain that all are stored; repeating them can help.
    """
    try:
        await publisher.publish(records)
    except Refused as refused:
        places = [instead_of(refusal, to, now) for refusal in refused.refusals]
        # What is refused even now is a letter or an address that is none: both end there.
        await deliver(publisher, [place for place in places if place is not None], to, now)
        return refused.refusals
    return ()
