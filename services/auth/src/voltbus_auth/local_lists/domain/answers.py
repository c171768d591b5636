"""What became of a call about a station's list."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.local_lists.domain import wire
from voltbus_auth.local_lists.domain.moves import unheard
from voltbus_auth.local_lists.domain.station import UPDATES, Flight, Kind, ListState, Status
from voltbus_backbone.contract.config import CommandChanged, CommandStatus

if TYPE_CHECKING:
    from datetime import datetime

_LONGEST_WAIT = timedelta(hours=1)
_MOST_DOUBLINGS = 12
# The CALLERROR codes by which a station says that it does not know the action.
_UNKNOWN_ACTION = frozenset({"NotImplemented", "NotSupported"})


class Retry:
    """How long to wait after failures: ``first`` doubled each time, an hour at most.

    ``chance`` in [0, 1) spreads a fleet over half as much again.
    """

    def __init__(self, first: timedelta, chance: float) -> None:
        self._first = first
        self._chance = chance

    def after(self, failures: int) -> timedelta:
        """The wait after so many failures in a row."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(self._first * (1 << doublings), _LONGEST_WAIT) * (1 + self._chance / 2)


def heard(state: ListState, event: CommandChanged, now: datetime, retry: Retry) -> ListState | None:
    """The state after a command's event; None when it is not of the call that is out."""
    flight = state.flight
    if flight is None or flight.cause != event.cause:
        return None
    match event.status:
        case CommandStatus.ANSWERED:
            return _answered(replace(state, flight=None), flight, event, now, retry)
        case CommandStatus.REJECTED:
            return _refused(replace(state, flight=None), flight, event.error_code, now, retry)
        case CommandStatus.TIMED_OUT:
            after = unheard(state, now)
            failures = after.failures + 1
            return replace(after, failures=failures, not_before=now + retry.after(failures))
        case CommandStatus.EXPIRED | CommandStatus.CANCELLED:
            # Never sent: nothing has changed, and the station is busy, or away unnoticed.
            failures = state.failures + 1
            later = now + retry.after(failures)
            return replace(state, flight=None, failures=failures, not_before=later)
        case _:
            return None


def _answered(
    state: ListState, flight: Flight, event: CommandChanged, now: datetime, retry: Retry
) -> ListState:
    match flight.kind:
        case Kind.LIMITS:
            return replace(state, limits=wire.limits_told(event.told))
        case Kind.REPORT:
            return state
        case Kind.VERSION:
            return _compared(state, wire.version_told(event.told), now, retry)
        case _:
            return _updated(state, flight, event.answer_status, now, retry)


def _compared(state: ListState, version: int | None, now: datetime, retry: Retry) -> ListState:
    """The station's version against the one it should have (1.6 §5.10, D02)."""
    if version is None:
        return _failed(state, "The station told no version.", now, retry)
    if version < 0:
        return _unsupported(state, "The station has no local lists (version -1).", now)
    lost = state.lost
    state = replace(state, checked=True, lost=None, highest=max(state.highest, version))
    if lost is not None and version == lost.version and (lost.kind is Kind.FULL or state.known):
        return _taken(state, lost)
    if version == 0:
        # It is empty, or there is none; a list that we emptied ourselves may be told so too.
        return replace(state, version=0, held={}, known=True)
    if not state.known or version == state.version:
        return state
    return replace(state, known=False)


def _updated(
    state: ListState, flight: Flight, status: str | None, now: datetime, retry: Retry
) -> ListState:
    match status:
        case "Accepted":
            return replace(_taken(state, flight), failures=0, not_before=None)
        case "NotSupported":
            return _unsupported(state, "The station does not support local lists.", now)
        case "VersionMismatch":
            # 1.6 §5.15, D01.FR.05: the whole list. The version it has is asked for first, so that
            # the next one is newer.
            state = replace(state, known=False, checked=False)
            return _failed(state, "The station's list had another version.", now, retry)
        case _:
            # Failed: the whole list (1.6 §5.15), and when that fails too, fewer at once.
            smaller = max(len(flight.changes) // 2, 1) if flight.kind is Kind.FULL else None
            state = replace(state, known=False, smaller=smaller or state.smaller)
            return _failed(state, f"The station answered {status or 'nothing'}.", now, retry)


def _refused(
    state: ListState, flight: Flight, code: str | None, now: datetime, retry: Retry
) -> ListState:
    """A CALLERROR, or a payload that could not be sent."""
    if flight.kind is Kind.LIMITS:
        return replace(state, limits=wire.Limits())
    if flight.kind is Kind.REPORT:
        return state
    if code in _UNKNOWN_ACTION:
        return _unsupported(state, "The station does not know local lists.", now)
    if flight.kind in UPDATES:
        state = replace(state, known=False, smaller=max(len(flight.changes) // 2, 1))
    return _failed(state, f"The station refused it ({code or 'no code'}).", now, retry)


def _taken(state: ListState, flight: Flight) -> ListState:
    """The station has applied the update.

    A differential to a list that has meanwhile become doubtful leaves it so.
    """
    full = flight.kind is Kind.FULL
    held = {} if full else dict(state.held)
    for (ref, info), digest in zip(flight.changes, flight.digests, strict=True):
        if info is None:
            held.pop(ref, None)
        else:
            held[ref] = digest
    known = full or state.known
    return replace(
        state,
        version=flight.version,
        held=held,
        known=known,
        checked=state.checked or known,
        lost=None,
    )


def _failed(state: ListState, detail: str, now: datetime, retry: Retry) -> ListState:
    """The remedy is tried at once the first time, and later and later after that."""
    failures = state.failures + 1
    later = now + retry.after(failures - 1) if failures > 1 else None
    state = replace(state, failures=failures, not_before=later)
    return state.said(Status.FAILED, detail, now) if failures > 1 else state


def _unsupported(state: ListState, detail: str, now: datetime) -> ListState:
    state = replace(state, known=False, held={}, lost=None, not_before=None)
    return state.said(Status.UNSUPPORTED, detail, now)
