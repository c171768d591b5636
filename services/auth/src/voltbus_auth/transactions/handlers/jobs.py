"""A transaction message on its way, and the places under limits that a batch of them takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from voltbus_auth.decisions.domain.journal import TRANSACTION, Decided
from voltbus_auth.decisions.domain.reservations import Occupy, Release
from voltbus_auth.decisions.domain.verdict import Limit
from voltbus_auth.projections.domain.places import evse_of
from voltbus_auth.transactions.domain.account import doubts
from voltbus_auth.transactions.domain.ledger import UPDATED
from voltbus_auth.transactions.domain.samples import sample_set
from voltbus_auth.transactions.domain.superseding import after_start, is_over, mark, on_one_outlet
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.decisions.domain.verdict import Verdict
    from voltbus_auth.decisions.handlers.ports import Occupancy
    from voltbus_auth.transactions.domain.ledger import Entry, Ledger
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.domain.samples import SampleSet
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.auth import TransactionMessage

_NO_LIMIT = 2**31 - 1


@dataclass(slots=True)
class Job:
    """One message on its way.

    ``ref`` is that of a 1.6 start, ``other_ref`` the same under the other token key, if any.
    ``starting``: its token is the first to be accepted in the transaction, or would be.
    ``denied``: the limits that had no room for it. ``elsewhere``: another system must be asked
    about its token first. ``slowed``: the verdict on a key code whose station must wait.
    ``revived``: it was taken for over, and goes on. ``marks``: other transactions that its start
    showed to be over.
    """

    event: Event
    message: TransactionMessage
    presented_ref: str | None = None
    token_ref: str | None = None
    ref: str | None = None
    other_ref: str | None = None
    denied: set[str] = field(default_factory=set)
    verdict: Verdict | None = None
    entry: Entry | None = None
    starting: bool = False
    elsewhere: bool = False
    slowed: Verdict | None = None
    revived: bool = False
    marks: list[Entry] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        """Everything that it changed, its own transaction first."""
        return [*([self.entry] if self.entry is not None else []), *self.marks]


def arrival(event: Event) -> datetime | None:
    """When a record was made, by our clock; None where that cannot be read."""
    try:
        at = datetime.fromisoformat(event.time)
    except ValueError:
        return None
    return to_milliseconds(at) if at.tzinfo is not None else None


def cause_of(event: Event) -> str:
    """The record's place in the log: a redelivery has it again."""
    return f"{event.topic}:{event.partition}:{event.offset}"


def mark_replaced(job: Job, pages: Ledger, now: datetime) -> None:
    """Note with an open transaction that a later one began on its EVSE.

    Either the job's own has just begun and others are over, or it was told late and is.
    """
    if job.entry is None:
        return
    own = job.entry.record.ref
    for other in list(pages.by_ref.values()):
        if on_one_outlet(other, pages.by_ref[own]):
            _replace(job, pages, other.ref, own, now)
            _replace(job, pages, own, other.ref, now)


def _replace(job: Job, pages: Ledger, earlier_ref: str, later_ref: str, now: datetime) -> None:
    earlier, later = pages.by_ref[earlier_ref], pages.by_ref[later_ref]
    cause = f"{cause_of(job.event)}+{later_ref}"
    known = pages.find_told(earlier_ref, cause)
    if known is not None:
        job.marks.append(known)
        return
    if earlier.ended or later.start is None:
        return
    changed = mark(earlier, after_start(earlier, later.start.at), now)
    if changed is not None:
        job.marks.append(amend_mark(pages, earlier, changed, cause))


def amend_mark(pages: Ledger, before: Record, after: Record, cause: str) -> Entry:
    """Take a record with other evidence; told only where that changes what is doubted."""
    event = UPDATED if doubts(before) != doubts(after) else None
    return pages.amend(after, cause, event)


async def reserve(jobs: Sequence[Job], occupancy: Occupancy) -> bool:
    """Take and give back places under limits; whether a start must be decided again."""
    steps, starts = _steps(jobs)
    if not steps:
        return False
    held = await occupancy.occupy(steps)
    give_back: list[Release] = []
    denied = False
    for job, step in starts:
        short = {limit.key for limit in step.limits if (step.ref, limit.key) not in held}
        if short:
            denied = True
            job.denied |= short
            got = tuple(limit.key for limit in step.limits if limit.key not in short)
            if got:
                give_back.append(Release(step.ref, got))
    if give_back:
        await occupancy.occupy(give_back)
    return denied


def _steps(
    jobs: Sequence[Job],
) -> tuple[list[Occupy | Release], list[tuple[Job, Occupy]]]:
    """What a batch does to the limits, in its order. A session that is over takes no place."""
    over = {entry.record.ref for job in jobs for entry in job.entries if is_over(entry.record)}
    steps: list[Occupy | Release] = []
    starts: list[tuple[Job, Occupy]] = []
    for job in jobs:
        entry, verdict = job.entry, job.verdict
        if entry is None:
            continue
        steps += [
            Release(mark.record.ref, mark.record.holds)
            for mark in job.marks
            if mark.record.holds and is_over(mark.record)
        ]
        record = entry.record
        if record.holds and is_over(record):
            steps.append(Release(record.ref, record.holds))
        elif job.revived and record.holds:
            steps.append(reoccupy(record))
        elif job.starting and verdict is not None and verdict.limits and record.ref not in over:
            step = Occupy(record.ref, verdict.limits, _outlet(job.message), job.message.at)
            steps.append(step)
            starts.append((job, step))
    return steps, starts


def reoccupy(record: Record) -> Occupy:
    """Take its places back, also beyond a limit: it charges already."""
    limits = tuple(Limit(key, _NO_LIMIT) for key in record.holds)
    outlet = "" if record.outlet is None else f"{record.station_id}/{record.outlet}"
    return Occupy(record.ref, limits, outlet, record.last_at)


def _outlet(message: TransactionMessage) -> str:
    evse = evse_of(message.protocol, message.evse_id, message.connector_id)
    return f"{message.station_id}/{evse}" if evse is not None else ""


def decided(jobs: Sequence[Job]) -> list[Decided]:
    """What the journal is told of a batch."""
    return [
        Decided(
            job.message.at,
            job.message.station_id,
            job.message.protocol,
            TRANSACTION,
            job.token_ref,
            job.verdict,
            evse_of(job.message.protocol, job.message.evse_id, job.message.connector_id),
            job.entry.record.ref if job.entry is not None else None,
        )
        for job in jobs
        if job.verdict is not None and job.token_ref is not None
    ]


def sample_sets(jobs: Sequence[Job]) -> list[SampleSet]:
    """The samples of a batch, each once."""
    found = [
        sample_set(job.entry.record.ref, job.message)
        for job in jobs
        if job.entry is not None and job.message.samples
    ]
    return list({one.id: one for one in found}.values())
