"""The repository of reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_config.domain.reservations import OPEN, Reservation
from voltbus_config.store.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime, timedelta

    from motor.motor_asyncio import AsyncIOMotorClientSession as Session

    from voltbus_backbone.mongo.store import Collection as Documents
    from voltbus_backbone.mongo.store import Reachable

_OPEN = sorted(state.value for state in OPEN)


class ReservationRepository(Repository[Reservation]):
    """Finds reservations by id, by station, by their number there, and by time."""

    def __init__(self, collection: Documents, reachable: Reachable) -> None:
        super().__init__(collection, Reservation)
        self._reachable = reachable

    async def prepare(self, kept: timedelta) -> None:
        """Create the indexes; ended reservations expire after ``kept``."""
        await self.collection.create_index([("station_id", 1), ("number", 1)], unique=True)
        await self.collection.create_index([("state", 1), ("expires_at", 1)])
        await self.collection.create_index([("created_at", -1), ("_id", -1)])
        await self.collection.create_index("token_ref")
        await self.collection.create_index("ended_at", expireAfterSeconds=int(kept.total_seconds()))

    async def load_open_of(
        self, station_id: str, session: Session | None
    ) -> dict[str, Reservation]:
        """Return a station's open reservations, by id."""
        return await self.find_matching(
            {"station_id": station_id, "state": {"$in": _OPEN}}, session
        )

    async def find_by_number(
        self, places: Collection[tuple[str, int]], session: Session | None
    ) -> dict[str, Reservation]:
        """Return those with a station and a number there, by id."""
        wanted: list[dict[str, Any]] = [
            {"station_id": station_id, "number": number} for station_id, number in places
        ]
        return await self.find_matching({"$or": wanted}, session)

    async def find_due(self, now: datetime, most: int) -> list[str]:
        """Return ids of those that are still open past their time, at most ``most``."""
        query = {"state": {"$in": _OPEN}, "expires_at": {"$lte": now}}
        with self._reachable.watching():
            cursor = self.collection.find(query, {"_id": 1}).limit(most)
            return [found["_id"] for found in await cursor.to_list(most)]

    async def forget_tokens(self, refs: Collection[str]) -> None:
        """Remove these token references: their holders were erased."""
        with self._reachable.watching():
            await self.collection.update_many(
                {"token_ref": {"$in": list(refs)}},
                {"$set": {"token_ref": ""}, "$inc": {"revision": 1}},
            )
