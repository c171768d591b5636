"""Facts of the gateway's own that Kafka must get, however long it is away.

A station repeats what was not confirmed; nobody repeats "disconnected" or a command's end for us.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from voltbus_gateway.metrics import OWED

if TYPE_CHECKING:
    from voltbus_backbone.bus import Publishing
    from voltbus_backbone.envelope import Record

log = structlog.get_logger(__name__)

_LIMIT = 100_000


class Reports:
    """Publishes records, and again after a failure, until Kafka has each.

    A repeated record keeps its ``ce_id``. At most ``limit`` are owed; beyond that the oldest are
    given up: their readers find out by other means (a gateway's beats, a command's timeout).
    """

    def __init__(self, publisher: Publishing, *, limit: int = _LIMIT, retry_s: float = 1.0) -> None:
        self._publisher = publisher
        self._limit = limit
        self._retry_s = retry_s
        self._owed: dict[int, Record] = {}
        self._count = 0
        self._failed: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    def tell(self, record: Record) -> None:
        """Publish a record until it is stored."""
        self._count += 1
        number = self._count
        if len(self._owed) >= self._limit:
            oldest = next(iter(self._owed))
            del self._owed[oldest]
            log.error("reports.given_up", owed=len(self._owed))
        self._owed[number] = record
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
        future.add_done_callback(partial(self._done, number))
        OWED.set(len(self._owed))

    def _done(self, number: int, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._owed.pop(number, None)
        elif number in self._owed:
            self._failed.append(number)
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._retry_s, self._again)
        OWED.set(len(self._owed))
        if not self._owed:
            self._settled.set()

    def _again(self) -> None:
        self._timer = None
        failed, self._failed = self._failed, []
        for number in failed:
            record = self._owed.get(number)
            if record is not None:
                self._publish(number, record)
