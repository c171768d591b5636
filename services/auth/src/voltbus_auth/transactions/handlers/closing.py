"""Transactions that are closed although nobody told their end: by the policy, or by an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import structlog

from voltbus_auth.decisions.domain.reservations import Release
from voltbus_auth.transactions.domain.account import has_readings
from voltbus_auth.transactions.domain.ledger import ENDED, Ledger
from voltbus_auth.transactions.domain.record import POLICY, Closed
from voltbus_auth.transactions.domain.review import PLAUSIBLE_W, review
from voltbus_auth.transactions.domain.superseding import is_superseded
from voltbus_auth.transactions.handlers.telling import changed_event
from voltbus_backbone.lookout import Lookout
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from voltbus_auth.decisions.handlers.ports import Occupancy
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.handlers.ports import Books
    from voltbus_backbone.bus import envelope

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 15.0
_PORTION = 100
_TRIES = 8


class Closable(Protocol):
    """Where transactions are kept that nobody ended."""

    async def superseded(self, before: datetime, most: int) -> list[Record]:
        """So many at most of those that are superseded since before then and still open."""
        ...

    async def close(self, record: Record, loaded: int, told: Sequence[envelope.Record]) -> bool:
        """Write a record with its events, unless it was changed since; whether it was written."""
        ...


class TransactionCloser:
    """Closes transactions, and tells their end with what was measured."""

    def __init__(
        self,
        closable: Closable,
        books: Books,
        occupancy: Occupancy,
        *,
        after: timedelta,
        source: str,
        now: Callable[[], datetime],
        most_w: float = PLAUSIBLE_W,
    ) -> None:
        """Set up. ``after``: how long a superseded one waits for its end."""
        self._closable = closable
        self._books = books
        self._occupancy = occupancy
        self._after = after
        self._source = source
        self._now = now
        self._most_w = most_w
        self._lookout = Lookout("superseded", self.look, every_s=_LOOK_EVERY_S)

    async def run(self) -> None:
        """Close what is due for the life of the process."""
        await self._lookout.run()

    async def look(self) -> int:
        """Close a portion of what is superseded for long enough; how many.

        One that is changed at this moment is found again, where it still is superseded.
        """
        now = self._now()
        count = 0
        for record in await self._closable.superseded(now - self._after, _PORTION):
            if is_superseded(record) and not record.ended:
                count += await self._write(record, Closed(to_milliseconds(now), POLICY)) is not None
        if count:
            log.info("transactions.closed", count=count, by=POLICY)
        return count

    async def close(self, ref: str, closed: Closed) -> Record | None:
        """Close one by hand; None: there is none, or its end is known.

        Its place under limits is free at once. A stop that comes later still corrects it.
        """
        for _ in range(_TRIES):
            found = await self._books.records({ref}, ())
            if not found or found[0].ended:
                return None
            written = await self._write(found[0], closed)
            if written is not None:
                return written
        return None

    async def _write(self, record: Record, closed: Closed) -> Record | None:
        if record.holds:  # before the record: it is free in any case, should this be cut short
            await self._occupancy.occupy([Release(record.ref, record.holds)])
        samples = (await self._books.samples({record.ref})) if has_readings(record) else {}
        over = replace(record, closed=closed, superseded_at=None)
        over = replace(over, judged=review(over, samples.get(record.ref, ()), self._most_w))
        now = self._now()
        pages = Ledger.of([record], now_s=int(now.timestamp()))
        entry = pages.amend(over, f"closed:{closed.by}:{closed.at.timestamp()}", ENDED)
        told = changed_event(entry, source=self._source, now=now)
        events = [told] if told is not None else []
        if await self._closable.close(entry.record, record.revision, events):
            return entry.record
        return None
