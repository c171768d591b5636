"""The store: reads and writes of agreements and of what was used under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pymongo import ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import CollectionInvalid

from voltbus_agreements.events import build_records
from voltbus_agreements.store import documents
from voltbus_agreements.store.transactions import run_in_transaction
from voltbus_backbone.contract.agreements import AgreementStatus as Status
from voltbus_backbone.mongo.rest_store import find_page
from voltbus_backbone.mongo.store import Reachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_agreements.domain.agreement import Agreement, Change
    from voltbus_agreements.domain.usage import CountedTransaction, UsageUpdate
    from voltbus_agreements.store.lists import Filters
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_backbone.mongo.store import Database
    from voltbus_backbone.rest.conventions import Paging

    Session = AsyncIOMotorClientSession
else:
    Session = Any

T = TypeVar("T")

_RUNNING = [Status.ACTIVE.value, Status.SUSPENDED.value]


class Store:
    """The agreements database. ``source`` is the CloudEvents source of the events it writes."""

    def __init__(self, database: Database, outbox: Outbox, *, source: str) -> None:
        self._database = database
        self._agreements = database["agreements"]
        self._revisions = database["revisions"]
        self._claims = database["claims"]
        self._usage = database["usage"]
        self._sessions = database["sessions"]
        self._outbox = outbox
        self._source = source
        self.reachable = Reachable()

    async def prepare(self) -> None:
        """Create collections and indexes."""
        with self.reachable.watching():
            for name in ("claims", "usage"):  # a transaction must not have to create them
                try:
                    await self._database.create_collection(name)
                except CollectionInvalid:
                    continue
            for fields in (
                [("terms.tokens.ref", 1), ("status", 1)],
                [("status", 1), ("_id", -1)],
                [("status", 1), ("terms.valid_from", 1)],
                [("status", 1), ("terms.valid_to", 1)],
                [("terms.parties.id", 1), ("_id", -1)],
                [("terms.contract_id", 1)],
                [("terms.scope.stations", 1)],
                [("terms.scope.evses", 1)],
                [("terms.scope.locations", 1)],
            ):
                await self._agreements.create_index(fields)
            await self._revisions.create_index([("agreement_id", 1), ("revision", -1)])
            await self._revisions.create_index("agreement.terms.tokens.ref", sparse=True)
            await self._sessions.create_index([("agreement_id", 1), ("_id", -1)])
        await self._outbox.prepare()

    async def close(self) -> None:
        """Close the connections."""
        self._database.client.close()

    # Reads.

    async def get(self, agreement_id: str) -> Agreement | None:
        """Return an agreement as it is now, or None."""
        return (await self.get_many([agreement_id])).get(agreement_id)

    async def get_many(self, ids: Collection[str]) -> dict[str, Agreement]:
        """Return those that exist, by id."""
        with self.reachable.watching():
            cursor = self._agreements.find({"_id": {"$in": list(ids)}})
            return {document["_id"]: documents.to_agreement(document) async for document in cursor}

    async def find(self, filters: Filters, paging: Paging) -> tuple[list[Agreement], bool]:
        """Return a page of agreements; their ids sort by the time of their creation."""
        with self.reachable.watching():
            found, has_more = await find_page(self._agreements, filters.query(), paging, by="_id")
        return [documents.to_agreement(document) for document in found], has_more

    async def history(
        self, agreement_id: str, paging: Paging, *, edge: int | None
    ) -> tuple[list[Change], bool]:
        """Return a page of an agreement's revisions; ``edge`` is the cursor's revision."""
        with self.reachable.watching():
            found, has_more = await find_page(
                self._revisions,
                {"agreement_id": agreement_id},
                paging,
                by="revision",
                edge=edge,
            )
        return [documents.to_change(document) for document in found], has_more

    async def load_usage(self, agreement_id: str) -> tuple[int, int]:
        """Return the energy (Wh) and the number of transactions counted for an agreement."""
        with self.reachable.watching():
            found = await self._usage.find_one({"_id": agreement_id}) or {}
        return int(found.get("energy_wh", 0)), int(found.get("transactions", 0))

    async def sessions(
        self, agreement_id: str, paging: Paging
    ) -> tuple[list[CountedTransaction], bool]:
        """Return a page of the transactions counted for an agreement."""
        with self.reachable.watching():
            found, has_more = await find_page(
                self._sessions,
                {"agreement_id": agreement_id},
                paging,
                by="_id",
            )
        return [documents.to_transaction(document) for document in found], has_more

    async def due(self, now: datetime, *, passing: Collection[str], most: int) -> list[str]:
        """Return ids of agreements that begin or end by now, except those in ``passing``."""
        by_clock = [
            {"status": Status.SCHEDULED.value, "terms.valid_from": {"$lte": now}},
            {"status": {"$in": _RUNNING}, "terms.valid_to": {"$lte": now}},
        ]
        query = {"$or": by_clock, "_id": {"$nin": list(passing)}}
        with self.reachable.watching():
            found = await self._agreements.find(query, {"_id": 1}).limit(most).to_list(most)
        return [document["_id"] for document in found]

    async def next_due(self, now: datetime) -> datetime | None:
        """Return the next time after now at which an agreement begins or ends."""
        times: list[datetime] = []
        with self.reachable.watching():
            for status, name in (([Status.SCHEDULED.value], "valid_from"), (_RUNNING, "valid_to")):
                query = {"status": {"$in": status}, f"terms.{name}": {"$gt": now}}
                first = await self._agreements.find_one(query, sort=[(f"terms.{name}", 1)])
                if first is not None:
                    times.append(first["terms"][name])
        return min(times, default=None)

    # Within a transaction: `handlers.changes` decides, these read and write.

    async def transact(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run ``work`` in a transaction, again after a conflict; then its events are relayed.

        Raises:
            Unavailable: MongoDB is away, or the conflicts did not end.
        """
        result = await run_in_transaction(self._database, self.reachable, work)
        self._outbox.wake()
        return result

    async def load(self, ids: Collection[str], session: Session) -> dict[str, Agreement]:
        """Return those that exist, by id."""
        cursor = self._agreements.find({"_id": {"$in": list(ids)}}, session=session)
        return {document["_id"]: documents.to_agreement(document) async for document in cursor}

    async def find_with_tokens(
        self, refs: Collection[str], session: Session, statuses: Collection[Status] | None = None
    ) -> list[Agreement]:
        """Return the agreements that name any of these tokens, in these states (None: any)."""
        query: dict[str, Any] = {"terms.tokens.ref": {"$in": list(refs)}}
        if statuses is not None:
            query["status"] = {"$in": [status.value for status in statuses]}
        found = await self._agreements.find(query, session=session).to_list(None)
        return [documents.to_agreement(document) for document in found]

    async def claim_tokens(self, refs: Sequence[str], session: Session) -> None:
        """Write a claim of each token: of two transactions that do so, one conflicts."""
        claims: list[Any] = [
            UpdateOne({"_id": ref}, {"$inc": {"claimed": 1}}, upsert=True) for ref in refs
        ]
        await self._claims.bulk_write(claims, session=session)

    async def erase_tokens(self, refs: Collection[str], session: Session) -> None:
        """Remove these tokens from history, and their claims."""
        named = {"$in": list(refs)}
        await self._revisions.update_many(
            {"agreement.terms.tokens.ref": named},
            {"$pull": {"agreement.terms.tokens": {"ref": named}}},
            session=session,
        )
        await self._claims.delete_many({"_id": named}, session=session)

    async def insert(self, change: Change, session: Session) -> None:
        """Store a new agreement, with its line of history and its event."""
        document = documents.from_agreement(change.agreement)
        await self._agreements.insert_one(document, session=session)
        await self._record(change, session)

    async def replace(self, change: Change, session: Session) -> None:
        """Store an agreement's new revision, with its line of history and its event."""
        document = documents.from_agreement(change.agreement)
        await self._agreements.replace_one({"_id": document["_id"]}, document, session=session)
        await self._record(change, session)

    async def delete(self, change: Change, session: Session) -> None:
        """Delete an agreement and its totals; its history stays, with a last line and event."""
        await self._agreements.delete_one({"_id": change.agreement.id}, session=session)
        await self._usage.delete_one({"_id": change.agreement.id}, session=session)
        await self._record(change, session)

    async def _record(self, change: Change, session: Session) -> None:
        await self._revisions.insert_one(documents.from_change(change), session=session)
        await self._outbox.add(build_records(change, source=self._source), session=session)

    async def load_transactions(
        self, refs: Collection[str], session: Session
    ) -> dict[str, CountedTransaction]:
        """Return the transactions counted so far, by ``transaction_ref``."""
        cursor = self._sessions.find({"_id": {"$in": list(refs)}}, session=session)
        return {found["_id"]: documents.to_transaction(found) async for found in cursor}

    async def add_usage(self, counted: UsageUpdate, session: Session) -> None:
        """Store counted transactions, and add what they change to the totals."""
        stored = [documents.from_transaction(found) for found in counted.sessions]
        await self._sessions.bulk_write(
            [ReplaceOne({"_id": found["_id"]}, found, upsert=True) for found in stored],
            ordered=False,
            session=session,
        )
        writes = [
            UpdateOne(
                {"_id": agreement_id},
                {"$inc": {"energy_wh": delta.energy_wh, "transactions": delta.transactions}},
                upsert=True,
            )
            for agreement_id, delta in counted.deltas.items()
        ]
        if writes:
            await self._usage.bulk_write(writes, ordered=False, session=session)

    async def load_totals(self, ids: Sequence[str], session: Session) -> dict[str, int]:
        """Return the energy used (Wh) of those agreements that have any, by id."""
        cursor = self._usage.find({"_id": {"$in": list(ids)}}, session=session)
        return {found["_id"]: int(found["energy_wh"]) async for found in cursor}

    async def hold_usage(self, agreement_id: str, session: Session) -> int:
        """Return the energy used (Wh) and write to it: a batch counted meanwhile conflicts."""
        found = await self._usage.find_one_and_update(
            {"_id": agreement_id},
            {"$inc": {"held": 1}, "$setOnInsert": {"energy_wh": 0, "transactions": 0}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return int(found["energy_wh"])
