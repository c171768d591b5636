"""When each station has to be reconciled again: a timer per station that outlives processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from motor.motor_asyncio import AsyncIOMotorClientSession as Session

    from voltbus_backbone.mongo.store import Collection, Reachable


class Schedule:
    """The timers of all stations, shared by the replicas."""

    def __init__(self, collection: Collection, reachable: Reachable) -> None:
        self._collection = collection
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the index."""
        await self._collection.create_index("at")

    async def mark_due(self, times: Mapping[str, datetime], session: Session | None = None) -> None:
        """Mark stations due at these times at the latest.

        Marking always writes, even where an earlier time is stored: a transaction that reconciles
        the station from an older snapshot must conflict, or this mark would be lost.
        """
        await self._write({name: {"$min": {"at": at}} for name, at in times.items()}, session)

    async def reschedule(self, times: Mapping[str, datetime | None], session: Session) -> None:
        """Set the next times of stations that were reconciled; None for no next time.

        This always writes too: of two concurrent transactions that reconcile a station, one
        conflicts and runs again, since neither saw the changes of the other.
        """
        steps: dict[str, dict[str, Any]] = {
            name: {"$unset": {"at": ""}} if at is None else {"$set": {"at": at}}
            for name, at in times.items()
        }
        await self._write(steps, session)

    async def _write(self, steps: Mapping[str, dict[str, Any]], session: Session | None) -> None:
        writes = [
            UpdateOne({"_id": station_id}, {**step, "$inc": {"writes": 1}}, upsert=True)
            for station_id, step in steps.items()
        ]
        if writes:
            await self._collection.bulk_write(writes, ordered=False, session=session)

    async def take_due(self, now: datetime, lease: timedelta, most: int) -> list[str]:
        """Take stations that are due, at most ``most``, and lease them until ``now + lease``.

        The lease expires when a process dies. Two replicas may take the same station:
        reconciling twice changes nothing.
        """
        with self._reachable.watching():
            cursor = (
                self._collection.find({"at": {"$lte": now}}, {"_id": 1}).sort("at", 1).limit(most)
            )
            ids = [found["_id"] for found in await cursor.to_list(most)]
            if ids:
                await self._collection.update_many(
                    {"_id": {"$in": ids}, "at": {"$lte": now}}, {"$set": {"at": now + lease}}
                )
        return ids
