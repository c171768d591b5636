"""The clock: scheduled agreements begin at valid_from, running ones expire at valid_to.

Every replica runs it. A transition is decided on the stored agreement within a transaction, so it
happens once, whoever comes first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.terms import to_instant
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_agreements.domain.agreement import Agreement, Change, Policy
    from voltbus_agreements.handlers.changes import ChangeHandler
    from voltbus_agreements.store import Store

log = structlog.get_logger(__name__)

_MOST = 100


class LifecycleScheduler:
    """Does what is due. ``longest_s`` bounds how long it sleeps; ``wake`` makes it look again."""

    def __init__(
        self,
        store: Store,
        changes: ChangeHandler,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        longest_s: float,
    ) -> None:
        self._store = store
        self._changes = changes
        self._policy = policy
        self._now = now
        self._longest_s = longest_s
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """An agreement changed: the next due time may be another."""
        self._changed.set()

    async def run(self) -> None:
        """Tick for the life of the process."""
        # Not the backbone's Lookout: the rest lasts until the next due time, not for a fixed one.
        while True:
            self._changed.clear()
            try:
                await self.tick()
                pause = await self._until_next()
            except Unavailable as error:
                log.warning("clock.waiting", reason=str(error))
                pause = self._longest_s
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def tick(self) -> int:
        """Carry out everything that is due now; returns how many transitions there were."""
        now = to_instant(self._now())
        done = 0
        passing: set[str] = set()
        while ids := await self._store.due(now, passing=passing, most=_MOST):
            for agreement_id in ids:
                try:
                    changed = await self._advance(agreement_id, now)
                except Unavailable:
                    raise
                except Exception:
                    # One agreement that cannot be read must not stop the others' time.
                    log.exception("clock.passed_over", agreement_id=agreement_id)
                    changed = False
                if changed:
                    done += 1
                else:
                    passing.add(agreement_id)
        return done

    async def _advance(self, agreement_id: str, now: datetime) -> bool:
        changes: list[Change] = []

        def decide(agreement: Agreement, used_wh: int) -> Change | None:
            changes.clear()
            command = lifecycle.choose_due_command(agreement, now)
            if command is None:
                return None
            change = lifecycle.act(
                agreement, command, now=now, policy=self._policy, used_wh=used_wh
            )
            changes.append(change)
            return change

        await self._changes.change(agreement_id, decide)
        return bool(changes)

    async def _until_next(self) -> float:
        now = self._now()
        due = await self._store.next_due(now)
        if due is None:
            return self._longest_s
        return min(max((due - now).total_seconds(), 0), self._longest_s)
