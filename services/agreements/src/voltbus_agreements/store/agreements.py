"""The store: every read and every change of agreements and of what was used under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import CollectionInvalid

from voltbus_agreements.domain import lifecycle, overlap, usage
from voltbus_agreements.domain.agreement import LIVE, EventKind
from voltbus_agreements.domain.refusals import Overlapping
from voltbus_agreements.events import build_records
from voltbus_agreements.store import documents
from voltbus_agreements.store.transactions import run_in_transaction
from voltbus_backbone.contract.agreements import AgreementStatus as Status
from voltbus_backbone.mongo.rest_store import find_page
from voltbus_backbone.mongo.store import Reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_agreements.domain.agreement import Agreement, Change
    from voltbus_agreements.domain.usage import CountedTransaction
    from voltbus_agreements.store.lists import Filters
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_backbone.mongo.store import Database
    from voltbus_backbone.rest.conventions import Paging

# Decides on the stored agreement and the energy used under it (Wh). None: nothing to change.
Decide = "Callable[[Agreement, int], Change | None]"

_LIVE = [status.value for status in LIVE]
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
        """Let go of the connections."""
        self._database.client.close()

    # Reads.

    async def get(self, agreement_id: str) -> Agreement | None:
        """An agreement as it is now."""
        return (await self.get_many([agreement_id])).get(agreement_id)

    async def get_many(self, ids: Collection[str]) -> dict[str, Agreement]:
        """Those that exist, by id."""
        with self.reachable.watching():
            cursor = self._agreements.find({"_id": {"$in": list(ids)}})
            return {document["_id"]: documents.to_agreement(document) async for document in cursor}

    async def find(self, filters: Filters, paging: Paging) -> tuple[list[Agreement], bool]:
        """A page of agreements; their ids sort by the time of their making."""
        with self.reachable.watching():
            found, has_more = await find_page(self._agreements, filters.query(), paging, by="_id")
        return [documents.to_agreement(document) for document in found], has_more

    async def history(
        self, agreement_id: str, paging: Paging, *, edge: int | None
    ) -> tuple[list[Change], bool]:
        """A page of an agreement's revisions; ``edge`` is the cursor's revision."""
        with self.reachable.watching():
            found, has_more = await find_page(
                self._revisions,
                {"agreement_id": agreement_id},
                paging,
                by="revision",
                edge=edge,
            )
        return [documents.to_change(document) for document in found], has_more

    async def used(self, agreement_id: str) -> tuple[int, int]:
        """Energy in Wh and number of transactions counted for an agreement."""
        with self.reachable.watching():
            found = await self._usage.find_one({"_id": agreement_id}) or {}
        return int(found.get("energy_wh", 0)), int(found.get("transactions", 0))

    async def sessions(
        self, agreement_id: str, paging: Paging
    ) -> tuple[list[CountedTransaction], bool]:
        """A page of the transactions counted for an agreement."""
        with self.reachable.watching():
            found, has_more = await find_page(
                self._sessions,
                {"agreement_id": agreement_id},
                paging,
                by="_id",
            )
        return [documents.to_transaction(document) for document in found], has_more

    async def due(self, now: datetime, *, passing: Collection[str], most: int) -> list[str]:
        """Ids of agreements that begin or end by now, without those that are passed over."""
        by_clock = [
            {"status": Status.SCHEDULED.value, "terms.valid_from": {"$lte": now}},
            {"status": {"$in": _RUNNING}, "terms.valid_to": {"$lte": now}},
        ]
        query = {"$or": by_clock, "_id": {"$nin": list(passing)}}
        with self.reachable.watching():
            found = await self._agreements.find(query, {"_id": 1}).limit(most).to_list(most)
        return [document["_id"] for document in found]

    async def next_due(self, now: datetime) -> datetime | None:
        """The next time after now at which an agreement begins or ends."""
        times: list[datetime] = []
        with self.reachable.watching():
            for status, name in (([Status.SCHEDULED.value], "valid_from"), (_RUNNING, "valid_to")):
                query = {"status": {"$in": status}, f"terms.{name}": {"$gt": now}}
                first = await self._agreements.find_one(query, sort=[(f"terms.{name}", 1)])
                if first is not None:
                    times.append(first["terms"][name])
        return min(times, default=None)

    # Changes.

    async def create(self, change: Change) -> None:
        """Store a new agreement."""

        async def work(session: AsyncIOMotorClientSession) -> None:
            await self._write(change, None, session)

        await run_in_transaction(self._database, self.reachable, work)
        self._outbox.wake()

    async def change(
        self, agreement_id: str, decide: Callable[[Agreement, int], Change | None]
    ) -> Agreement | None:
        """Decide on the stored agreement and store the outcome; None when there is no such id.

        ``decide`` gets the agreement and the Wh used under it, and runs again when another writer
        was faster. What it raises leaves everything as it was.

        Raises:
            Overlapping: a token has another agreement for the same time and place.
        """

        async def work(session: AsyncIOMotorClientSession) -> Agreement | None:
            document = await self._agreements.find_one({"_id": agreement_id}, session=session)
            if document is None:
                return None
            agreement = documents.to_agreement(document)
            change = decide(agreement, await self._hold_usage(agreement_id, session))
            if change is None:
                return agreement
            await self._write(change, agreement, session)
            return change.agreement

        result = await run_in_transaction(self._database, self.reachable, work)
        self._outbox.wake()
        return result

    async def count(self, arrivals: Sequence[CountedTransaction], *, now: datetime) -> None:
        """Count transactions, each once, and mark agreements whose cap they use up."""

        async def work(session: AsyncIOMotorClientSession) -> None:
            refs = list({arrival.transaction_ref for arrival in arrivals})
            cursor = self._sessions.find({"_id": {"$in": refs}}, session=session)
            known = {found["_id"]: documents.to_transaction(found) async for found in cursor}
            counted = usage.count_transactions(known, arrivals)
            if counted.sessions:
                await self._add_up(counted, session)
                await self._settle(list(counted.deltas), now, session)

        await run_in_transaction(self._database, self.reachable, work)
        self._outbox.wake()

    async def forget_tokens(self, refs: Collection[str], *, now: datetime) -> None:
        """Take these tokens out of every agreement and out of all history; twice is as once.

        History keeps that a revision had other tokens, not which: it shows that the agreement
        changed, when, and why (``token_erased``).
        """
        named = {"$in": list(refs)}

        async def work(session: AsyncIOMotorClientSession) -> None:
            query = {"terms.tokens.ref": named}
            found = await self._agreements.find(query, session=session).to_list(None)
            for document in found:
                change = lifecycle.forget_tokens(documents.to_agreement(document), refs, now=now)
                if change is not None:
                    await self._replace(change, session)
            await self._revisions.update_many(
                {"agreement.terms.tokens.ref": named},
                {"$pull": {"agreement.terms.tokens": {"ref": named}}},
                session=session,
            )
            await self._claims.delete_many({"_id": named}, session=session)

        await run_in_transaction(self._database, self.reachable, work)
        self._outbox.wake()

    async def _add_up(self, counted: usage.UsageUpdate, session: AsyncIOMotorClientSession) -> None:
        stored = [documents.from_transaction(found) for found in counted.sessions]
        await self._sessions.bulk_write(
            [ReplaceOne({"_id": found["_id"]}, found, upsert=True) for found in stored],
            ordered=False,
            session=session,
        )
        if counted.deltas:
            await self._usage.bulk_write(
                [
                    UpdateOne(
                        {"_id": agreement_id},
                        {
                            "$inc": {
                                "energy_wh": delta.energy_wh,
                                "transactions": delta.transactions,
                            }
                        },
                        upsert=True,
                    )
                    for agreement_id, delta in counted.deltas.items()
                ],
                ordered=False,
                session=session,
            )

    async def _settle(
        self, ids: list[str], now: datetime, session: AsyncIOMotorClientSession
    ) -> None:
        totals = {
            found["_id"]: int(found["energy_wh"])
            async for found in self._usage.find({"_id": {"$in": ids}}, session=session)
        }
        found = await self._agreements.find({"_id": {"$in": ids}}, session=session).to_list(None)
        for document in found:
            agreement = documents.to_agreement(document)
            change = lifecycle.update_exhausted(agreement, used_wh=totals[agreement.id], now=now)
            if change is not None:
                await self._write(change, agreement, session)

    async def _hold_usage(self, agreement_id: str, session: AsyncIOMotorClientSession) -> int:
        """The Wh used, held still: a batch that counts at the same time conflicts with us."""
        found = await self._usage.find_one_and_update(
            {"_id": agreement_id},
            {"$inc": {"held": 1}, "$setOnInsert": {"energy_wh": 0, "transactions": 0}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return int(found["energy_wh"])

    async def _write(
        self, change: Change, before: Agreement | None, session: AsyncIOMotorClientSession
    ) -> None:
        agreement = change.agreement
        if agreement.status in LIVE and (
            before is None or before.status not in LIVE or before.terms != agreement.terms
        ):
            await self._claim(agreement, session)
        if before is None:
            await self._agreements.insert_one(documents.from_agreement(agreement), session=session)
        elif change.event is EventKind.DELETED:
            await self._agreements.delete_one({"_id": agreement.id}, session=session)
            await self._usage.delete_one({"_id": agreement.id}, session=session)
        else:
            await self._replace(change, session)
            return
        await self._tell(change, session)

    async def _replace(self, change: Change, session: AsyncIOMotorClientSession) -> None:
        document = documents.from_agreement(change.agreement)
        await self._agreements.replace_one({"_id": document["_id"]}, document, session=session)
        await self._tell(change, session)

    async def _tell(self, change: Change, session: AsyncIOMotorClientSession) -> None:
        await self._revisions.insert_one(documents.from_change(change), session=session)
        await self._outbox.add(build_records(change, source=self._source), session=session)

    async def _claim(self, agreement: Agreement, session: AsyncIOMotorClientSession) -> None:
        """Be the only one who decides about these tokens now, and find no rival for them."""
        refs = sorted(token.ref for token in agreement.terms.tokens)
        if not refs:
            return
        claims: list[Any] = [
            UpdateOne({"_id": ref}, {"$inc": {"claimed": 1}}, upsert=True) for ref in refs
        ]
        await self._claims.bulk_write(claims, session=session)
        query = {"terms.tokens.ref": {"$in": refs}, "status": {"$in": _LIVE}}
        found = await self._agreements.find(query, session=session).to_list(None)
        rival = overlap.find_rival(
            agreement, [documents.to_agreement(document) for document in found]
        )
        if rival is not None:
            raise Overlapping(rival.id)
