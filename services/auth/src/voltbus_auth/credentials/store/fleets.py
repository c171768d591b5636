"""Rotations of many stations: the fleet, and what became of each of its stations."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from pymongo import ReturnDocument, UpdateOne

from voltbus_auth.credentials.domain.changes.change import State
from voltbus_auth.credentials.domain.changes.fleet import Fleet, Progress
from voltbus_backbone.mongo.rest_store import find_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging

_LEASE = timedelta(seconds=15)
_UNDER_WAY = frozenset({State.STARTING.value, State.COMMANDED.value})


class FleetStore:
    """A document per fleet and one per station in it; the rotations themselves are changes."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._fleets = database["fleets"]
        self._targets = database["fleet_targets"]
        self._changes = database["changes"]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._fleets.create_index("due_at", sparse=True)
            await self._targets.create_index(
                [("fleet_id", 1), ("state", 1), ("away", 1), ("_id", 1)]
            )

    async def add(self, fleet: Fleet, stations: Sequence[tuple[str, bool]]) -> None:
        """Store a fleet of these stations, with whether each is away: those begin last.

        The fleet comes after its stations: one that nobody finds was never begun.
        """
        documents: list[Document] = [
            {
                "_id": f"{fleet.id}-{place:06d}",
                "fleet_id": fleet.id,
                "station_id": station_id,
                "state": "waiting",
                "away": away,
            }
            for place, (station_id, away) in enumerate(stations)
        ]
        with self._reachable.watching():
            await self._targets.insert_many(documents)
            await self._fleets.insert_one(_document(fleet))

    async def get(self, fleet_id: str) -> Fleet | None:
        """One of them."""
        with self._reachable.watching():
            found = await self._fleets.find_one({"_id": fleet_id})
        return None if found is None else msgspec.convert(found, Fleet)

    async def page(self, paging: Paging) -> tuple[list[Fleet], bool]:
        """Some of them, by id, which sorts by time; and whether there is more."""
        with self._reachable.watching():
            found, more = await find_page(self._fleets, {}, paging, by="_id")
        return [msgspec.convert(one, Fleet) for one in found], more

    async def write(self, fleet: Fleet) -> bool:
        """Store unless somebody else wrote it since it was read; whether it was stored."""
        with self._reachable.watching():
            result = await self._fleets.replace_one(
                {"_id": fleet.id, "revision": fleet.revision - 1}, _document(fleet)
            )
        return bool(result.matched_count)

    async def claim(self, now: datetime) -> Fleet | None:
        """One that somebody must look at now; for a while it is nobody else's."""
        with self._reachable.watching():
            found: Document | None = await self._fleets.find_one_and_update(
                {"due_at": {"$lte": now}},
                {"$set": {"due_at": now + _LEASE}},
                sort=[("due_at", 1)],
                return_document=ReturnDocument.BEFORE,
            )
        return None if found is None else msgspec.convert(found, Fleet)

    async def progress(self, fleet_id: str) -> Progress:
        """How many of its stations are where."""
        by_state: Document = {"_id": "$state", "count": {"$sum": 1}}
        steps = [{"$match": {"fleet_id": fleet_id}}, {"$group": by_state}]
        with self._reachable.watching():
            targets = await self._targets.aggregate(steps).to_list(None)
            changes = await self._changes.aggregate(steps).to_list(None)
        begun = {one["_id"]: int(one["count"]) for one in changes}
        other = {one["_id"]: int(one["count"]) for one in targets}
        return Progress(
            waiting=other.get("waiting", 0),
            skipped=other.get("skipped", 0),
            open=sum(begun.get(state, 0) for state in _UNDER_WAY),
            unsettled=begun.get(State.UNSETTLED.value, 0),
            succeeded=begun.get(State.SUCCEEDED.value, 0),
            failed=begun.get(State.FAILED.value, 0),
        )

    async def waiting(self, fleet_id: str, limit: int) -> list[tuple[str, str]]:
        """The next of its stations, as (rotation's id, station)."""
        query = {"fleet_id": fleet_id, "state": "waiting"}
        with self._reachable.watching():
            cursor = self._targets.find(query).sort([("away", 1), ("_id", 1)]).limit(limit)
            found = await cursor.to_list(None)
        return [(one["_id"], one["station_id"]) for one in found]

    async def skipped(self, fleet_id: str, limit: int) -> list[tuple[str, str]]:
        """Stations that were passed over, with the reason."""
        query = {"fleet_id": fleet_id, "state": "skipped"}
        with self._reachable.watching():
            found = await self._targets.find(query).sort("_id", 1).limit(limit).to_list(None)
        return [(one["station_id"], one["reason"]) for one in found]

    async def mark(self, outcomes: Mapping[str, str | None]) -> None:
        """By rotation's id: None, it was begun; else the reason for which it was not."""
        steps = [
            UpdateOne(
                {"_id": name, "state": "waiting"},
                {"$set": {"state": "begun"}}
                if reason is None
                else {"$set": {"state": "skipped", "reason": reason}},
            )
            for name, reason in outcomes.items()
        ]
        if steps:
            with self._reachable.watching():
                await self._targets.bulk_write(steps, ordered=False)


def _document(fleet: Fleet) -> Document:
    found: Document = msgspec.to_builtins(fleet, builtin_types=(datetime,))
    return found
