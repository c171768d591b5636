"""What events tell of a station, as far as its local list is concerned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from voltbus_auth.local_lists.domain import station as lists
from voltbus_auth.local_lists.domain import wire
from voltbus_auth.local_lists.domain.answers import Retry, heard
from voltbus_auth.local_lists.domain.plans import keys_of
from voltbus_auth.local_lists.domain.station import ListState, Situation
from voltbus_backbone.contract.config import CommandChanged, CommandStatus
from voltbus_backbone.contract.stations import (
    StationBooted,
    StationConnected,
    StationDisconnected,
    StationReported,
    StationState,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_backbone.contract.values import Message

ACCEPTED = "Accepted"
# What the causes of our own commands begin with.
OURS = "local-list:"


@dataclass(frozen=True, slots=True)
class Station:
    """A station with its list. ``told`` is config's newest snapshot of it.

    ``due``: when to look at it. ``revision`` grows with every change of what is stored, ``marks``
    with every change of what it depends on: who decided on an older state notices either.
    """

    id: str
    list: ListState
    told: StationState | None = None
    connection_id: str | None = None
    connected: bool = False
    absent_since: datetime | None = None
    firmware: str | None = None
    due: datetime | None = None
    marks: int = 0
    revision: int = 0

    @property
    def plan_keys(self) -> tuple[str, ...]:
        """The plans that it may have, the narrowest first."""
        if self.told is None:
            return keys_of(self.id, None, None)
        return keys_of(self.id, self.told.site_id, self.told.group_id)

    def situation(self, *, wanted: bool) -> Situation:
        """What decides whether and how it is sent anything."""
        accepted = self.told is not None and self.told.registration == ACCEPTED
        return Situation(wanted, self.connected and accepted)


@dataclass(frozen=True, slots=True)
class Times:
    """``settle``: a station that has just connected, or a change, waits so long for more."""

    now: datetime
    settle: timedelta
    retry: Retry


def fold(station: Station, message: Message, times: Times) -> Station:
    """The station after an event; the same object where it changes nothing."""
    return _FOLDS[type(message)](station, message, times)


def _told(station: Station, message: StationState, times: Times) -> Station:
    before = station.told
    if before is not None and message.revision <= before.revision and message.at <= before.at:
        return station
    return _due(replace(station, told=message), times.now + times.settle)


def _connected(station: Station, message: StationConnected, times: Times) -> Station:
    if station.connected and station.connection_id == message.connection_id:
        return station
    absent = times.now - station.absent_since if station.absent_since else timedelta()
    state = lists.of_protocol(lists.returned(station.list, absent), message.protocol)
    after = replace(
        station,
        list=state,
        connection_id=message.connection_id,
        connected=True,
        absent_since=None,
    )
    return _due(after, times.now + times.settle)


def _disconnected(station: Station, message: StationDisconnected, times: Times) -> Station:
    if station.connection_id != message.connection_id:
        return station
    return replace(station, connected=False, absent_since=times.now)


def _booted(station: Station, message: StationBooted, times: Times) -> Station:
    other = station.firmware is not None and message.firmware_version != station.firmware
    state = lists.of_protocol(lists.booted(station.list, other_firmware=other), message.protocol)
    after = replace(station, list=state, firmware=message.firmware_version)
    return _due(after, times.now + times.settle)


def _reported(station: Station, message: StationReported, times: Times) -> Station:
    if message.action != "NotifyReport":
        return station
    most = wire.most_entries_reported(message.payload)
    if most is None or most == station.list.reported_entries:
        return station
    return _due(replace(station, list=lists.reported(station.list, most)), times.now)


def _ended(station: Station, message: CommandChanged, times: Times) -> Station:
    if message.cause is not None and message.cause.startswith(OURS):
        state = heard(station.list, message, times.now, times.retry)
        return station if state is None else _due(replace(station, list=state), times.now)
    taken = message.status is CommandStatus.ANSWERED and message.answer_status == ACCEPTED
    if message.action == "SendLocalList" and taken:
        return _due(replace(station, list=lists.overwritten(station.list)), times.now)
    return station


def _due(station: Station, at: datetime) -> Station:
    due = at if station.due is None else min(station.due, at)
    return replace(station, due=due)


_FOLDS: dict[type, Callable[[Station, Any, Times], Station]] = {
    StationState: _told,
    StationConnected: _connected,
    StationDisconnected: _disconnected,
    StationBooted: _booted,
    StationReported: _reported,
    CommandChanged: _ended,
}
