"""The reservations, and how their causes find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_config.domain.reservations import OPEN, Reservation
from voltbus_config.store.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime, timedelta

    from motor.motor_asyncio import AsyncIOMotorClientSession as Session

    from voltbus_backbone.mongo.store import Collection as Documents
    from voltbus_backbone.mongo.store import Reachable

_OPEN = sorted(state.value for state in OPEN)


class ReservationStore(Shelf[Reservation]):
    """By id, by station, by their number there, and by time."""

    def __init__(self, collection: Documents, reachable: Reachable) -> None:
        super().__init__(collection, Reservation)
        self._reachable = reachable

    async def prepare(self, kept: timedelta) -> None:
        """Create the indexes; those that ended so long ago are forgotten."""
        await self.collection.create_index([("station_id", 1), ("number", 1)], unique=True)
        await self.collection.create_index([("state", 1), ("expires_at", 1)])
        await self.collection.create_index([("created_at", -1), ("_id", -1)])
        await self.collection.create_index("token_ref")
        await self.collection.create_index("ended_at", expireAfterSeconds=int(kept.total_seconds()))

    async def open_of(self, station_id: str, session: Session | None) -> dict[str, Reservation]:
        """What a station may hold, by id."""
        return await self.where({"station_id": station_id, "state": {"$in": _OPEN}}, session)

    async def at(
        self, places: Collection[tuple[str, int]], session: Session | None
    ) -> dict[str, Reservation]:
        """Those with a station and a number there, by id."""
        wanted: list[dict[str, Any]] = [
            {"station_id": station_id, "number": number} for station_id, number in places
        ]
        return await self.where({"$or": wanted}, session)

    async def due(self, now: datetime, most: int) -> list[str]:
        """Ids of those that are still open past their time."""
        query = {"state": {"$in": _OPEN}, "expires_at": {"$lte": now}}
        with self._reachable.watching():
            cursor = self.collection.find(query, {"_id": 1}).limit(most)
            return [found["_id"] for found in await cursor.to_list(most)]

    async def forget_tokens(self, refs: Collection[str]) -> None:
        """Whoever these tokens belonged to was erased: their reservations name nobody."""
        with self._reachable.watching():
            await self.collection.update_many(
                {"token_ref": {"$in": list(refs)}},
                {"$set": {"token_ref": ""}, "$inc": {"revision": 1}},
            )
