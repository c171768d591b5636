"""When each station has to be looked at again: a timer per station that outlives processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import DeleteOne, UpdateOne

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from motor.motor_asyncio import AsyncIOMotorClientSession as Session

    from voltbus_backbone.store import Collection, Reachable


class Due:
    """The timers of all stations, shared by the replicas."""

    def __init__(self, collection: Collection, reachable: Reachable) -> None:
        self._collection = collection
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the index."""
        await self._collection.create_index("at")

    async def mark(self, times: Mapping[str, datetime], session: Session | None = None) -> None:
        """Look at these stations at these times at the latest.

        A mark is always a write, also where an earlier time stands: whoever looks at the station
        from a snapshot of before must meet a conflict, or the mark would be lost with its cause.
        """
        writes = [
            UpdateOne({"_id": station_id}, {"$min": {"at": at}, "$inc": {"marks": 1}}, upsert=True)
            for station_id, at in times.items()
        ]
        if writes:
            await self._collection.bulk_write(writes, ordered=False, session=session)

    async def set(self, times: Mapping[str, datetime | None], session: Session) -> None:
        """These stations were looked at: the next times, or None for none."""
        writes = [
            DeleteOne({"_id": station_id})
            if at is None
            else UpdateOne({"_id": station_id}, {"$set": {"at": at}}, upsert=True)
            for station_id, at in times.items()
        ]
        if writes:
            await self._collection.bulk_write(writes, ordered=False, session=session)

    async def take(self, now: datetime, lease: timedelta, most: int) -> list[str]:
        """Stations to be looked at now. Whoever takes them and dies leaves them to the next.

        Two replicas may take the same one: looking twice changes nothing.
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
