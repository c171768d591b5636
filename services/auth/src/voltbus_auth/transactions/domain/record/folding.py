"""How each message of a station is folded into its transaction's record.

Folding is a join: it takes the earliest start, the latest state, the union of sequence numbers and
so on, so that any order, repetition or delay of a session's messages ends in the same record.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from voltbus_auth.tokens.domain.token import NO_AUTHORIZATION
from voltbus_auth.transactions.domain.record.details import TOO_LONG, merge_details
from voltbus_auth.transactions.domain.record.model import (
    ERASED,
    POLICY,
    Live,
    Presented,
    Record,
    Start,
    Stop,
)
from voltbus_auth.transactions.domain.registers import NO_SPAN, Reading, Readings, Span, readings
from voltbus_auth.transactions.domain.superseding import is_superseded
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T", int, str)
_DEAUTHORIZED = "Deauthorized"  # OCPP 2.x TriggerReasonEnumType; 1.6 has no word for it
# How the gateway's notes on a message's own time begin.
_ON_TIME = "timestamp: "
MOST_RANGES = 200  # of sequence numbers without a gap, kept of one transaction
# So many notes on a transaction's messages are kept.
_MOST_REPAIRS = 50


def fold(
    record: Record,
    message: TransactionMessage,
    presented: Presented | None,
    arrived: datetime | None = None,
) -> Record:
    """The record with this message in it; the very same one when the message tells nothing new.

    ``arrived``: when it reached us, by our clock.
    """
    told = readings(message.samples)
    details, too_long = merge_details(record.details, message)
    repairs = {*message.repairs, TOO_LONG} if too_long else message.repairs
    changes: dict[str, Any] = {
        "first_at": min(record.first_at, message.at),
        "last_at": max(record.last_at, message.at),
        "reservation_id": _either(record.reservation_id, message.reservation_id),
        "remote_start_id": _either(record.remote_start_id, message.remote_start_id),
        "offline": record.offline or message.offline,
        "anonymous": record.anonymous or _is_anonymous(message),
        "deauthorized_at": _deauthorized(record.deauthorized_at, message),
        "live": _live(record.live, message),
        "seqs": _with_seq(record.seqs, message.seq_no),
        "token": _payer(record.token, presented),
        "first": _least(record.first, told.whole.first),
        "last": _most(record.last, told.whole.last),
        "begin": _least(record.begin, told.whole.begin),
        "end": _most(record.end, told.whole.end),
        "phases": _phases(record.phases, told.phases, message.phase),
        "details": details,
        "repairs": frozenset(sorted(record.repairs.union(repairs))[:_MOST_REPAIRS]),
    }
    changes |= _ends(record, message, told)
    changes |= _where(record, message)
    if all(getattr(record, name) == value for name, value in changes.items()):
        return record
    if arrived is not None:
        known = record.arrived_at
        changes["arrived_at"] = arrived if known is None else max(known, arrived)
    return _as_heard(replace(record, **changes))


def _ends(record: Record, message: TransactionMessage, told: Readings) -> dict[str, Any]:
    """Start, stop and the doubts that the message raises by itself."""
    changes: dict[str, Any] = {}
    whole, flags = told.whole, set(record.flags)
    if told.fell:
        flags.add("register_backwards")
    if told.unreadable:
        flags.add("register_unreadable")
    if any(note.startswith(_ON_TIME) for note in message.repairs):
        flags.add("clock")  # its time is that of its arrival
    if len(_with_seq(record.seqs, message.seq_no)) == MOST_RANGES:
        flags.add("many_gaps")
    if message.phase is Phase.STARTED:
        meter_wh = _meter(message, whole.begin or whole.first)
        changes["start"] = _start(record, Start(message.at, meter_wh, message.seq_no), flags)
    elif message.phase is Phase.ENDED:
        meter_wh = _meter(message, whole.end or whole.last)
        stop = Stop(message.at, meter_wh, message.seq_no, message.stopped_reason)
        changes["stop"] = _stop(record, stop, flags)
    return {**changes, "flags": frozenset(flags)}


def _as_heard(record: Record) -> Record:
    """The record without having been superseded, where a message shows that it was not."""
    if is_superseded(record):
        return record
    closed = record.closed
    resumed = record.stop is None and closed is not None and closed.by == POLICY
    return replace(record, superseded_at=None, closed=None if resumed else closed)


def _is_anonymous(message: TransactionMessage) -> bool:
    return message.id_token is not None and message.id_token.type == NO_AUTHORIZATION


def _phases(known: Span, told: Span, phase: Phase) -> Span:
    """The sums of phases: a start's first reading is the beginning, an end's last the end."""
    if told == NO_SPAN:
        return known
    begin, end = told.begin, told.end
    if phase is Phase.STARTED:
        begin = begin or told.first
    elif phase is Phase.ENDED:
        end = end or told.last
    return Span(
        _least(known.first, told.first),
        _most(known.last, told.last),
        _least(known.begin, begin),
        _most(known.end, end),
    )


def _meter(message: TransactionMessage, sampled: Reading | None) -> int | None:
    if message.meter_wh is not None:
        return message.meter_wh
    return sampled.wh if sampled is not None else None


def _start(record: Record, start: Start, flags: set[str]) -> Start:
    known = record.start
    if known is None or known == start:
        return start
    flags.add("second_start")
    return min(known, start, key=lambda one: (one.at, _number(one.meter_wh), _number(one.seq_no)))


def _stop(record: Record, stop: Stop, flags: set[str]) -> Stop:
    known = record.stop
    if known is None or known == stop:
        return stop
    flags.add("second_stop")
    return min(
        known,
        stop,
        key=lambda one: (one.at, _number(one.meter_wh), _number(one.seq_no), one.reason or ""),
    )


def _where(record: Record, message: TransactionMessage) -> dict[str, int | bool | None]:
    """EVSE and connector: the start's word counts, else the lowest that was named."""
    placed = message.phase is Phase.STARTED and message.evse_id is not None
    if placed and not record.placed:
        evse_id, connector_id = message.evse_id, message.connector_id
    elif placed == record.placed:
        evse_id = _lowest(record.evse_id, message.evse_id)
        connector_id = _lowest(record.connector_id, message.connector_id)
    else:
        return {}
    return {"evse_id": evse_id, "connector_id": connector_id, "placed": placed}


def _live(known: Live | None, message: TransactionMessage) -> Live | None:
    if message.charging_state is None:
        return known
    told = Live(_number(message.seq_no), message.at, message.charging_state)
    if known is None:
        return told
    return max(known, told, key=lambda one: (one.seq_no, one.at, one.state))


def _deauthorized(known: datetime | None, message: TransactionMessage) -> datetime | None:
    if message.trigger != _DEAUTHORIZED:
        return known
    return message.at if known is None else min(known, message.at)


def _payer(known: Presented | None, told: Presented | None) -> Presented | None:
    """Who charges: the first accepted presentation, else the first; its first verdict stays.

    Who only stopped counts where nobody else is known. One who was erased is not named again.
    """
    if told is None or known is None:
        return known or told
    if known.token_ref.startswith(ERASED):
        return known
    return told if _precedence(told) < _precedence(known) else known


def _precedence(presented: Presented) -> tuple[bool, bool, datetime, int, str]:
    refused = presented.status is not AuthorizationStatus.ACCEPTED
    return presented.ending, refused, presented.at, presented.seq_no, presented.token_ref


def _with_seq(seqs: tuple[tuple[int, int], ...], number: int | None) -> tuple[tuple[int, int], ...]:
    """Closed ranges with one number more."""
    if number is None or any(low <= number <= high for low, high in seqs):
        return seqs
    merged: list[tuple[int, int]] = []
    for low, high in sorted([*seqs, (number, number)]):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if len(merged) > MOST_RANGES:  # a station that skips for ever: the newest gap is forgotten
        merged[-2:] = [(merged[-2][0], merged[-1][1])]
    return tuple(merged)


def _number(value: int | None) -> int:
    return -1 if value is None else value


def _either(one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)


def _lowest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _least(one: Reading | None, other: Reading | None) -> Reading | None:
    if one is None or other is None:
        return one or other
    return min(one, other)


def _most(one: Reading | None, other: Reading | None) -> Reading | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
