"""A transaction message on its way, and the places under limits that a batch of them takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voltbus_auth.domain.journal import TRANSACTION, Decided
from voltbus_auth.domain.reservations import Occupy, Release
from voltbus_auth.domain.samples import sample_set
from voltbus_auth.handlers.knowledge import evse_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.domain.ledger import Entry
    from voltbus_auth.domain.samples import SampleSet
    from voltbus_auth.domain.verdict import Verdict
    from voltbus_auth.handlers.ports import Occupancy
    from voltbus_backbone.contract.auth import TransactionMessage
    from voltbus_backbone.envelope import Event


@dataclass(slots=True)
class Job:
    """One message on its way.

    ``ref`` is that of a 1.6 start, ``other_ref`` the same under the other token key, if any.
    ``starting``: its token is the first to be accepted in the transaction, or would be.
    ``denied``: the limits that had no room for it. ``elsewhere``: another system must be asked
    about its token first. ``slowed``: the verdict on a key code whose station must wait.
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
    over = {
        job.entry.record.ref
        for job in jobs
        if job.entry is not None and job.entry.record.stop is not None
    }
    steps: list[Occupy | Release] = []
    starts: list[tuple[Job, Occupy]] = []
    for job in jobs:
        entry, verdict = job.entry, job.verdict
        if entry is None:
            continue
        record = entry.record
        if record.stop is not None and record.holds:
            steps.append(Release(record.ref, record.holds))
        elif job.starting and verdict is not None and verdict.limits and record.ref not in over:
            step = Occupy(record.ref, verdict.limits, _outlet(job.message), job.message.at)
            steps.append(step)
            starts.append((job, step))
    return steps, starts


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
