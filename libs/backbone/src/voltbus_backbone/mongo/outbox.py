"""Events that commit together with the state they tell of.

A change and its records are written in one MongoDB transaction; a relay publishes them afterwards,
in the order of each key, and removes them once Kafka has them. A process that dies in between
leaves its records to the next relay. A record may so be published twice under one ``ce_id``.

The order is MongoDB's own: it sets ``placed`` when a record is written, each time higher than ever
before, whatever the clocks of the replicas say. Two changes of one thing are never in transactions
at the same time, so theirs is the order of their records. How old a record is, and so whether its
process is taken for dead, is told by MongoDB's clock too.

A record that Kafka will never store becomes a dead letter and leaves too: the others go on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from bson.timestamp import Timestamp

from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.refusals import deliver
from voltbus_backbone.lookout import Lookout
from voltbus_backbone.mongo.store import translating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.contract.registry import Topic
    from voltbus_backbone.mongo.store import Collection

_ADOPT_AFTER = timedelta(seconds=5)
_LOOK_EVERY_S = 1.0
_MOST = 1000
_PORTION = 100
_MOST_BYTES = 8 * 1024 * 1024  # of bodies in memory at once, and a portion's more
_SET_BY_SERVER = Timestamp(0, 0)


class Outbox:
    """The outgoing records of one service, shared by its replicas."""

    def __init__(
        self,
        collection: Collection,
        publisher: Publishing,
        instance_id: str,
        dead_letters: Topic,
    ) -> None:
        self._collection = collection
        self._publisher = publisher
        self._owner = instance_id
        self._dead_letters = dead_letters
        self._lookout = Lookout("outbox", self.relay, every_s=_LOOK_EVERY_S)

    async def prepare(self) -> None:
        """Create the indexes."""
        with translating():
            await self._collection.create_index([("topic", 1), ("key", 1), ("placed", 1)])
            await self._collection.create_index([("owner", 1), ("placed", 1)])
            await self._collection.create_index("placed")

    async def add(
        self, records: Sequence[Record], *, session: AsyncIOMotorClientSession | None = None
    ) -> None:
        """Write records beside the change that caused them (same session: same transaction)."""
        if not records:
            return
        documents = [
            {
                "_id": ObjectId(),
                "placed": _SET_BY_SERVER,
                "owner": self._owner,
                "topic": record.topic,
                "key": record.key,
                "partition": record.partition,
                "value": record.value,
                "headers": [[name, value] for name, value in record.headers],
            }
            for record in records
        ]
        with translating():
            await self._collection.insert_many(documents, session=session)

    def wake(self) -> None:
        """Call after the commit: the relay looks at once."""
        self._lookout.wake()

    async def run(self) -> None:
        """Relay for the life of the process."""
        await self._lookout.run()

    async def relay(self) -> int:
        """Publish what is due once; returns how many records left the collection."""
        with translating():
            due = await self._due()
            if not due:
                return 0
            records = [_record(document) for document in due]
            await deliver(self._publisher, records, self._dead_letters, datetime.now(UTC))
            await self._collection.delete_many(
                {"_id": {"$in": [document["_id"] for document in due]}}
            )
        return len(due)

    async def _due(self) -> list[dict[str, Any]]:
        """Ours and the orphaned, each only when nothing older of its key is left to another."""
        now = (await self._collection.database.command("hello"))["localTime"]
        long_ago = Timestamp(ceil((now - _ADOPT_AFTER).timestamp()), 0)
        # Each branch is read along its index: a long backlog costs no more than a short one.
        query = {"$or": [{"owner": self._owner}, {"placed": {"$lt": long_ago}}]}
        found: list[dict[str, Any]] = []
        cursor = self._collection.find(query).sort("placed", 1).limit(_MOST)
        size = 0
        while size < _MOST_BYTES and (portion := await cursor.to_list(_PORTION)):
            found += portion
            size += sum(len(document["value"] or b"") for document in portion)
        if not found:
            return []
        keys: dict[str, set[bytes | None]] = {}
        for document in found:
            keys.setdefault(document["topic"], set()).add(document["key"])
        others = {
            "owner": {"$ne": self._owner},
            "placed": {"$gte": long_ago, "$lt": found[-1]["placed"]},
            "$or": [{"topic": topic, "key": {"$in": list(some)}} for topic, some in keys.items()],
        }
        blocked: dict[tuple[str, bytes | None], Timestamp] = {}
        async for document in self._collection.find(others, {"topic": 1, "key": 1, "placed": 1}):
            name = (document["topic"], document["key"])
            blocked[name] = min(document["placed"], blocked.get(name, document["placed"]))
        return [
            document
            for document in found
            if document["placed"]
            <= blocked.get((document["topic"], document["key"]), document["placed"])
        ]


def _record(document: dict[str, Any]) -> Record:
    key = document["key"]
    value = document["value"]
    return Record(
        document["topic"],
        bytes(key) if key is not None else None,
        bytes(value) if value is not None else None,
        [(name, bytes(content)) for name, content in document["headers"]],
        document["partition"],
    )
