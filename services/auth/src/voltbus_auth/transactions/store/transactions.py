"""Transactions in MongoDB: records guarded by revision, samples, 1.6 transaction ids."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from pymongo import InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure

from voltbus_auth.transactions.store.documents import record_document, record_of, search_fields
from voltbus_backbone.contract.values import Sample
from voltbus_backbone.mongo.rest_store import find_page
from voltbus_backbone.mongo.store import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.domain.samples import SampleSet
    from voltbus_backbone.bus.envelope import Record as Outgoing
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging

_DUPLICATE = 11000
_WRITE_CONFLICT = 112
ACTIVE = "active"
_LAST_ID = 2**31 - 1
_BLOCK = 500
# A station that counts from "0" after every restart uses one id for ever; late messages find the
# last few of its uses.
_USES_FOUND = 4

# What lists are filtered by, each with an index in the order of lists.
_FILTERS = ("station_id", "token.token_ref", "token.agreement_id", "doubts", "state")
# Indexes of earlier versions that those above stand for.
_REPLACED = {"station_id_1_first_at_-1", "token.token_ref_1_first_at_-1"}
_PORTION = 500

_encode = msgspec.json.encode
_decode_samples = msgspec.json.Decoder(tuple[Sample, ...]).decode


class _OvertakenError(Exception):
    """Another write was first: the transaction is given up."""


class TransactionStore:
    """What `transactions.handlers.ports.Books` asks for, and what REST lists."""

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        outbox: Outbox,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._now = now
        self._transactions = database["transactions"]
        self._samples = database["samples"]
        self._counters = database["counters"]
        self._reachable = reachable
        self._ids: list[int] = []
        self._taking = asyncio.Lock()

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._transactions.create_index("key")
            await self._transactions.create_index([("first_at", -1), ("_id", -1)])
            await self._transactions.create_index(
                "stored_at", partialFilterExpression={"state": "ended"}
            )
            await self._transactions.create_index(
                "station_id", partialFilterExpression={"state": "active"}
            )
            await self._transactions.create_index("superseded_at", sparse=True)
            for name in _FILTERS:
                await self._transactions.create_index([(name, 1), ("first_at", -1), ("_id", -1)])
            await self._transactions.create_index([("ended_at", -1), ("_id", -1)])
            for name in _REPLACED & (await self._transactions.index_information()).keys():
                await self._transactions.drop_index(name)
            await self._samples.create_index([("ref", 1), ("at", 1)])

    async def records(
        self, refs: Collection[str], keys: Collection[str], stations: Collection[str] = ()
    ) -> list[Record]:
        """The transactions with these references, or called this, and what is open at stations."""
        wanted: list[Document] = []
        if refs:
            wanted.append({"_id": {"$in": list(refs)}})
        if keys:
            wanted.append({"key": {"$in": list(keys)}})
        if stations:
            wanted.append({"state": ACTIVE, "station_id": {"$in": list(stations)}})
        if not wanted:
            return []
        query = wanted[0] if len(wanted) == 1 else {"$or": wanted}
        with self._reachable.watching():
            documents = await self._transactions.find(query).to_list(None)
        return [record_of(document) for document in documents]

    async def take_ids(self, count: int) -> list[int]:
        """So many ids, unique in the fleet, taken from the store a block at a time.

        A process that ends leaves the rest of its block unused. After 2^31-1 they begin anew.
        """
        async with self._taking:
            if len(self._ids) < count:
                size = max(_BLOCK, count)
                with self._reachable.watching():
                    counter = await self._counters.find_one_and_update(
                        {"_id": "transaction_id"},
                        {"$inc": {"last": size}},
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                last = counter["last"]
                self._ids.extend(
                    (number - 1) % _LAST_ID + 1 for number in range(last - size + 1, last + 1)
                )
            taken, self._ids = self._ids[:count], self._ids[count:]
        return taken

    async def write(self, records: Sequence[Record], loaded: Mapping[str, int]) -> set[str]:
        """Store each unless it was changed since its loaded revision; those that were."""
        if not records:
            return set()
        steps: list[InsertOne[Document] | ReplaceOne[Document]] = []
        replaced: list[Record] = []
        now = self._now()
        for record in records:
            document = {**record_document(record), "stored_at": now}
            revision = loaded.get(record.ref)
            if revision is None:
                steps.append(InsertOne(document))
            else:
                steps.append(ReplaceOne({"_id": record.ref, "revision": revision}, document))
                replaced.append(record)
        with self._reachable.watching():
            matched, taken = await self._bulk(self._transactions, steps)
            lost = {records[index].ref for index in taken}
            if matched < len(replaced):
                lost |= await self._overtaken(replaced)
            await self._forget_uses([one for one in records if one.generation >= _USES_FOUND])
        return lost

    async def superseded(self, before: datetime, most: int) -> list[Record]:
        """So many at most of those that are superseded since before then and still open."""
        query: Document = {"superseded_at": {"$lte": before}, "state": ACTIVE}
        with self._reachable.watching():
            cursor = self._transactions.find(query).sort("superseded_at", 1).limit(most)
            documents = await cursor.to_list(None)
        return [record_of(document) for document in documents]

    async def close(self, record: Record, loaded: int, told: Sequence[Outgoing]) -> bool:
        """Write a record with its events, unless it was changed since; whether it was written."""
        document = {**record_document(record), "stored_at": self._now()}
        unchanged = {"_id": record.ref, "revision": loaded}
        try:
            with self._reachable.watching():
                async with transaction(self._database) as session:
                    await self._replace(unchanged, document, session)
                    await self._outbox.add(told, session=session)
        except _OvertakenError:
            return False
        self._outbox.wake()
        return True

    async def _replace(
        self, unchanged: Document, document: Document, session: AsyncIOMotorClientSession
    ) -> None:
        """Replace one in a transaction. Raises _OvertakenError: another write was first."""
        try:
            result = await self._transactions.replace_one(unchanged, document, session=session)
        except OperationFailure as error:
            if error.code != _WRITE_CONFLICT:
                raise
            raise _OvertakenError from None
        if not result.matched_count:
            raise _OvertakenError

    async def describe_stored(self) -> int:
        """Give a portion of those stored by earlier versions what lists look for; how many."""
        with self._reachable.watching():
            cursor = self._transactions.find({"doubts": {"$exists": False}}).limit(_PORTION)
            steps = [
                UpdateOne(
                    {"_id": document["_id"], "revision": document["revision"]},
                    {"$set": search_fields(record_of(document))},
                )
                for document in await cursor.to_list(None)
            ]
            if steps:
                await self._transactions.bulk_write(steps, ordered=False)
        return len(steps)

    async def _forget_uses(self, records: Sequence[Record]) -> None:
        """Let the oldest uses of a transaction id no longer be found by it."""
        for record in records:
            oldest = {"$lte": record.generation - _USES_FOUND}
            await self._transactions.update_many(
                {"key": record.key, "generation": oldest}, {"$unset": {"key": ""}}
            )

    async def _overtaken(self, replaced: Sequence[Record]) -> set[str]:
        """Which of these writes did not take place, told by what the stored record remembers."""
        query = {"_id": {"$in": [record.ref for record in replaced]}}
        stored = {
            document["_id"]: {(cause, revision) for cause, revision, *_ in document["recent"]}
            for document in await self._transactions.find(query, {"recent": 1}).to_list(None)
        }
        return {
            record.ref
            for record in replaced
            if (record.recent[-1].cause, record.revision) not in stored.get(record.ref, ())
        }

    async def samples(self, refs: Collection[str]) -> dict[str, list[Sample]]:
        """The samples that were kept of these transactions."""
        found: dict[str, list[Sample]] = {}
        with self._reachable.watching():
            cursor = self._samples.find({"ref": {"$in": list(refs)}}, {"ref": 1, "data": 1})
            documents = await cursor.to_list(None)
        for document in documents:
            found.setdefault(document["ref"], []).extend(_decode_samples(document["data"]))
        return found

    async def keep_samples(self, samples: Sequence[SampleSet]) -> None:
        """Store samples; those that are there already stay as they are."""
        if not samples:
            return
        steps = [
            InsertOne(
                {
                    "_id": one.id,
                    "ref": one.ref,
                    "at": one.at,
                    "data": _encode(one.samples),
                }
            )
            for one in samples
        ]
        with self._reachable.watching():
            await self._bulk(self._samples, steps)

    async def forget_ended(self, before: datetime, most: int) -> int:
        """Delete transactions of which nothing was heard since then, with their samples; how many.

        By our own clock: a station's may be years off, and may send what is months old. Samples go
        first, so that none are left without their transaction should this be cut short.
        """
        query: Document = {"state": "ended", "stored_at": {"$lt": before}}
        with self._reachable.watching():
            found = await self._transactions.find(query, {"_id": 1}).limit(most).to_list(None)
            refs = {"$in": [document["_id"] for document in found]}
            await self._samples.delete_many({"ref": refs})
            # Asked again: what a late message has corrected meanwhile stays.
            result = await self._transactions.delete_many({"_id": refs, **query})
        return result.deleted_count

    @staticmethod
    async def _bulk(collection: Any, steps: Sequence[Any]) -> tuple[int, list[int]]:
        """Unordered; (how many replacements matched, which inserts were there already)."""
        try:
            result = await collection.bulk_write(steps, ordered=False)
        except BulkWriteError as error:
            details: Document = error.details  # type: ignore[assignment]  # a plain dict
            found = details["writeErrors"]
            if any(one["code"] != _DUPLICATE for one in found):
                raise
            return details["nMatched"], [one["index"] for one in found]
        return result.matched_count, []

    async def find(self, ref: str) -> Record | None:
        """One transaction."""
        with self._reachable.watching():
            document = await self._transactions.find_one({"_id": ref})
        return record_of(document) if document is not None else None

    async def samples_of(self, ref: str, most: int) -> list[Sample]:
        """The samples of a transaction by the time of their messages; of ``most`` messages."""
        with self._reachable.watching():
            cursor = self._samples.find({"ref": ref}).sort("at", 1).limit(most)
            documents = await cursor.to_list(None)
        return [sample for document in documents for sample in _decode_samples(document["data"])]

    async def page(self, query: Document, paging: Paging) -> tuple[list[Record], bool]:
        """A page by when they began, and whether there is more in its direction."""
        with self._reachable.watching():
            found, more = await find_page(self._transactions, query, paging, by="first_at")
        return [record_of(document) for document in found], more

    async def all(self, query: Document) -> AsyncIterator[list[Record]]:
        """Everything that matches in portions, the newest first; by its end where that is asked.

        Each portion is read along an index, so that a long export holds no cursor and no memory.
        """
        field = "ended_at" if "ended_at" in query else "first_at"
        wanted = query
        while True:
            with self._reachable.watching():
                cursor = self._transactions.find(wanted).sort([(field, -1), ("_id", -1)])
                documents = await cursor.limit(_PORTION).to_list(None)
            if not documents:
                return
            yield [record_of(document) for document in documents]
            at, ref = documents[-1][field], documents[-1]["_id"]
            later = [{field: {"$lt": at}}, {field: at, "_id": {"$lt": ref}}]
            wanted = {"$and": [query, {"$or": later}]}
