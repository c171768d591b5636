"""Forgetting what is older than the operator wants to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from voltbus_backbone.lookout import Lookout

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

log = structlog.get_logger(__name__)

EVERY_S = 600.0
_PORTION = 500


class Forgetting(Protocol):
    """Where transactions are kept."""

    async def forget_ended(self, before: datetime, most: int) -> int:
        """Delete so many at most of which nothing was heard since then; how many."""
        ...


class Retention:
    """Deletes ended transactions some days after the last message of them.

    Every replica does it: what one has deleted, the others do not find.
    """

    def __init__(
        self, books: Forgetting, *, kept: timedelta, now: Callable[[], datetime], every_s: float
    ) -> None:
        self._books = books
        self._kept = kept
        self._now = now
        self._lookout = Lookout("retention", self._once, every_s=every_s)

    async def tidy(self) -> int:
        """Delete what is too old, portion by portion; how many transactions that were."""
        if not self._kept:
            return 0
        before, count = self._now() - self._kept, 0
        while done := await self._books.forget_ended(before, _PORTION):
            count += done
        if count:
            log.info("transactions.forgotten", count=count)
        return count

    async def run(self) -> None:
        """Tidy for the life of the process."""
        await self._lookout.run()

    async def _once(self) -> None:
        await self.tidy()  # to the end: nothing is left that could be looked for at once
