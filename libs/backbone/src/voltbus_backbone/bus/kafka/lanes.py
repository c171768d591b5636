"""What waits to be produced: who waits for it, and in which order, per partition."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bounds import BATCH_HEADER_BYTES, RECORD_BYTES
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import Refusal, RefusalReason, Refused
from voltbus_backbone.observability import REFUSED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiokafka.producer.message_accumulator import BatchBuilder

    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.errors import VoltbusError

log = structlog.get_logger(__name__)

_LEAST_BATCH = 16_384
_TOLD_EVERY_S = 1.0  # the metric counts them all


class Waiter:
    """One publish() call: its future is done when the last of its records is stored or refused."""

    __slots__ = ("future", "left", "refusals")

    def __init__(self, future: asyncio.Future[None], left: int) -> None:
        self.future = future
        self.left = left
        self.refusals: list[Refusal] = []

    def stored(self) -> None:
        """One more record is stored."""
        self.left -= 1
        if self.left == 0 and not self.future.done():
            if self.refusals:
                self.future.set_exception(Refused(self.refusals))
            else:
                self.future.set_result(None)

    def refused(self, refusal: Refusal) -> None:
        """One more record is never going to be stored."""
        self.refusals.append(refusal)
        self.stored()

    def failed(self, error: VoltbusError) -> None:
        """A record is not stored now: whoever waits repeats them all."""
        if not self.future.done():
            self.future.set_exception(error)


Entry = tuple["Record", Waiter | None]


class _Told:
    """When the next refusal is worth a line: whoever floods us must not flood the log."""

    again_at = 0.0


def refuse(entry: Entry, reason: RefusalReason, detail: str) -> None:
    """Give a record up: counted, logged, and told to whoever waits for it."""
    record, waiter = entry
    topic = next((topic for topic in Topic if record.topic.endswith(topic)), "other")
    REFUSED.labels(topic, reason.value).inc()
    if _Told.again_at <= (now := time.monotonic()):
        _Told.again_at = now + _TOLD_EVERY_S
        log.warning("record.refused", topic=str(topic), reason=reason.value, detail=detail)
    if waiter is not None:
        waiter.refused(Refusal(record, reason, detail))


class Lane:
    """One partition: what waits, and the produce in flight."""

    __slots__ = ("alone", "busy", "most_bytes", "partition", "since", "topic", "tries", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Entry] = deque()
        self.busy = False
        self.since: float | None = None
        self.alone = 0  # so many records go singly: one of them made a batch fail
        self.most_bytes = RECORD_BYTES  # of a batch; less once the broker has refused one as large
        self.tries = 0  # how often the batch at the head has failed for no fault of its records

    def fill(self, create_batch: Callable[[], BatchBuilder]) -> tuple[BatchBuilder, list[Entry]]:
        """Take what fits one batch; what can never be written is refused before it is in one."""
        builder, taken = create_batch(), list[Entry]()
        narrow = self.alone > 0 or self.most_bytes < RECORD_BYTES
        while self.waiting:
            record = self.waiting[0][0]
            if narrow and taken and not self._goes_with(builder.size(), record):
                break
            try:
                written = builder.append(
                    key=record.key, value=record.value, headers=record.headers, timestamp=None
                )
            except (TypeError, ValueError, AttributeError, OverflowError) as error:
                refuse(self.waiting.popleft(), RefusalReason.MALFORMED, type(error).__name__)
                # What the builder holds of it is unknown: the others are written anew.
                self.put_back(taken)
                builder, taken = create_batch(), []
                continue
            if written is None:
                break
            size = written.size + BATCH_HEADER_BYTES
            if size > RECORD_BYTES:
                # Only the first of a batch is taken whatever its size, so it is alone in there.
                detail = f"a record takes {size} bytes, {RECORD_BYTES} are allowed"
                refuse(self.waiting.popleft(), RefusalReason.TOO_LARGE, detail)
                builder = create_batch()
                continue
            taken.append(self.waiting.popleft())
        return builder, taken

    def _goes_with(self, size: int, record: Record) -> bool:
        """Whether a record may join a batch of this size, once the broker has refused one."""
        return not self.alone and size + _rough(record) <= self.most_bytes

    def put_back(self, taken: list[Entry]) -> None:
        """Let these records wait again, before all others."""
        self.waiting.extendleft(reversed(taken))

    def isolate(self, taken: list[Entry]) -> None:
        """Produce these singly: one of them is at fault."""
        self.put_back(taken)
        self.alone = len(taken)

    def shrink(self, size: int) -> None:
        """Make no batches as large as this one, which the broker refused."""
        self.most_bytes = max(_LEAST_BATCH, min(self.most_bytes, size) // 2)

    def settled(self, taken: list[Entry]) -> None:
        """These are done with."""
        self.alone = max(0, self.alone - len(taken))
        self.tries = 0


def _rough(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")
