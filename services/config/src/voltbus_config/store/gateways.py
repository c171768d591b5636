"""When each gateway was last heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from voltbus_config.store.shelf import document

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from voltbus_backbone.contract.stations import GatewayBeat
    from voltbus_backbone.mongo.store import Collection, Reachable


class Gateways:
    """The gateways, and which of the silent ones are being dealt with."""

    def __init__(self, collection: Collection, reachable: Reachable) -> None:
        self._collection = collection
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the index."""
        await self._collection.create_index([("swept", 1), ("heard_at", 1)])

    async def heard(self, beats: Iterable[GatewayBeat], now: datetime) -> None:
        """Gateways are alive; one that began anew since it was last heard is marked for it."""
        writes = [
            UpdateOne({"_id": beat.gateway_id}, [{"$set": _heard(beat, now)}], upsert=True)
            for beat in beats
        ]
        if writes:
            await self._collection.bulk_write(writes, ordered=True)

    async def take_silent(self, since: datetime, now: datetime, lease: timedelta) -> str | None:
        """A gateway not heard of since then whose connections nobody else is declaring lost."""
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
        """A gateway that began anew, and when: its connections from before are gone."""
        with self._reachable.watching():
            found = await self._collection.find_one_and_update(
                {
                    "stale_before": {"$ne": None},
                    "$or": [{"taken_until": None}, {"taken_until": {"$lt": now}}],
                },
                {"$set": {"taken_until": now + lease}},
            )
        return (str(found["_id"]), found["stale_before"]) if found else None

    async def renewed(self, gateway_id: str, stale_before: datetime) -> None:
        """Its connections from before that time are declared lost."""
        with self._reachable.watching():
            await self._collection.update_one({"_id": gateway_id}, {"$set": {"taken_until": None}})
            await self._collection.update_one(
                {"_id": gateway_id, "stale_before": stale_before}, {"$unset": {"stale_before": 1}}
            )

    async def take_back(
        self, now: datetime, lease: timedelta
    ) -> tuple[str, datetime | None] | None:
        """A gateway that beats after its connections were declared lost, and when it began."""
        with self._reachable.watching():
            found = await self._collection.find_one_and_update(
                {
                    "back": True,
                    "$or": [{"taken_until": None}, {"taken_until": {"$lt": now}}],
                },
                {"$set": {"taken_until": now + lease}},
            )
        return (str(found["_id"]), found.get("started_at")) if found else None

    async def welcomed(self, gateway_id: str) -> None:
        """Its connections are told to be there after all."""
        with self._reachable.watching():
            await self._collection.update_one(
                {"_id": gateway_id}, {"$set": {"taken_until": None, "back": False}}
            )

    async def swept(self, gateway_id: str, since: datetime) -> None:
        """Its connections are declared lost, if it is still silent."""
        with self._reachable.watching():
            await self._collection.update_one(
                {"_id": gateway_id, "heard_at": {"$lt": since}},
                {"$set": {"swept": True, "taken_until": None}},
            )


def _heard(beat: GatewayBeat, now: datetime) -> dict[str, Any]:
    """The stages that take in a beat; values are literals, whatever a gateway calls itself."""
    fields: dict[str, Any] = {
        **{name: {"$literal": value} for name, value in document(beat).items()},
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
