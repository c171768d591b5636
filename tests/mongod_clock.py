"""MongoDB goes by a clock of its own, which no test can move: what tests do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bson.timestamp import Timestamp
from pymongo import AsyncMongoClient

if TYPE_CHECKING:
    from voltbus_backbone.mongo.store import Collection


async def forget_by_itself(uri: str, *, on: bool) -> None:
    """Whether the server looks every second for documents whose time is over, or never."""
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(uri)
    async with client:
        for name, value in (("ttlMonitorSleepSecs", 1), ("ttlMonitorEnabled", on)):
            await client.admin.command({"setParameter": 1, name: value})


async def place_earlier(outbox: Collection, seconds: int) -> None:
    """Let what waits in an outbox have waited so much longer."""
    async for found in outbox.find({}, {"placed": 1}):
        earlier = Timestamp(found["placed"].time - seconds, found["placed"].inc)
        await outbox.update_one({"_id": found["_id"]}, {"$set": {"placed": earlier}})
