"""Rotations of many stations: how many may be under way, how fast, and when to stop.

running ⇄ paused; running → stopped (too many failed) → running; running → completed
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from voltbus_backbone.contract.values import Message


class FleetState(StrEnum):
    """Whether stations are being begun."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"


class Fleet(Message, frozen=True, rename={"id": "_id"}):
    """What was asked for, and how it stands.

    ``at_once``: rotations whose command is under way. ``per_minute``: rotations begun.
    ``most_failures``: at so many failed ones since it was last resumed it stops.
    ``next_at``: when the pace allows the next one. ``due_at``: when somebody must look at it.
    """

    id: str
    state: FleetState
    created_at: datetime
    at_once: int
    per_minute: float
    most_failures: int
    wait_s: float
    timeout_s: float
    total: int
    next_at: datetime
    revision: int
    due_at: datetime | None = None
    forgiven: int = 0
    detail: str = ""
    ended_at: datetime | None = None


class Progress(Message, frozen=True):
    """How many stations are where. ``open``: with a command under way."""

    waiting: int = 0
    open: int = 0
    unsettled: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0


_LOOK_EVERY = timedelta(seconds=1)


def begin(fleet: Fleet, now: datetime) -> Fleet:
    """The fleet as it starts: somebody looks at it at once."""
    return msgspec.structs.replace(fleet, state=FleetState.RUNNING, next_at=now, due_at=now)


def room(fleet: Fleet, progress: Progress, now: datetime) -> int:
    """How many stations may be begun now."""
    if fleet.state is not FleetState.RUNNING or too_many_failed(fleet, progress):
        return 0
    begun_from = _begun_from(fleet, now)
    if begun_from > now:
        return 0
    by_pace = 1 + int((now - begun_from) / _interval(fleet))
    return max(0, min(fleet.at_once - progress.open, progress.waiting, by_pace))


def looked_at(fleet: Fleet, progress: Progress, begun: int, now: datetime) -> Fleet:
    """The fleet after so many stations of those that were waiting have been begun or skipped."""
    revision = fleet.revision + 1
    if too_many_failed(fleet, progress):
        since = progress.failed - fleet.forgiven
        return msgspec.structs.replace(
            fleet,
            revision=revision,
            state=FleetState.STOPPED,
            detail=f"{since} failed: look at why, then resume it",
            due_at=None,
        )
    if progress.waiting == 0 and progress.open == 0:
        return msgspec.structs.replace(
            fleet, revision=revision, state=FleetState.COMPLETED, due_at=None, ended_at=now
        )
    return msgspec.structs.replace(
        fleet,
        revision=revision,
        next_at=max(_begun_from(fleet, now) + begun * _interval(fleet), fleet.next_at),
        due_at=now + _LOOK_EVERY,
    )


def paused(fleet: Fleet) -> Fleet | None:
    """The fleet without further beginnings; None when it has none to begin."""
    if fleet.state is not FleetState.RUNNING:
        return None
    return msgspec.structs.replace(
        fleet, revision=fleet.revision + 1, state=FleetState.PAUSED, due_at=None
    )


def resumed(fleet: Fleet, progress: Progress, now: datetime) -> Fleet | None:
    """The fleet going on, with the failures so far forgiven; None when it runs or is over."""
    if fleet.state not in {FleetState.PAUSED, FleetState.STOPPED}:
        return None
    stopped = fleet.state is FleetState.STOPPED
    return msgspec.structs.replace(
        fleet,
        revision=fleet.revision + 1,
        state=FleetState.RUNNING,
        forgiven=progress.failed if stopped else fleet.forgiven,
        detail="",
        next_at=now,
        due_at=now,
    )


def too_many_failed(fleet: Fleet, progress: Progress) -> bool:
    """Whether the threshold is reached."""
    return progress.failed - fleet.forgiven >= fleet.most_failures


def _interval(fleet: Fleet) -> timedelta:
    return timedelta(seconds=60.0 / fleet.per_minute)


def _begun_from(fleet: Fleet, now: datetime) -> datetime:
    """What was not used for longer than a look lapses: no burst after an idle time."""
    return max(fleet.next_at, now - _LOOK_EVERY)
