"""Transactions of a batch: each message decided, folded into its record, written once, answered."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, TypeGuard

from voltbus_auth.domain import account, ledger
from voltbus_auth.domain.decision import deauthorized, one_too_many
from voltbus_auth.domain.external import still_accepted
from voltbus_auth.domain.intake import clean
from voltbus_auth.domain.ledger import Ledger, era
from voltbus_auth.domain.patience import Patience, Try, is_live, may_be_key_code
from voltbus_auth.domain.record import (
    Presented,
    is_closed_to,
    is_ending,
    open_record,
    start_ref,
    wire_key,
)
from voltbus_auth.domain.registers import falls
from voltbus_auth.domain.tokens import NO_AUTHORIZATION
from voltbus_auth.domain.verdict import Question, Rule
from voltbus_auth.handlers.jobs import Job, decided, reserve, sample_sets
from voltbus_auth.handlers.knowledge import Knowledge, evse_of, judged_at
from voltbus_backbone import envelope
from voltbus_backbone.contract.auth import Phase, TransactionAnswer, TransactionMessage
from voltbus_backbone.contract.registry import (
    EXTERNAL_TRANSACTION,
    TRANSACTION_ANSWER,
    TRANSACTION_CORRECTED,
    TRANSACTION_ENDED,
    TRANSACTION_STARTED,
    TRANSACTION_UPDATED,
)
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol
from voltbus_backbone.errors import VoltbusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.domain.identifiers import TokenKey
    from voltbus_auth.domain.record import Record
    from voltbus_auth.domain.verdict import Verdict
    from voltbus_auth.handlers.knowledge import Library
    from voltbus_auth.handlers.ports import Books, Journal, Occupancy
    from voltbus_backbone.envelope import Event

_ROWS = {
    ledger.STARTED: TRANSACTION_STARTED,
    ledger.UPDATED: TRANSACTION_UPDATED,
    ledger.ENDED: TRANSACTION_ENDED,
    ledger.CORRECTED: TRANSACTION_CORRECTED,
}
_TRIES = 8
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
    ) -> None:
        """Set up. ``kept``: how long ended transactions are remembered; 0 is for ever."""
        self.patience = Patience()
        self._books = books
        self._occupancy = occupancy
        self._journal = journal
        self._library = library
        self._key = key
        self._source = source
        self._now = now
        self._kept = kept

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
            self._slow_down(jobs, found, records)
        if self._library.policy.external:
            jobs = self._here(jobs, found, records)
        for _ in range(_TRIES):
            lost = await self._attempt(jobs, found, records, opens=opens)
            if not lost:
                return
            jobs = [job for job in jobs if job.entry is not None and job.entry.record.ref in lost]
            records = await self._load(jobs)
        raise ContendedError("other replicas keep changing the same transactions")

    def tell(self, jobs: Sequence[Job]) -> list[envelope.Record]:
        """The events of what changed, with ids that a redelivery makes again."""
        now = self._now()
        records = []
        for job in jobs:
            entry = job.entry
            if entry is None or entry.event is None:
                continue
            message = job.message
            records.append(
                envelope.event(
                    _ROWS[entry.event],
                    account.snapshot(entry.record, at=message.at, samples=message.samples),
                    id=f"{entry.record.ref}:{entry.revision}",
                    source=self._source,
                    now=now,
                    traceparent=job.event.traceparent,
                )
            )
        return records

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
        return await self._books.records(refs, keys)

    def _here(self, jobs: Sequence[Job], knowledge: Knowledge, records: list[Record]) -> list[Job]:
        """The jobs that can be decided; the others are marked as for elsewhere."""
        pages = Ledger.of(records)
        now = self._now()
        for job in jobs:
            self._decide(job, _begun(job, pages), knowledge, now)
            job.elsewhere = job.verdict is not None and job.verdict.elsewhere
            job.verdict = None
        return [job for job in jobs if not job.elsewhere]

    def _slow_down(self, jobs: Sequence[Job], knowledge: Knowledge, records: list[Record]) -> None:
        """Count wrong key codes and refuse those that must wait: once, as deciding is done again.

        Whoever charges already does not suffer from who tries now.
        """
        now, pages = self._now(), None
        for job in jobs:
            shown, ref = job.message.id_token, job.presented_ref
            if shown is None or ref is None:
                continue
            token = knowledge.tokens.get(ref)
            if not may_be_key_code(shown.type, token) or not is_live(job.message, now):
                continue
            pages = pages or Ledger.of(records)
            record = _begun(job, pages)
            self._decide(job, record, knowledge, now)
            known = record.token if record is not None else None
            if job.verdict is None or _was_accepted(known, knowledge.token_ref(ref)):
                continue
            tried = Try(job.message.station_id, shown.type, ref)
            verdict = self.patience.judge(tried, token, job.verdict, now)
            job.slowed = verdict if verdict is not job.verdict else None

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
        await self._look_back(jobs, pages)
        return await self._books.write(pages.changed(), pages.loaded)

    async def _look_back(self, jobs: Sequence[Job], pages: Ledger) -> None:
        """Once a transaction has ended, see whether its register ever went backwards.

        One reading more tells it only beside all others, in whatever order they came.
        """
        flag = "register_backwards"
        ended = {
            record.ref
            for record in pages.changed()
            if record.stop is not None and record.first is not None and flag not in record.flags
        }
        if not ended:
            return
        kept = await self._books.samples(ended)
        falling = {ref for ref, samples in kept.items() if falls(samples)}
        for ref in falling:
            pages.doubt(ref, flag)
        for job in jobs:
            entry = job.entry
            if entry is None or entry.record.ref not in falling or entry.record.stop is None:
                continue
            last = pages.by_ref[entry.record.ref]
            if entry.event is None and entry.revision == last.revision:
                job.entry = pages.correct(last.ref)
            else:
                job.entry = ledger.doubted(entry, flag)

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
            record = _begun(job, pages)
            if record is None and not opens:
                job.entry = None
                continue
            if record is None and job.ref is not None:
                record = open_record(message, ref=job.ref, wire_id=str(wire_ids[job.ref]))
            presented = self._decide(job, record, knowledge, now)
            holds: tuple[str, ...] = ()
            if job.starting and job.verdict is not None and _accepts(job.verdict):
                holds = tuple(limit.key for limit in job.verdict.limits)
            job.entry = pages.enter(
                message, presented, _cause(job.event), record=record, holds=holds
            )
            if job.verdict is not None and job.verdict.rule is Rule.SILENCE:
                pages.doubt(job.entry.record.ref, _UNCONFIRMED)
                job.entry = ledger.doubted(job.entry, _UNCONFIRMED)
        return pages

    def _decide(
        self, job: Job, record: Record | None, knowledge: Knowledge, now: datetime
    ) -> Presented | None:
        """Judge the presented token; every one is (C12.FR.03, E01.FR.11, 1.6 §4.8)."""
        message, presented_ref = job.message, job.presented_ref
        if presented_ref is None or message.id_token is None:
            return None
        job.token_ref = token_ref = knowledge.token_ref(presented_ref)
        known = record.token if record is not None else None
        job.starting = (known is None or known.status is not AuthorizationStatus.ACCEPTED) and (
            record is None or record.stop is None
        )
        ending = is_ending(message)
        if ending and known is not None:
            job.starting = False
        question = Question(
            type=message.id_token.type,
            at=judged_at(message, now),
            evse_id=evse_of(message.protocol, message.evse_id, message.connector_id),
            starting=job.starting,
            of_transaction=True,
        )
        job.verdict = verdict = knowledge.verdict(
            presented_ref, message.station_id, question, full=job.denied
        )
        if verdict.elsewhere and _was_accepted(known, token_ref):
            job.verdict = verdict = still_accepted(known.agreement_id, question)
        if job.slowed is not None:
            job.verdict = verdict = job.slowed
        if message.id_token.type == NO_AUTHORIZATION:
            return None
        if known is not None and _was_one_too_many(known, token_ref):
            # Refused when it began: asking again does not make room.
            job.verdict = verdict = one_too_many(known.agreement_id)
            job.starting = False
        if record is not None and is_closed_to(record, token_ref, message.at):
            job.verdict = verdict = deauthorized(verdict)
            job.starting = False
        return Presented(
            at=message.at,
            seq_no=message.seq_no if message.seq_no is not None else -1,
            token_ref=token_ref,
            status=verdict.decision.status,
            agreement_id=verdict.agreement_id,
            authorization_reference=verdict.authorization_reference,
            ending=ending,
        )

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


def _begun(job: Job, pages: Ledger) -> Record | None:
    return pages.by_ref.get(job.ref) if job.ref is not None else pages.find(job.message)


def _transaction_id(job: Job) -> int | None:
    if job.ref is None or job.entry is None:
        return None
    return int(job.entry.record.wire_id)


def _cause(event: Event) -> str:
    return f"{event.topic}:{event.partition}:{event.offset}"


async def _at_once(knowledge: Knowledge) -> Knowledge:
    return knowledge


def _accepts(verdict: Verdict) -> bool:
    return verdict.decision.status is AuthorizationStatus.ACCEPTED


def _was_accepted(known: Presented | None, token_ref: str) -> TypeGuard[Presented]:
    return (
        known is not None
        and known.status is AuthorizationStatus.ACCEPTED
        and known.token_ref == token_ref
    )


def _was_one_too_many(known: Presented, token_ref: str) -> bool:
    return known.status is AuthorizationStatus.CONCURRENT_TX and known.token_ref == token_ref
