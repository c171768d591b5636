"""Which transactions are open under each limit: one document per token or agreement.

Every step is one atomic update of one document, so that a limit holds however many replicas see a
token start at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import UpdateOne

from voltbus_auth.decisions.domain.reservations import Occupy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from voltbus_auth.decisions.domain.reservations import Release
    from voltbus_auth.decisions.domain.verdict import Limit
    from voltbus_backbone.mongo.store import Database, Reachable


class OccupancyStore:
    """What `decisions.handlers.ports.Occupancy` asks for."""

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        now: Callable[[], datetime],
        forget_open: timedelta,
    ) -> None:
        self._open = database["open_transactions"]
        self._reachable = reachable
        self._now = now
        self._forget_open = forget_open

    async def occupy(self, steps: Sequence[Occupy | Release]) -> set[tuple[str, str]]:
        """Take and give back places in order; the (transaction, key) pairs that hold afterwards."""
        now = self._now()
        writes: list[UpdateOne] = []
        keys: set[str] = set()
        for step in steps:
            if isinstance(step, Occupy):
                keys.update(limit.key for limit in step.limits)
                writes.extend(self._occupying(step, limit, now) for limit in step.limits)
            else:
                writes.extend(
                    UpdateOne({"_id": key}, {"$pull": {"open": {"ref": step.ref}}})
                    for key in step.keys
                )
        with self._reachable.watching():
            await self._open.bulk_write(writes, ordered=True)
            if not keys:
                return set()
            query = {"_id": {"$in": list(keys)}}
            documents = await self._open.find(query, {"open.ref": 1}).to_list(None)
        return {(one["ref"], document["_id"]) for document in documents for one in document["open"]}

    def _occupying(self, step: Occupy, limit: Limit, now: datetime) -> UpdateOne:
        """One atomic step: drop what is over, then join if there is room or we are in already.

        Over is what has been open for too long to be believed, and an older transaction on the
        same outlet, which can carry only one.
        """
        outlet = {"$literal": step.outlet}
        stays = {
            "$and": [
                {"$gt": ["$$one.since", now - self._forget_open]},
                {
                    "$or": [
                        {"$eq": ["$$one.ref", step.ref]},
                        {"$eq": [outlet, ""]},
                        {"$ne": ["$$one.outlet", outlet]},
                        {"$gt": ["$$one.at", step.at]},
                    ]
                },
            ]
        }
        kept = {"$filter": {"input": {"$ifNull": ["$open", []]}, "as": "one", "cond": stays}}
        entry = {"ref": step.ref, "outlet": outlet, "at": step.at, "since": now}
        joined = {
            "$cond": [
                {
                    "$or": [
                        {"$in": [step.ref, "$$kept.ref"]},
                        {"$gte": [{"$size": "$$kept"}, limit.most]},
                    ]
                },
                "$$kept",
                {"$concatArrays": ["$$kept", [entry]]},
            ]
        }
        pipeline = [{"$set": {"open": {"$let": {"vars": {"kept": kept}, "in": joined}}}}]
        return UpdateOne({"_id": limit.key}, pipeline, upsert=True)

    async def full(self, limits: Sequence[Limit]) -> set[str]:
        """The keys of those limits that have no room now."""
        most = {limit.key: limit.most for limit in limits}
        with self._reachable.watching():
            documents = await self._open.find({"_id": {"$in": list(most)}}).to_list(None)
        since = self._now() - self._forget_open
        return {
            document["_id"]
            for document in documents
            if sum(one["since"] > since for one in document["open"]) >= most[document["_id"]]
        }
