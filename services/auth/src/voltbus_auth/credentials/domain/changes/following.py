"""Moves a change by what is heard: its command's events, the station's log-ins, and the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.credentials.domain.changes import rotation, upgrade
from voltbus_auth.credentials.domain.changes.change import (
    OPEN,
    Change,
    Kind,
    State,
    cause,
    moved,
    silent_at,
)
from voltbus_backbone.contract.config import CommandChanged, CommandStatus

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.stations import StationConnected

_UNDER_WAY = frozenset({CommandStatus.QUEUED, CommandStatus.SENT})
_ASKING = frozenset({State.STARTING, State.COMMANDED})


def heard(change: Change, event: CommandChanged) -> Change | None:
    """The change after an event of a command; None when that moves nothing."""
    if change.state not in OPEN or event.cause != cause(change):
        return None
    if event.station_id != change.station_id:
        return None
    if event.status in _UNDER_WAY:
        if change.state not in _ASKING or change.command_id == event.command_id:
            return None
        return moved(
            change,
            State.COMMANDED,
            change.since,
            due_at=silent_at(change),
            command_id=event.command_id,
        )
    if change.kind is Kind.ROTATION:
        return rotation.heard(change, event)
    return upgrade.heard(change, event)


def connected(change: Change, event: StationConnected) -> Change | None:
    """The change after a log-in of its station; None when that moves nothing."""
    if change.state not in OPEN or event.station_id != change.station_id:
        return None
    if change.kind is Kind.ROTATION:
        return rotation.connected(change, event)
    return upgrade.connected(change, event)


def overdue(change: Change, now: datetime) -> Change | None:
    """The change when its time is over; None before."""
    if change.state not in OPEN or change.due_at is None:
        return None
    deadline = silent_at(change) if change.state in _ASKING else change.due_at
    if deadline > now:
        return None
    if change.kind is Kind.ROTATION:
        return rotation.overdue(change, now)
    return upgrade.overdue(change, now)
