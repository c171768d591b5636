"""The life of a reservation: a place kept for a token at a station (1.6 §5.13, 2.x H).

pending → active | rejected | cancelled | expired | removed | used
active  → used | cancelled | expired | removed

``used`` is a fact that may come late, from a station that was offline: it wins over every other
end. Everything else that is not pending or active is final.
"""

import zlib
from datetime import datetime
from enum import StrEnum

import msgspec

from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Message
from voltbus_config.domain.commands import Command

RESERVE, CANCEL = "reserve", "cancel_reservation"
ACCEPTED = "Accepted"


class State(StrEnum):
    """Where a reservation stands."""

    PENDING = "pending"
    ACTIVE = "active"
    USED = "used"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REMOVED = "removed"


OPEN = frozenset({State.PENDING, State.ACTIVE})

# What ReservationStatusUpdate says, and what it means here (2.x H01, H04; NoTransaction is 2.1's).
_TOLD = {
    "Expired": (State.EXPIRED, "the station let it expire"),
    "Removed": (State.REMOVED, "the station removed it"),
    "NoTransaction": (State.REMOVED, "the driver came, but no transaction began"),
}


class Reservation(Message, frozen=True, rename={"id": "_id"}):
    """A reservation. ``number`` is its id at the station, unique there.

    ``token_ref`` is auth's pseudonym of the token, empty once its holder was erased; the readable
    value is only in the command that brings it to the station, until that ended. ``command_id``
    and ``cancel_command_id`` name the calls behind it.
    """

    id: str
    number: int
    station_id: str
    state: State
    token_ref: str
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    command_id: str
    revision: int = 1
    token_type: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    cancel_command_id: str | None = None
    transaction_ref: str | None = None
    reason: str | None = None
    ended_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Return whether it may still hold a place."""
        return self.state in OPEN


def compute_number(reservation_id: str) -> int:
    """Compute the id at the station: 31 bits, which every version takes, never 0."""
    return (zlib.crc32(reservation_id.encode()) & 0x7FFFFFFF) or 1


def apply_command(reservation: Reservation, command: Command, now: datetime) -> Reservation | None:
    """Apply the end of one of its calls; None when it changes nothing."""
    if command.id == reservation.command_id:
        return _apply_reserve_result(reservation, command, now)
    if command.id == reservation.cancel_command_id and reservation.open:
        return _apply_cancel_result(reservation, command, now)
    return None


def is_uncertain(command: Command) -> bool:
    """Return whether the station may hold a reservation that we count as ended."""
    return command.action == RESERVE and command.status is CommandStatus.TIMED_OUT


def use(reservation: Reservation, transaction_ref: str, now: datetime) -> Reservation | None:
    """Mark it used by a transaction (1.6 §4.8, 2.x H03); None when it was already."""
    if reservation.state is State.USED:
        return None
    return _end(reservation, State.USED, now, None, transaction_ref=transaction_ref)


def apply_status(reservation: Reservation, said: object, now: datetime) -> Reservation | None:
    """Apply the station's ReservationStatusUpdate (2.x); None when it changes nothing."""
    known = _TOLD.get(said) if isinstance(said, str) else None
    if known is None or not reservation.open:
        return None
    return _end(reservation, known[0], now, known[1])


def expire(reservation: Reservation, now: datetime) -> Reservation | None:
    """Expire it when its time is over; else None."""
    if not reservation.open or now < reservation.expires_at:
        return None
    return _end(reservation, State.EXPIRED, now, None)


def withdraw(reservation: Reservation, now: datetime) -> Reservation | None:
    """End it because its station was removed; None when it has ended."""
    if not reservation.open:
        return None
    return _end(reservation, State.REMOVED, now, "the station is registered no more")


def wait_for_cancel(reservation: Reservation, command_id: str, now: datetime) -> Reservation:
    """Record the command that cancels it at the station."""
    return _change(reservation, now, cancel_command_id=command_id, reason=None)


def _apply_reserve_result(
    reservation: Reservation, command: Command, now: datetime
) -> Reservation | None:
    if reservation.state is not State.PENDING:
        return None
    match command.status:
        case CommandStatus.ANSWERED if command.answer_status == ACCEPTED:
            return _change(reservation, now, state=State.ACTIVE)
        case CommandStatus.ANSWERED:
            said = command.answer_status or "nothing readable"
            return _end(reservation, State.REJECTED, now, f"the station answered {said}")
        case CommandStatus.EXPIRED:
            return _end(reservation, State.EXPIRED, now, "the station was not there in time")
        case CommandStatus.CANCELLED:
            return _end(reservation, State.CANCELLED, now, None)
        case _:
            return _end(reservation, State.REJECTED, now, _describe_failure(command))


def _apply_cancel_result(reservation: Reservation, command: Command, now: datetime) -> Reservation:
    match command.status:
        case CommandStatus.ANSWERED if command.answer_status == ACCEPTED:
            return _end(reservation, State.CANCELLED, now, None)
        case CommandStatus.ANSWERED:
            # Rejected means that there is no such reservation (1.6 §5.2, 2.x H02.FR.01).
            return _end(reservation, State.REMOVED, now, "the station knew it no more")
        case _:
            why = f"not cancelled: {_describe_failure(command)}"
            return _change(reservation, now, cancel_command_id=None, reason=why)


def _describe_failure(command: Command) -> str:
    if command.status is CommandStatus.REJECTED:
        return f"rejected by {command.rejected_by or 'the station'}: {command.error_code}"
    return command.error_description or command.status.value


def _end(
    reservation: Reservation,
    state: State,
    now: datetime,
    reason: str | None,
    transaction_ref: str | None = None,
) -> Reservation:
    return _change(
        reservation,
        now,
        state=state,
        reason=reason,
        ended_at=now,
        transaction_ref=transaction_ref,
    )


def _change(reservation: Reservation, now: datetime, **changes: object) -> Reservation:
    return msgspec.structs.replace(
        reservation, updated_at=now, revision=reservation.revision + 1, **changes
    )
