"""Whose list does a change touch? Those stations are marked to be looked at soon.

One update per batch of changes, whatever the size of the fleet: stations are found by the plans
they may have. A token leads to the plans that want it now and to those it was ever found under, so
that leaving a plan, being deleted and being erased are noticed too. So do the tokens of the same
value: in 1.6, which has no types, it may take their line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.projections.domain.coverage import EVERYWHERE, scope_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime, timedelta

    from voltbus_auth.local_lists.store.list_stores import ListStores


class Marking:
    """Marks stations due. ``wake`` is told after how many seconds there is something to see."""

    def __init__(
        self,
        store: ListStores,
        *,
        now: Callable[[], datetime],
        settle: timedelta,
        wake: Callable[[float], None],
    ) -> None:
        self._plans = store.plan
        self._lists = store.local_list
        self._tokens = store.token
        self._listed = store.listed_token
        self._agreements = store.projection
        self._now = now
        self._settle = settle
        self._wake = wake

    async def plan_changed(self, key: str) -> None:
        """An operator put or removed a plan."""
        await self._mark({key})

    async def tokens_changed(self, refs: Collection[str], erased: Collection[str] = ()) -> None:
        """Tokens were registered, changed, deleted; or erased, and are forgotten here as well."""
        if not refs:
            return
        tokens = await self._tokens.there(refs)
        same = await self._listed.of_same_value(refs)
        await self._mark(
            await self._plans.naming(list(tokens.values()), refs)
            | await self._plans.noted(same.union(refs))
        )
        coverages = await self._agreements.coverages(refs)
        where = {
            key
            for several in coverages.values()
            for coverage in several
            for key in scope_keys(coverage.terms)
        }
        await self._mark_covered(where)
        if erased:
            await self._plans.erase(erased)
            await self._agreements.forget_tokens(erased)

    async def agreements_changed(self, agreement_ids: Collection[str]) -> None:
        """Agreements were made, changed or removed; what is stored of them is new already."""
        refs, where = await self._agreements.reach(agreement_ids)
        await self._mark(await self._plans.noted(refs))
        await self._mark_covered(where)

    async def _mark(self, keys: Collection[str]) -> None:
        if keys:
            await self._due({"plans": {"$in": sorted(keys)}})

    async def _mark_covered(self, where: Collection[str]) -> None:
        """Stations whose plans want what agreements cover, where these agreements hold."""
        keys = await self._plans.covered() if where else []
        if not keys:
            return
        query: dict[str, Any] = {"plans": {"$in": sorted(keys)}}
        if EVERYWHERE not in where:
            query = {"$and": [query, {"plans": {"$in": sorted(where)}}]}
        await self._due(query)

    async def _due(self, query: dict[str, Any]) -> None:
        await self._lists.mark(query, self._now() + self._settle)
        self._wake(self._settle.total_seconds())
