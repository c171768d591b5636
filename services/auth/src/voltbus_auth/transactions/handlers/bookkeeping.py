"""Transactions of a batch: each message decided, folded into its record, written once, answered."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.decisions.domain.verdict import Rule
from voltbus_auth.transactions.domain import ledger
from voltbus_auth.transactions.domain.account import has_readings
from voltbus_auth.transactions.domain.intake import clean
from voltbus_auth.transactions.domain.ledger import Ledger, era
from voltbus_auth.transactions.domain.record import open_record, start_ref, wire_key
from voltbus_auth.transactions.domain.review import PLAUSIBLE_W, review
from voltbus_auth.transactions.domain.superseding import is_over, is_superseded
from voltbus_auth.transactions.handlers.jobs import (
    Job,
    arrival,
    cause_of,
    decided,
    mark_replaced,
    reserve,
    sample_sets,
)
from voltbus_auth.transactions.handlers.telling import changed_event
from voltbus_auth.transactions.handlers.token_judge import TokenJudge, find_record
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.auth import Phase, TransactionAnswer, TransactionMessage
from voltbus_backbone.contract.registry import (
    EXTERNAL_TRANSACTION,
    TRANSACTION_ANSWER,
)
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol
from voltbus_backbone.errors import VoltbusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Verdict
    from voltbus_auth.decisions.handlers.knowledge import Knowledge, Library
    from voltbus_auth.decisions.handlers.ports import Journal, Occupancy
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_auth.transactions.domain.ledger import Entry
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.handlers.ports import Books
    from voltbus_backbone.bus.envelope import Event

TRIES = 8
# A doubt: nobody who knows the token said anything of it in time.
_UNCONFIRMED = "unconfirmed_token"


class ContendedError(VoltbusError):
    """A record was never ours to write: to the dead letters with it, the partition goes on."""


class Bookkeeping:
    """Handles the transaction messages of a batch.

    ``patience`` counts the key codes that were tried in them, and in Authorize too.
    """

    def __init__(
        self,
        *,
        books: Books,
        occupancy: Occupancy,
        journal: Journal,
        library: Library,
        key: TokenKey,
        source: str,
        now: Callable[[], datetime],
        kept: timedelta = timedelta(),
        most_w: float = PLAUSIBLE_W,
    ) -> None:
        """Set up.

        ``kept``: how long ended transactions are remembered; 0 is for ever. ``most_w``: more power
        than this between two readings is doubted.
        """
        self._judge = TokenJudge()
        self.patience = self._judge.patience
        self._books = books
        self._occupancy = occupancy
        self._journal = journal
        self._library = library
        self._key = key
        self._source = source
        self._now = now
        self._kept = kept
        self._most_w = most_w

    async def handle(
        self, events: Sequence[Event], *, knowledge: Knowledge | None = None
    ) -> list[envelope.Record]:
        """The answers and the events of a batch of transaction messages.

        ``knowledge``: what was heard of their tokens elsewhere. Without it those that another
        system must be asked about are passed on, not recorded yet.
        """
        jobs = [self._job(event, event.message) for event in events]
        await self.record(jobs, knowledge=knowledge)
        now = self._now()
        records = [self._reply(job, now) for job in jobs]
        records.extend(self.tell(jobs))
        self._journal.note(decided(jobs))
        return [record for record in records if record is not None]

    async def record(
        self, jobs: Sequence[Job], *, opens: bool = True, knowledge: Knowledge | None = None
    ) -> None:
        """Decide and store; afterwards each job has its entry and verdict, or is for elsewhere.

        ``opens`` false: a message that belongs to no record is passed over.
        """
        found, records = await asyncio.gather(
            self._known(jobs) if knowledge is None else _at_once(knowledge), self._load(jobs)
        )
        if knowledge is None:
            self._judge.slow_down(jobs, found, records, self._now())
        if self._library.policy.external:
            jobs = self._judge.decidable(jobs, found, records, self._now())
        for _ in range(TRIES):
            lost = await self._attempt(jobs, found, records, opens=opens)
            if not lost:
                return
            jobs = [job for job in jobs if any(one.record.ref in lost for one in job.entries)]
            records = await self._load(jobs)
        raise ContendedError("other replicas keep changing the same transactions")

    def tell(self, jobs: Sequence[Job]) -> list[envelope.Record]:
        """The events of what changed, with ids that a redelivery makes again."""
        now = self._now()
        told = [
            changed_event(
                entry,
                source=self._source,
                now=now,
                at=job.message.at if entry is job.entry else None,
                samples=job.message.samples if entry is job.entry else (),
                traceparent=job.event.traceparent,
            )
            for job in jobs
            for entry in job.entries
        ]
        return [record for record in told if record is not None]

    def _job(self, event: Event, message: TransactionMessage) -> Job:
        message = clean(message)
        token = message.id_token
        presented_ref = self._key.presented(token) if token is not None else None
        job = Job(event, message, presented_ref)
        if _is_16_start(message):
            job.ref = start_ref(message, presented_ref or "")
            other = self._key.presented_otherwise(token) if token is not None else None
            job.other_ref = start_ref(message, other) if other is not None else None
        return job

    async def _known(self, jobs: Sequence[Job]) -> Knowledge:
        presented = {job.presented_ref for job in jobs if job.presented_ref is not None}
        tokens = (job.message.id_token for job in jobs)
        return await self._library.load(
            presented,
            {job.message.station_id for job in jobs},
            self._key.contracts(token for token in tokens if token is not None),
        )

    async def _load(self, jobs: Sequence[Job]) -> list[Record]:
        refs = {ref for job in jobs for ref in (job.ref, job.other_ref) if ref is not None}
        keys = {
            wire_key(job.message.station_id, job.message.transaction_id or "")
            for job in jobs
            if job.ref is None
        }
        # What is open where a transaction begins: it may be shown to be over.
        begins = {job.message.station_id for job in jobs if job.message.phase is Phase.STARTED}
        return await self._books.records(refs, keys, begins)

    async def _attempt(
        self, jobs: Sequence[Job], knowledge: Knowledge, records: list[Record], *, opens: bool
    ) -> set[str]:
        """Decide, reserve, write; the references of records that someone else changed meanwhile."""
        known = {record.ref for record in records}
        for job in jobs:
            if job.other_ref in known:
                job.ref = job.other_ref  # it began under the other token key
        fresh = {job.ref for job in jobs if job.ref is not None and job.ref not in known}
        ids = await self._books.take_ids(len(fresh)) if fresh else []
        wire_ids = dict(zip(sorted(fresh), ids, strict=True))
        pages = self._enter(jobs, knowledge, records, wire_ids, opens=opens)
        while await reserve(jobs, self._occupancy):
            pages = self._enter(jobs, knowledge, records, wire_ids, opens=opens)
        # Before the record: whoever changes that at the same time begins again, and sees them.
        samples = sample_sets(jobs)
        if samples:
            await self._books.keep_samples(samples)
        await self._review(jobs, pages)
        return await self._books.write(pages.changed(), pages.loaded)

    async def _review(self, jobs: Sequence[Job], pages: Ledger) -> None:
        """Judge all readings of what has ended, as one more tells something only beside the others.

        Done again with each change after the end, in whatever order the readings came.
        """
        ended = [record for record in pages.changed() if record.ended]
        measured = {record.ref for record in ended if has_readings(record)}
        kept = await self._books.samples(measured) if measured else {}
        for record in ended:
            found = review(record, kept.get(record.ref, ()), self._most_w)
            if found == record.judged:
                continue
            pages.judge(record.ref, found)
            for job in jobs:
                if job.entry is not None and job.entry.record.ref == record.ref:
                    job.entry = _with_doubts(job.entry, pages, found)

    def _enter(
        self,
        jobs: Sequence[Job],
        knowledge: Knowledge,
        records: list[Record],
        wire_ids: dict[str, int],
        *,
        opens: bool,
    ) -> Ledger:
        """Fold every message in, in order. Pure: may be done again from the same records."""
        now = self._now()
        pages = Ledger.of(records, now_s=int(now.timestamp()), era=era(now, self._kept))
        for job in jobs:
            message = job.message
            job.marks = []
            record = find_record(job, pages)
            if record is None and not opens:
                job.entry = None
                continue
            superseded = record is not None and is_superseded(record)
            if record is None and job.ref is not None:
                record = open_record(message, ref=job.ref, wire_id=str(wire_ids[job.ref]))
            presented = self._judge.decide(job, record, knowledge, now)
            holds: tuple[str, ...] = ()
            if job.starting and job.verdict is not None and _accepts(job.verdict):
                holds = tuple(limit.key for limit in job.verdict.limits)
            job.entry = pages.enter(
                message,
                presented,
                cause_of(job.event),
                record=record,
                holds=holds,
                arrived=arrival(job.event),
            )
            job.revived = superseded and not is_over(job.entry.record)
            if job.verdict is not None and job.verdict.rule is Rule.SILENCE:
                pages.doubt(job.entry.record.ref, _UNCONFIRMED)
                job.entry = ledger.doubted(job.entry, _UNCONFIRMED)
            if message.phase is Phase.STARTED:
                mark_replaced(job, pages, now)
        return pages

    def _reply(self, job: Job, now: datetime) -> envelope.Record | None:
        if job.elsewhere:
            return envelope.forward(job.event, EXTERNAL_TRANSACTION, source=self._source, now=now)
        if job.event.asking is None:
            return None
        answer = TransactionAnswer(
            transaction_id=_transaction_id(job),
            decision=job.verdict.decision if job.verdict is not None else None,
        )
        return envelope.reply(job.event, TRANSACTION_ANSWER, answer, source=self._source, now=now)


def _is_16_start(message: TransactionMessage) -> bool:
    return message.protocol is Protocol.OCPP16 and message.phase is Phase.STARTED


def _transaction_id(job: Job) -> int | None:
    if job.ref is None or job.entry is None:
        return None
    return int(job.entry.record.wire_id)


def _with_doubts(entry: Entry, pages: Ledger, found: frozenset[str]) -> Entry:
    """What a job came to, with the doubts; told where it would have gone without an event."""
    if not entry.record.ended:
        return entry
    if entry.event is None and entry.revision == pages.by_ref[entry.record.ref].revision:
        return pages.correct(entry.record.ref)
    return ledger.with_judgement(entry, found)


async def _at_once(knowledge: Knowledge) -> Knowledge:
    return knowledge


def _accepts(verdict: Verdict) -> bool:
    return verdict.decision.status is AuthorizationStatus.ACCEPTED
