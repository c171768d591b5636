"""The next step of a station's list: what to send it, or until when to wait.

    limits, report?, version  ->  Full with the first entries  ->  Differential for the rest
                                        ^                                |
                                        +--- mismatch, failure ----------+

A Full carries as many entries as one message takes; the differentials after it are the difference
that is left. So each step is decided by what the station is known to hold, and nothing else has to
be remembered when a process ends between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from voltbus_auth.local_lists.domain import wire
from voltbus_auth.local_lists.domain.station import (
    UPDATES,
    Change,
    Flight,
    Kind,
    ListState,
    Situation,
    Status,
)
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from voltbus_auth.local_lists.domain.entries import Desired, Entry

# A command waits so long at config while the station is busy; then it is made anew.
QUEUED_FOR = timedelta(seconds=30)
ANSWER_TIMEOUT_S = 30.0
# Longer than config itself waits: an end that was not told by then is not told any more.
GIVEN_UP_AFTER = QUEUED_FOR + timedelta(seconds=ANSWER_TIMEOUT_S + 30)
# A record that was decided but perhaps not written is written again after so long.
PUBLISHED_WITHIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Order:
    """A call to make. ``changes`` and ``digests`` belong together, the most urgent first.

    ``again``: the flight that is out already, to be written once more.
    """

    kind: Kind
    version: int = 0
    changes: tuple[Change, ...] = ()
    digests: tuple[bytes, ...] = ()
    again: Flight | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look came to: the state, when to look again (None: when something happens), a call."""

    state: ListState
    due: datetime | None = None
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class _Difference:
    """What has to change. ``removed`` are references, ``changed`` new or different lines."""

    removed: Sequence[str] = ()
    changed: Sequence[Entry] = field(default_factory=tuple)

    def __bool__(self) -> bool:
        return bool(self.removed or self.changed)


def waits(state: ListState, situation: Situation, now: datetime) -> Look | None:
    """What is decided without knowing what the station should hold; None: that is needed."""
    if state.flight is not None:
        return _in_flight(state, state.flight, now)
    if not situation.wanted and _nothing_there(state):
        detail = "No plan is for this station."
        return Look(replace(state.said(Status.UNMANAGED, detail, now), wanted=0, left_out={}))
    if state.status is not Status.UNSUPPORTED and not situation.reachable:
        detail = "Waits for the station to be connected and accepted."
        state = state.said(Status.UNREACHABLE, detail, now)
    if state.status is Status.UNSUPPORTED or not situation.reachable:
        return Look(state)
    if state.not_before is not None and now < state.not_before:
        return Look(state, state.not_before)
    return _asks(state, now)


def _in_flight(state: ListState, flight: Flight, now: datetime) -> Look:
    if not flight.published:
        return Look(state, now + PUBLISHED_WITHIN, Order(flight.kind, again=flight))
    if now < flight.give_up_at:
        return Look(state, flight.give_up_at)
    return Look(unheard(state, now), now)


def _asks(state: ListState, now: datetime) -> Look | None:
    """Ask the station for what must be known before anything is sent."""
    if state.limits is None:
        state = state.said(Status.CHECKING, "Asking the station for its limits.", now)
        return Look(state, now, Order(Kind.LIMITS))
    told = state.limits.entries is not None or state.reported_entries is not None
    if state.protocol is not Protocol.OCPP16 and not told and not state.report_asked:
        return Look(replace(state, report_asked=True), now, Order(Kind.REPORT))
    if not state.checked:
        state = state.said(Status.CHECKING, "Asking the station for its list's version.", now)
        return Look(state, now, Order(Kind.VERSION))
    return None


def look(state: ListState, desired: Desired, readable: Collection[str], now: datetime) -> Look:
    """The next step towards what is desired.

    ``readable``: those of the references the station holds and should not, whose values are there.
    A token can only be taken off by its value; when that is gone, the whole list is sent anew.
    """
    state = replace(state, wanted=len(desired.entries), left_out=desired.left_out)
    difference = _difference(state, desired)
    if state.known and not difference:
        state = replace(state, failures=0, not_before=None)
        return Look(state.said(Status.IN_SYNC, "", now), desired.next_change)
    most = state.most_items
    version = state.highest + 1
    full = (
        not state.known
        or state.version == 0
        or version > wire.LAST_VERSION
        or any(ref not in readable for ref in difference.removed)
    )
    if full:
        version = 1 if version > wire.LAST_VERSION else version
        lines = list(desired.entries.values())[:most]
        changes: list[Change] = [(one.ref, one.info) for one in lines]
        digests = [one.digest for one in lines]
    else:
        # What is taken off goes first: it is the more urgent, and it makes room.
        gone: list[Change] = [(ref, None) for ref in difference.removed]
        changes = [*gone, *((one.ref, one.info) for one in difference.changed)][:most]
        digests = [*(b"" for _ in gone), *(one.digest for one in difference.changed)][:most]
    kind = Kind.FULL if full else Kind.DIFFERENTIAL
    if state.status is not Status.FAILED:
        detail = f"{len(difference.changed)} to add or change, {len(difference.removed)} to remove."
        state = state.said(Status.SENDING, detail, now)
    return Look(state, now, Order(kind, version, tuple(changes), tuple(digests)))


def sent(state: ListState, order: Order, cause: str, now: datetime) -> ListState:
    """The call is about to be written; ``cause`` names it."""
    flight = Flight(
        order.kind, cause, now + GIVEN_UP_AFTER, order.version, order.changes, order.digests
    )
    highest = state.highest
    if order.kind in UPDATES:
        highest = order.version if order.version == 1 else max(highest, order.version)
    return replace(state, flight=flight, highest=highest)


def unheard(state: ListState, now: datetime) -> ListState:
    """Nothing was heard of the call: the station may have taken the update or not.

    Its list's version tells, unless someone else's may have the same, so it is asked for next.
    """
    flight = state.flight
    assert flight is not None  # noqa: S101 - the caller has seen it
    state = replace(state, flight=None, checked=False)
    if flight.kind in UPDATES and not flight.contested:
        state = replace(state, lost=flight)
    return state.said(Status.CHECKING, "The station did not answer.", now)


def removed_refs(state: ListState, desired: Desired) -> list[str]:
    """What the station holds and should not."""
    return [ref for ref in state.held if ref not in desired.entries]


def _difference(state: ListState, desired: Desired) -> _Difference:
    changed = [one for one in desired.entries.values() if state.held.get(one.ref) != one.digest]
    return _Difference(sorted(removed_refs(state, desired)), changed)


def _nothing_there(state: ListState) -> bool:
    """Whether the station holds no list of ours."""
    if state.status is Status.UNSUPPORTED:
        return True
    never = state.highest == 0 and state.lost is None
    return never or (state.known and not state.held and state.lost is None)
