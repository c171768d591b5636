"""Changes of agreements: what is decided on the stored state, within one transaction each.

The store reads and writes; here is when it does so, and what follows from a change: tokens are
claimed, totals settle, and tokens of erased holders leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_agreements.domain import lifecycle, overlap, usage
from voltbus_agreements.domain.agreement import LIVE, EventKind
from voltbus_agreements.domain.refusals import Overlapping

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from voltbus_agreements.domain.agreement import Agreement, Change
    from voltbus_agreements.domain.usage import CountedTransaction
    from voltbus_agreements.store import Session, Store


class ChangeHandler:
    """Decides changes of agreements and has the store keep them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, change: Change) -> None:
        """Store a new agreement."""
        await self._store.transact(lambda session: self._write(change, None, session))

    async def change(
        self, agreement_id: str, decide: Callable[[Agreement, int], Change | None]
    ) -> Agreement | None:
        """Decide on the stored agreement and store the outcome; None when there is no such id.

        Args:
            agreement_id: The agreement's id.
            decide: Gets the agreement and the energy used under it (Wh), and returns None to
                change nothing. It runs again after a conflict with another writer. What it
                raises leaves everything as it was.

        Raises:
            Overlapping: a token has another agreement for the same time and place.
            Unavailable: MongoDB is away, or the conflicts did not end.
        """

        async def decide_and_write(session: Session) -> Agreement | None:
            agreement = (await self._store.load([agreement_id], session)).get(agreement_id)
            if agreement is None:
                return None
            change = decide(agreement, await self._store.hold_usage(agreement_id, session))
            if change is None:
                return agreement
            await self._write(change, agreement, session)
            return change.agreement

        return await self._store.transact(decide_and_write)

    async def count_transactions(
        self, arrivals: Sequence[CountedTransaction], *, now: datetime
    ) -> None:
        """Count transactions, each once, and mark agreements whose cap they use up."""

        async def count_and_settle(session: Session) -> None:
            refs = {arrival.transaction_ref for arrival in arrivals}
            known = await self._store.load_transactions(refs, session)
            counted = usage.count_transactions(known, arrivals)
            if counted.sessions:
                await self._store.add_usage(counted, session)
                await self._settle(list(counted.deltas), now, session)

        await self._store.transact(count_and_settle)

    async def forget_tokens(self, refs: Collection[str], *, now: datetime) -> None:
        """Remove these tokens from every agreement and from all history; repeating is harmless.

        History keeps that a revision had other tokens, not which: it shows that the agreement
        changed, when, and why (``token_erased``).
        """

        async def forget_everywhere(session: Session) -> None:
            for agreement in await self._store.find_with_tokens(refs, session):
                change = lifecycle.forget_tokens(agreement, refs, now=now)
                if change is not None:
                    await self._store.replace(change, session)
            await self._store.erase_tokens(refs, session)

        await self._store.transact(forget_everywhere)

    async def _settle(self, ids: Sequence[str], now: datetime, session: Session) -> None:
        """Update ``exhausted`` of agreements whose totals changed."""
        totals = await self._store.load_totals(ids, session)
        for agreement in (await self._store.load(ids, session)).values():
            change = lifecycle.update_exhausted(agreement, used_wh=totals[agreement.id], now=now)
            if change is not None:
                await self._write(change, agreement, session)

    async def _write(self, change: Change, before: Agreement | None, session: Session) -> None:
        """Store a change; one that begins to hold its tokens, or has new terms, claims them."""
        agreement = change.agreement
        if agreement.status in LIVE and (
            before is None or before.status not in LIVE or before.terms != agreement.terms
        ):
            await self._claim_tokens(agreement, session)
        if before is None:
            await self._store.insert(change, session)
        elif change.event is EventKind.DELETED:
            await self._store.delete(change, session)
        else:
            await self._store.replace(change, session)

    async def _claim_tokens(self, agreement: Agreement, session: Session) -> None:
        """Claim its tokens, so that concurrent claims conflict, and refuse overlapping agreements.

        Raises:
            Overlapping: a token has another agreement for the same time and place (rules D).
        """
        refs = sorted(token.ref for token in agreement.terms.tokens)
        if not refs:
            return
        await self._store.claim_tokens(refs, session)
        rival = overlap.find_rival(
            agreement, await self._store.find_with_tokens(refs, session, LIVE)
        )
        if rival is not None:
            raise Overlapping(rival.id)
