"""When each gateway last sent a beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from voltbus_config.store.repository import to_document

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from voltbus_backbone.contract.stations import GatewayBeat
    from voltbus_backbone.mongo.store import Collection, Reachable


class GatewayRepository:
    """The gateways, with leases on those that are silent, restarted or back."""

    def __init__(self, collection: Collection, reachable: Reachable) -> None:
        self._collection = collection
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the index."""
        await self._collection.create_index([("swept", 1), ("heard_at", 1)])

    async def record_beats(self, beats: Iterable[GatewayBeat], now: datetime) -> None:
        """Store beats; a gateway that restarted since its last beat is marked as restarted."""
        writes = [
            UpdateOne({"_id": beat.gateway_id}, [{"$set": _beat_stages(beat, now)}], upsert=True)
            for beat in beats
        ]
        if writes:
            await self._collection.bulk_write(writes, ordered=True)

    async def take_silent(self, since: datetime, now: datetime, lease: timedelta) -> str | None:
        """Lease a gateway without a beat since then whose connections are not declared lost yet."""
        with self._reachable.watching():
            found = await self._collection.find_one_and_update(
                {
                    "heard_at": {"$lt": since},
                    "swept": False,
                    "$or": [{"taken_until": None}, {"taken_until": {"$lt": now}}],
                },
                {"$set": {"taken_until": now + lease}},
            )
        return str(found["_id"]) if found else None

    async def take_restarted(self, now: datetime, lease: timedelta) -> tuple[str, datetime] | None:
        """Lease a gateway that restarted; returns its id and when: older connections are gone."""
        with self._reachable.watching():
            found = await self._collection.find_one_and_update(
                {
                    "stale_before": {"$ne": None},
                    "$or": [{"taken_until": None}, {"taken_until": {"$lt": now}}],
                },
                {"$set": {"taken_until": now + lease}},
            )
        return (str(found["_id"]), found["stale_before"]) if found else None

    async def finish_restart(self, gateway_id: str, stale_before: datetime) -> None:
        """Store that its connections from before that time are declared lost."""
        with self._reachable.watching():
            await self._collection.update_one({"_id": gateway_id}, {"$set": {"taken_until": None}})
            await self._collection.update_one(
                {"_id": gateway_id, "stale_before": stale_before}, {"$unset": {"stale_before": 1}}
            )

    async def take_returned(
        self, now: datetime, lease: timedelta
    ) -> tuple[str, datetime | None] | None:
        """Lease a gateway that beats again after its connections were declared lost."""
        with self._reachable.watching():
            found = await self._collection.find_one_and_update(
                {
                    "back": True,
                    "$or": [{"taken_until": None}, {"taken_until": {"$lt": now}}],
                },
                {"$set": {"taken_until": now + lease}},
            )
        return (str(found["_id"]), found.get("started_at")) if found else None

    async def finish_return(self, gateway_id: str) -> None:
        """Store that its connections are published as present again."""
        with self._reachable.watching():
            await self._collection.update_one(
                {"_id": gateway_id}, {"$set": {"taken_until": None, "back": False}}
            )

    async def finish_silence(self, gateway_id: str, since: datetime) -> None:
        """Store that its connections are declared lost, if it is still silent."""
        with self._reachable.watching():
            await self._collection.update_one(
                {"_id": gateway_id, "heard_at": {"$lt": since}},
                {"$set": {"swept": True, "taken_until": None}},
            )


def _beat_stages(beat: GatewayBeat, now: datetime) -> dict[str, Any]:
    """Build the update that stores a beat; values are literals, so names are no expressions."""
    fields: dict[str, Any] = {
        **{name: {"$literal": value} for name, value in to_document(beat).items()},
        "heard_at": now,
        "leaving": beat.leaving,
        "swept": False,
        "back": {"$or": ["$swept", "$back"]},
    }
    if beat.started_at is not None:
        anew = {
            "$and": [
                {"$ne": [{"$type": "$started_at"}, "missing"]},
                {"$lt": ["$started_at", beat.started_at]},
            ]
        }
        fields["stale_before"] = {"$cond": [anew, beat.started_at, "$stale_before"]}
    return fields
