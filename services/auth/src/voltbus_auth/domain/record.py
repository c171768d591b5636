"""The record of one transaction, and how each message of a station is folded into it.

Folding is a join: it takes the earliest start, the latest state, the union of sequence numbers and
so on, so that any order, repetition or delay of a session's messages ends in the same record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from voltbus_auth.domain.identifiers import short_id
from voltbus_auth.domain.registers import Reading, readings
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.values import Protocol

T = TypeVar("T", int, str)
_DEAUTHORIZED = "Deauthorized"  # OCPP 2.x TriggerReasonEnumType; 1.6 has no word for it
_STOP_AUTHORIZED = "StopAuthorized"
ERASED = "erased:"  # begins the name that an erased token's transactions bear
MOST_RANGES = 200  # of sequence numbers without a gap, kept of one transaction


@dataclass(frozen=True, slots=True)
class Start:
    """How it began. ``meter_wh``: the register then, where the message said so."""

    at: datetime
    meter_wh: int | None = None
    seq_no: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """How it ended."""

    at: datetime
    meter_wh: int | None = None
    seq_no: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Presented:
    """A token that was presented in this transaction, and what was decided then.

    ``ending``: it was presented to stop. It says who stopped, not who pays (1.6 StopTransaction,
    OCPP 2.0.1 C16: a master pass stops what others began).
    """

    at: datetime
    seq_no: int
    token_ref: str
    status: AuthorizationStatus
    agreement_id: str | None = None
    authorization_reference: str | None = None
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """The charging state of the latest message that told one (sequence number, then time)."""

    seq_no: int
    at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Told:
    """A change: the record that caused it, the revision it made, the type of the event, if any.

    ``at``: when it was handled, in seconds since 1970; 0 where that was not kept.
    """

    cause: str
    revision: int
    event: str | None
    at: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One transaction. ``wire_id`` is the id between station and us, which a station may reuse:
    ``generation`` counts its uses. ``seqs`` are closed ranges. ``holds`` are the limits that it
    counts against while it is open. ``recent`` lets a redelivered message be told from a resent
    one. ``flags`` are doubts that a single message raised. ``deauthorized_at``: when the station
    first said that its token is no longer accepted. ``placed``: the start named the EVSE.
    """  # noqa: D205 - the fields read best in one paragraph

    ref: str
    station_id: str
    protocol: Protocol
    wire_id: str
    generation: int
    first_at: datetime
    last_at: datetime
    evse_id: int | None = None
    connector_id: int | None = None
    placed: bool = False
    reservation_id: int | None = None
    remote_start_id: int | None = None
    offline: bool = False
    start: Start | None = None
    stop: Stop | None = None
    token: Presented | None = None
    deauthorized_at: datetime | None = None
    live: Live | None = None
    seqs: tuple[tuple[int, int], ...] = ()
    first: Reading | None = None
    last: Reading | None = None
    begin: Reading | None = None
    end: Reading | None = None
    flags: frozenset[str] = frozenset()
    holds: tuple[str, ...] = ()
    revision: int = 0
    recent: tuple[Told, ...] = ()

    @property
    def key(self) -> str:
        """What later messages name it by."""
        return wire_key(self.station_id, self.wire_id)


def is_closed_to(record: Record, token_ref: str, at: datetime) -> bool:
    """Whether this token comes too late: another one's transaction was deauthorised before.

    Only an end and a new transaction let anybody else charge (OCPP 2.0.1 C01.FR.24).
    """
    known, closed = record.token, record.deauthorized_at
    return (
        known is not None and known.token_ref != token_ref and closed is not None and closed <= at
    )


def wire_key(station_id: str, wire_id: str) -> str:
    """The key under which a station's transaction id is looked up."""
    return f"{station_id}\0{wire_id}"


def start_ref(message: TransactionMessage, token_ref: str) -> str:
    """The reference of a 1.6 transaction, from what makes its start the same start.

    Station, connector, idTag, timestamp and meterStart: a resend has them all, whatever its
    message id (rule B; 1.6 gives a start no id of its own).
    """
    return short_id(
        "1.6",
        message.station_id,
        message.connector_id,
        token_ref,
        message.at.timestamp(),
        message.meter_wh,
    )


def is_ending(message: TransactionMessage) -> bool:
    """Whether the token in it was presented to stop."""
    return message.phase is Phase.ENDED or message.trigger == _STOP_AUTHORIZED


def open_record(
    message: TransactionMessage,
    *,
    ref: str | None = None,
    generation: int = 0,
    wire_id: str = "",
    era: str = "",
) -> Record:
    """An empty record for a message that belongs to none.

    ``era`` keeps its reference apart from those of earlier uses of the id that are forgotten.
    """
    wire_id = wire_id or message.transaction_id or ""
    names = (era,) if era else ()
    return Record(
        ref=ref or short_id("wire", message.station_id, wire_id, generation, *names),
        station_id=message.station_id,
        protocol=message.protocol,
        wire_id=wire_id,
        generation=generation,
        first_at=message.at,
        last_at=message.at,
    )


def fold(record: Record, message: TransactionMessage, presented: Presented | None) -> Record:
    """The record with this message in it; the very same one when the message tells nothing new."""
    told = readings(message.samples)
    changes: dict[str, Any] = {
        "first_at": min(record.first_at, message.at),
        "last_at": max(record.last_at, message.at),
        "reservation_id": _either(record.reservation_id, message.reservation_id),
        "remote_start_id": _either(record.remote_start_id, message.remote_start_id),
        "offline": record.offline or message.offline,
        "deauthorized_at": _deauthorized(record.deauthorized_at, message),
        "live": _live(record.live, message),
        "seqs": _with_seq(record.seqs, message.seq_no),
        "token": _payer(record.token, presented),
        "first": _least(record.first, told.first),
        "last": _most(record.last, told.last),
        "begin": _least(record.begin, told.begin),
        "end": _most(record.end, told.end),
    }
    flags = set(record.flags)
    if told.fell:
        flags.add("register_backwards")
    if told.unreadable:
        flags.add("register_unreadable")
    if len(changes["seqs"]) == MOST_RANGES:
        flags.add("many_gaps")
    changes |= _where(record, message)
    if message.phase is Phase.STARTED:
        meter_wh = _meter(message, told.begin or told.first)
        changes["start"] = _start(record, Start(message.at, meter_wh, message.seq_no), flags)
    elif message.phase is Phase.ENDED:
        meter_wh = _meter(message, told.end or told.last)
        stop = Stop(message.at, meter_wh, message.seq_no, message.stopped_reason)
        changes["stop"] = _stop(record, stop, flags)
    changes["flags"] = frozenset(flags)
    if all(getattr(record, name) == value for name, value in changes.items()):
        return record
    return replace(record, **changes)


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
