"""What is known of one station's local list, and what happens to it from outside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from voltbus_auth.local_lists.domain.wire import (
    ASSUMED_ENTRIES,
    ASSUMED_ITEMS,
    MOST_BYTES,
    MOST_ENTRIES,
    MOST_ITEMS,
    Limits,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltbus_backbone.contract.values import Protocol

# After so long without a connection, a station is asked for its list's version again.
LONG_ABSENCE = timedelta(hours=1)


class Status(StrEnum):
    """How a station's list stands."""

    UNKNOWN = "unknown"  # not looked at yet
    UNMANAGED = "unmanaged"  # no plan is for this station
    UNREACHABLE = "unreachable"  # it waits for the station to be connected and accepted
    CHECKING = "checking"  # the station was asked for its limits or its list's version
    SENDING = "sending"
    IN_SYNC = "in_sync"
    FAILED = "failed"  # the station did not take it; it is tried again
    UNSUPPORTED = "unsupported"  # until it boots with another firmware


class Kind(StrEnum):
    """What a call to a station is for."""

    LIMITS = "limits"
    REPORT = "report"
    VERSION = "version"
    FULL = "full"
    DIFFERENTIAL = "differential"


UPDATES = frozenset({Kind.FULL, Kind.DIFFERENTIAL})

Change = tuple[str, dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Flight:
    """The one call that is out. ``cause`` names it in the command's events.

    ``changes``: token references and their new info, None to remove. ``published`` once the record
    is known to be on Kafka; until then it may have to be written again. ``contested``: someone
    else sent a list meanwhile, which may have the same version.
    """

    kind: Kind
    cause: str
    give_up_at: datetime
    version: int = 0
    changes: tuple[Change, ...] = ()
    digests: tuple[bytes, ...] = ()
    published: bool = False
    contested: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What else is known of the station. ``reachable``: connected and accepted.

    ``wanted``: some plan is for it.
    """

    wanted: bool
    reachable: bool


@dataclass(frozen=True, slots=True)
class ListState:
    """One station's list.

    ``version`` and ``held`` (digests of infos, by token reference) are what the station last
    acknowledged; they are relied on only while ``known``. ``checked``: the version was compared
    since the station booted. ``highest`` is the highest version that was ever sent or told.
    ``reported_entries``: how many the station holds, where a report told it (2.x).
    ``lost`` is an update of which it is not known whether the station took it. ``smaller``: after
    a failure, a message has no more entries than this. ``serial`` numbers our calls.
    """

    status: Status = Status.UNKNOWN
    detail: str = ""
    since: datetime | None = None
    protocol: Protocol | None = None
    version: int = 0
    highest: int = 0
    held: Mapping[str, bytes] = field(default_factory=dict)
    known: bool = False
    checked: bool = False
    limits: Limits | None = None
    reported_entries: int | None = None
    report_asked: bool = False
    flight: Flight | None = None
    lost: Flight | None = None
    failures: int = 0
    smaller: int | None = None
    not_before: datetime | None = None
    serial: int = 0
    wanted: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def said(self, status: Status, detail: str, at: datetime) -> ListState:
        """The same with another status; ``since`` stays where nothing changes."""
        if (status, detail) == (self.status, self.detail):
            return self
        since = self.since if status is self.status else at
        return replace(self, status=status, detail=detail, since=since)

    @property
    def most_entries(self) -> int:
        """How many tokens the station holds."""
        told = self.limits.entries if self.limits is not None else None
        if told is None:
            told = self.reported_entries
        return min(ASSUMED_ENTRIES if told is None else told, MOST_ENTRIES)

    @property
    def most_items(self) -> int:
        """How many entries a message may have."""
        told = self.limits.items if self.limits is not None else None
        most = min(ASSUMED_ITEMS if told is None else told, MOST_ITEMS)
        return max(min(most, self.smaller or most), 1)

    @property
    def most_bytes(self) -> int:
        """How long a message may be."""
        told = self.limits.bytes if self.limits is not None else None
        return min(told or MOST_BYTES, MOST_BYTES)


def of_protocol(state: ListState, protocol: Protocol) -> ListState:
    """The station speaks this version now; after another one nothing of its list is sure."""
    if state.protocol is protocol:
        return state
    before = state.protocol
    state = replace(state, protocol=protocol)
    if before is None:
        return state
    # An answer that is still to come is about lines that this version does not have.
    return replace(_anew(state), known=False, held={}, checked=False, flight=None, lost=None)


def booted(state: ListState, *, other_firmware: bool) -> ListState:
    """After a boot a list may be gone; with another firmware everything may be different."""
    state = replace(state, checked=False, not_before=None)
    return _anew(state) if other_firmware else state


def returned(state: ListState, absent: timedelta) -> ListState:
    """The station is connected again: what failed is tried at once."""
    long = absent >= LONG_ABSENCE
    return replace(state, not_before=None, checked=state.checked and not long)


def overwritten(state: ListState) -> ListState:
    """Someone else sent the station a list: ours is sent in full again.

    Whether an update of ours came through can no longer be told by the version alone: theirs is
    likely to be the next one after the last, as ours was.
    """
    flight = replace(state.flight, contested=True) if state.flight is not None else None
    return replace(state, known=False, checked=False, flight=flight, lost=None)


def resend(state: ListState) -> ListState:
    """The operator wants the whole list sent, whatever the station is thought to hold."""
    return replace(_anew(state), known=False, lost=None, failures=0, smaller=None, not_before=None)


def reported(state: ListState, most_entries: int) -> ListState:
    """A report told how many entries the station holds."""
    return replace(state, reported_entries=most_entries)


def _anew(state: ListState) -> ListState:
    """Ask for limits again, and no longer take lists for unsupported."""
    if state.status is Status.UNSUPPORTED:
        state = replace(state, status=Status.UNKNOWN, detail="")
    return replace(state, limits=None, reported_entries=None, report_asked=False, smaller=None)
