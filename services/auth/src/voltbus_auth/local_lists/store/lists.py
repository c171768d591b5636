"""Stations with their local lists, shared by the replicas: read, changed under a guard, taken."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pymongo import DeleteOne, UpdateOne
from pymongo.errors import BulkWriteError

from voltbus_auth.local_lists.domain.facts import Station
from voltbus_auth.local_lists.domain.station import ListState
from voltbus_auth.local_lists.store.documents import station_change, station_of
from voltbus_backbone.mongo.rest_store import find_page

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging

_DUPLICATE = 11000


class LocalListStore:
    """One document per station that config or a gateway has told of."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._stations = database["local_list_stations"]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._stations.create_index("plans")
            await self._stations.create_index("due")
            await self._stations.create_index([("list.status", 1), ("_id", 1)])

    async def load(
        self, station_ids: Collection[str], *, contents: Collection[str] = ()
    ) -> dict[str, Station]:
        """These stations, those that nobody told of yet too; with what they hold where wanted."""
        found: dict[str, Station] = {}
        whole = list(contents)
        light = [name for name in station_ids if name not in set(whole)]
        with self._reachable.watching():
            for names, projection in ((whole, None), (light, {"held": 0})):
                if names:
                    cursor = self._stations.find({"_id": {"$in": names}}, projection)
                    found |= {one["_id"]: station_of(one) async for one in cursor}
        for name in station_ids:
            if name not in found:
                found[name] = Station(name, ListState())
        return found

    async def find(self, station_id: str) -> Station | None:
        """One station with what it holds."""
        with self._reachable.watching():
            document = await self._stations.find_one({"_id": station_id})
        return station_of(document) if document is not None else None

    async def change(self, changes: Sequence[tuple[Station, Station]]) -> set[str]:
        """Store (before, after) pairs; the ids of those that someone else changed meanwhile.

        A station that nobody told of is made by whoever is first.
        """
        if not changes:
            return set()
        writer = secrets.token_hex(8)
        steps: list[UpdateOne] = []
        for before, after in changes:
            new = before.revision == 0
            guard = {"_id": after.id, "revision": {"$exists": False} if new else before.revision}
            steps.append(UpdateOne(guard, station_change(before, after, writer), upsert=new))
        with self._reachable.watching():
            try:
                result = await self._stations.bulk_write(steps, ordered=False)
                stored = result.matched_count + len(result.upserted_ids or {})
            except BulkWriteError as error:
                details: Document = error.details  # type: ignore[assignment]  # a plain dict
                if any(one["code"] != _DUPLICATE for one in details["writeErrors"]):
                    raise
                stored = details["nMatched"] + len(details["upserted"])
            if stored == len(changes):
                return set()
            query = {"_id": {"$in": [after.id for _, after in changes]}, "writer": writer}
            ours = {one["_id"] async for one in self._stations.find(query, {"_id": 1})}
        return {after.id for _, after in changes} - ours

    async def mark(self, query: Document, at: datetime) -> None:
        """Look at the stations of some plans at this time at the latest.

        Who is deciding about one of them at this moment keeps the decision, and the time.
        """
        with self._reachable.watching():
            await self._stations.update_many(
                query,
                [
                    {
                        "$set": {
                            "due": {"$min": ["$due", at]},
                            "marks": {"$add": ["$marks", 1]},
                        }
                    }
                ],
            )

    async def take(self, now: datetime, lease: timedelta, most: int) -> list[str]:
        """Stations to be looked at now. Whoever takes them and dies leaves them to the next.

        Two replicas may take the same one; the guard of ``change`` lets one of them decide.
        """
        with self._reachable.watching():
            cursor = self._stations.find({"due": {"$lte": now}}, {"_id": 1}).sort("due", 1)
            ids = [found["_id"] for found in await cursor.limit(most).to_list(most)]
            if ids:
                await self._stations.update_many(
                    {"_id": {"$in": ids}, "due": {"$lte": now}}, {"$set": {"due": now + lease}}
                )
        return ids

    async def published(self, causes: Mapping[str, str]) -> None:
        """The records of these stations' calls (by cause) are on Kafka."""
        steps = [
            UpdateOne(
                {"_id": station_id, "list.flight.cause": cause},
                [
                    {
                        "$set": {
                            "list.flight.published": True,
                            "due": "$list.flight.give_up_at",
                            "revision": {"$add": ["$revision", 1]},
                        }
                    }
                ],
            )
            for station_id, cause in causes.items()
        ]
        if steps:
            with self._reachable.watching():
                await self._stations.bulk_write(steps, ordered=False)

    async def remove(self, removed: Mapping[str, datetime]) -> None:
        """Forget stations that are registered no more, unless they were told of again since."""
        stations = await self.load(removed)
        steps = [
            DeleteOne({"_id": name, "revision": stations[name].revision})
            for name, at in removed.items()
            if (told := stations[name].told) is None or told.at <= at
        ]
        if steps:
            with self._reachable.watching():
                await self._stations.bulk_write(steps, ordered=False)

    async def page(self, status: str | None, paging: Paging) -> tuple[list[Station], bool]:
        """Stations in the order of their ids, without what they hold; whether there are more."""
        query: Document = {"list.status": status or {"$ne": "unmanaged"}}
        with self._reachable.watching():
            found, more = await find_page(
                self._stations, query, paging, by="_id", projection={"held": 0}
            )
        return [station_of(document) for document in found], more
