"""Facts of the gateway's own that Kafka must get, however long it is away.

A station repeats what was not confirmed; nobody repeats "disconnected" or a command's end for us.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bounds import record_bytes
from voltbus_backbone.bus.refusals import instead_of
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import Refused
from voltbus_gateway.metrics import GIVEN_UP, OWED

if TYPE_CHECKING:
    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.bus.ports import Publishing

log = structlog.get_logger(__name__)

_LIMIT = 100_000
_LIMIT_BYTES = 64 * 1024 * 1024


class Reports:
    """Publishes records, and again after a failure, until Kafka has each.

    A repeated record keeps its ``ce_id``. At most ``limit`` are owed, and at most ``limit_bytes``;
    beyond that the oldest are given up: their readers find out by other means (a gateway's beats,
    a command's timeout). So is one that Kafka will never store: it becomes a dead letter.
    """

    def __init__(
        self,
        publisher: Publishing,
        *,
        limit: int = _LIMIT,
        limit_bytes: int = _LIMIT_BYTES,
        retry_s: float = 1.0,
    ) -> None:
        self._publisher = publisher
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._retry_s = retry_s
        self._owed: dict[int, Record] = {}
        self._bytes = 0
        self._count = 0
        self._failed: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    def report(self, record: Record) -> None:
        """Publish a record, again after each failure, until it is stored."""
        self._count += 1
        number = self._count
        size = size_of(record)
        while self._owed and (
            len(self._owed) >= self._limit or self._bytes + size > self._limit_bytes
        ):
            self._forget(next(iter(self._owed)))
            GIVEN_UP.labels("too_many").inc()
            log.error("reports.given_up", owed=len(self._owed))
        self._owed[number] = record
        self._bytes += size
        self._settled.clear()
        self._publish(number, record)

    async def settle(self) -> None:
        """Wait until nothing is owed."""
        await self._settled.wait()

    def close(self) -> None:
        """Try no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _publish(self, number: int, record: Record) -> None:
        future = self._publisher.publish([record])
        future.add_done_callback(partial(self._handle_done, number))
        OWED.set(len(self._owed))

    def _handle_done(self, number: int, future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, Refused):
            give_up(self._publisher, error, datetime.now(UTC))
            self._forget(number)
        elif error is None and not future.cancelled():
            self._forget(number)
        elif number in self._owed:
            self._failed.append(number)
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._retry_s, self._retry)
        OWED.set(len(self._owed))
        if not self._owed:
            self._settled.set()

    def _forget(self, number: int) -> None:
        record = self._owed.pop(number, None)
        if record is not None:
            self._bytes -= size_of(record)

    def _retry(self) -> None:
        self._timer = None
        failed, self._failed = self._failed, []
        for number in failed:
            record = self._owed.get(number)
            if record is not None:
                self._publish(number, record)


def size_of(record: Record) -> int:
    """How much a record holds, in bytes."""
    return record_bytes(record.key, record.value, record.headers)


def give_up(publisher: Publishing, refused: Refused, now: datetime) -> None:
    """Keep what Kafka will never store as dead letters."""
    for refusal in refused.refusals:
        GIVEN_UP.labels(refusal.reason.value).inc()
        letter = instead_of(refusal, Topic.GATEWAY_DEAD_LETTER, now)
        if letter is not None:
            publisher.post(letter)
