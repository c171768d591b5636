"""The life of a command to a station.

queued → sent | expired | cancelled | rejected
sent   → answered | rejected | timed_out | queued (the station was not there)

Everything but queued and sent is final, and is reached exactly once.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from voltbus_backbone.contract.config import (
    CallEnded,
    CallOutcome,
    CommandRequested,
    CommandStatus,
    RejectedBy,
)
from voltbus_backbone.contract.values import Message, Protocol
from voltbus_config.domain import secrecy
from voltbus_config.domain.connections import Connection
from voltbus_config.domain.public_numbers import extract_numbers
from voltbus_config.domain.stations import Registration

QUEUED, SENT = CommandStatus.QUEUED, CommandStatus.SENT
OPEN = frozenset({QUEUED, SENT})
FINAL = frozenset(CommandStatus) - OPEN

MOVES: dict[CommandStatus, frozenset[CommandStatus]] = {
    QUEUED: frozenset(
        {SENT, CommandStatus.EXPIRED, CommandStatus.CANCELLED, CommandStatus.REJECTED}
    ),
    SENT: frozenset(
        {CommandStatus.ANSWERED, CommandStatus.REJECTED, CommandStatus.TIMED_OUT, QUEUED}
    ),
}

# How much of the margin a call may take to its gateway; its report needs the rest.
_TO_THE_GATEWAY = 0.8
_MOST_LATE = 3
# Seconds that a station may be given for its answer.
LONGEST_TIMEOUT_S = 600.0

# While Pending: configuring and reporting, no starting or stopping (2.x B02.FR.01-05).
WHILE_PENDING = frozenset(
    {
        "CertificateSigned",
        "ChangeConfiguration",
        "DataTransfer",
        "DeleteCertificate",
        "ExtendedTriggerMessage",
        "GetBaseReport",
        "GetConfiguration",
        "GetDiagnostics",
        "GetInstalledCertificateIds",
        "GetLog",
        "GetReport",
        "GetVariables",
        "InstallCertificate",
        "Reset",
        "SetNetworkProfile",
        "SetVariables",
        "SignedUpdateFirmware",
        "TriggerMessage",
        "UpdateFirmware",
    }
)


class Purpose(StrEnum):
    """Why a command exists."""

    OPERATOR = "operator"
    SETTING = "setting"
    REGISTRATION = "registration"
    RESERVATION = "reservation"


class SettingRef(Message, frozen=True):
    """A setting that a command brings to the station. ``target``: what it will then be."""

    key: str
    generation: int
    target: Any = None


class Command(Message, frozen=True, rename={"id": "_id"}):
    """A call to be sent to a station. Ids grow with time, so they give a station's order.

    ``settings``, ``notes`` and ``protocol`` are of a command that brings settings, compiled for
    that version. ``payload`` is dropped once the command has ended: it may hold an id token or
    a secret.
    ``reservation_id`` is of a call behind a reservation.
    ``own_key`` is false where the idempotency key is not the asker's, but the name of its record.
    ``repairs``: what did not fit the schema in an answer that is kept all the same.
    ``not_after``: its gateway does not send it later than this, lest a station does what was given
    up. ``give_up_at``: a sent command of which nothing was heard by then has timed out. ``late``:
    how often it reached its gateway only after ``not_after``.
    """

    id: str
    station_id: str
    action: str
    status: CommandStatus
    purpose: Purpose
    created_at: datetime
    revision: int = 1
    payload: dict[str, Any] | None = None
    settings: tuple[SettingRef, ...] = ()
    notes: tuple[Any, ...] = ()
    protocol: Protocol | None = None
    idempotency_key: str | None = None
    own_key: bool = True
    fingerprint: str | None = None
    cause: str | None = None
    reservation_id: str | None = None
    expires_at: datetime | None = None
    timeout_s: float = 30.0
    attempt: int = 0
    connection_id: str | None = None
    sent_at: datetime | None = None
    not_after: datetime | None = None
    give_up_at: datetime | None = None
    late: int = 0
    ended_at: datetime | None = None
    answer: dict[str, Any] | None = None
    answer_status: str | None = None
    error_code: str | None = None
    error_description: str | None = None
    rejected_by: RejectedBy | None = None
    repairs: tuple[str, ...] = ()


class WrongMoveError(ValueError):
    """A change of state that the life of a command does not have."""


def create_command(
    command_id: str,
    request: CommandRequested,
    now: datetime,
    time_to_live: timedelta,
) -> Command:
    """Create the command that an operator, or another system, asked for."""
    key = request.idempotency_key
    return Command(
        id=command_id,
        station_id=request.station_id,
        action=request.action,
        status=QUEUED,
        purpose=Purpose.OPERATOR,
        created_at=now,
        payload=request.payload,
        idempotency_key=key,
        fingerprint=None
        if key is None
        else compute_fingerprint(key, request.action, request.payload),
        expires_at=request.expires_at or now + time_to_live,
        timeout_s=request.timeout_s,
        cause=request.cause,
    )


def find_problem(request: CommandRequested) -> str | None:
    """Return what is wrong with the times of a request, or None."""
    if not 0 < request.timeout_s <= LONGEST_TIMEOUT_S:
        return f"timeout_s must be above 0 and at most {LONGEST_TIMEOUT_S:g} seconds"
    if request.expires_at is not None and request.expires_at.tzinfo is None:
        return "expires_at needs an offset, such as 2026-01-31T12:00:00Z"
    return None


def compute_fingerprint(key: str, action: str, payload: dict[str, Any]) -> str:
    """Compute what tells whether a repeated idempotency key comes with the same request.

    It outlives the payload, which may have held a card's number. Two bytes find a mistake in all
    but one of 65,536 cases; of the numbers that a card may have, millions fit.
    """
    text = msgspec.json.encode([action, payload], order="deterministic")
    return hashlib.blake2b(text, key=key.encode()[:64], digest_size=2).hexdigest()


def mark_sent(
    command: Command, connection: Connection, now: datetime, margin: timedelta
) -> Command:
    """Mark the command as sent on this connection; ``margin`` is time for its way and report."""
    return _move(
        command,
        SENT,
        attempt=command.attempt + 1,
        connection_id=connection.connection_id,
        sent_at=now,
        not_after=now + margin * _TO_THE_GATEWAY,
        give_up_at=now + timedelta(seconds=command.timeout_s) + margin,
    )


def requeue(command: Command) -> Command:
    """Return a command that was not sent to the queue, in its old place."""
    return _move(
        command,
        QUEUED,
        connection_id=None,
        sent_at=None,
        not_after=None,
        give_up_at=None,
    )


def end_command(
    command: Command,
    status: CommandStatus,
    now: datetime,
    *,
    answer: dict[str, Any] | None = None,
    error_code: str | None = None,
    error_description: str | None = None,
    rejected_by: RejectedBy | None = None,
    unsent: bool = False,
    repairs: tuple[str, ...] = (),
) -> Command:
    """Move the command to a final state and drop its payload.

    ``unsent``: it never left its gateway. Answers are redacted (ocpp-rules A6).
    """
    status_of_answer = _status_of(answer)
    secret = secrecy.carries_secret(command.action, command.payload)
    if secret:
        if rejected_by is RejectedBy.STATION:
            error_description = None  # stations repeat what they do not like
        status_of_answer = status_of_answer if secrecy.is_word(status_of_answer) else None
    return _move(
        command,
        status,
        payload=None,
        ended_at=now,
        answer=secrecy.redact_answer(answer, secret=secret),
        answer_status=status_of_answer,
        error_code=error_code,
        error_description=error_description,
        rejected_by=rejected_by,
        sent_at=None if unsent else command.sent_at,
        repairs=repairs,
    )


def extract_public_numbers(command: Command) -> dict[str, int]:
    """Extract the numbers of the station's answer that events may repeat."""
    return extract_numbers(command.action, command.answer or {})


def apply_result(command: Command, end: CallEnded, now: datetime) -> Command | None:
    """Apply its gateway's report; None when the command has ended already (late, or repeated)."""
    if command.status is not SENT:
        return None
    match end.outcome:
        case CallOutcome.ANSWERED:
            return end_command(
                command,
                CommandStatus.ANSWERED,
                now,
                answer=end.payload or {},
                repairs=end.repairs,
            )
        case CallOutcome.NOT_CONNECTED:
            if _is_earlier_attempt(command, end):
                return None
            return _retry_late(command, now) if end.late else requeue(command)
        case CallOutcome.TIMED_OUT:
            why = end.error_description or _describe_timeout(command)
            return end_command(command, CommandStatus.TIMED_OUT, now, error_description=why)
        case _:
            invalid = end.outcome is CallOutcome.INVALID
            code = end.error_code or ("InvalidPayload" if invalid else "GenericError")
            return end_command(
                command,
                CommandStatus.REJECTED,
                now,
                error_code=code,
                error_description=end.error_description,
                rejected_by=end.rejected_by
                or (RejectedBy.GATEWAY if invalid else RejectedBy.STATION),
                unsent=end.unsent or invalid,
            )


def _describe_timeout(command: Command) -> str:
    return f"The station did not answer within {command.timeout_s:g} s"


def _is_earlier_attempt(command: Command, end: CallEnded) -> bool:
    """Return whether the report is of an earlier attempt, delivered again."""
    return end.attempt not in {0, command.attempt}


def _retry_late(command: Command, now: datetime) -> Command:
    """Requeue a command that reached its gateway too late, a limited number of times."""
    late = command.late + 1
    if late < _MOST_LATE:
        return msgspec.structs.replace(requeue(command), late=late)
    why = f"Never sent: it reached its gateway too late {late} times. Are the clocks apart?"
    return end_command(command, CommandStatus.TIMED_OUT, now, error_description=why, unsent=True)


def end_if_overdue(command: Command, now: datetime) -> Command | None:
    """End a command that expired in the queue or had no report in time; else None."""
    if command.status is QUEUED and command.expires_at is not None and command.expires_at <= now:
        why = "The station could not be sent it in time"
        return end_command(command, CommandStatus.EXPIRED, now, error_description=why)
    if command.status is SENT and command.give_up_at is not None and command.give_up_at <= now:
        why = "Its gateway did not report what became of it"
        return end_command(command, CommandStatus.TIMED_OUT, now, error_description=why)
    return None


def deadline(command: Command) -> datetime | None:
    """Return when ``end_if_overdue`` ends the command, if nothing else happens."""
    return command.expires_at if command.status is QUEUED else command.give_up_at


def is_allowed(action: str, reach: Registration) -> bool:
    """Return whether this OCPP action may be sent (2.x B02, B03.FR.03)."""
    if reach is Registration.ACCEPTED:
        return True
    return reach is Registration.PENDING and action in WHILE_PENDING


def select_sendable(commands: Iterable[Command]) -> list[Command]:
    """Select what may be sent next, in order; none while a command is out (ocpp-rules A13)."""
    ordered = sorted(commands, key=lambda command: command.id)
    if any(command.status is SENT for command in ordered):
        return []
    return [command for command in ordered if command.status is QUEUED]


def _move(command: Command, to: CommandStatus, **changes: Any) -> Command:
    if to not in MOVES.get(command.status, frozenset()):
        raise WrongMoveError(f"a command does not go from {command.status} to {to}")
    return msgspec.structs.replace(command, status=to, revision=command.revision + 1, **changes)


def _status_of(answer: dict[str, Any] | None) -> str | None:
    """Return the answer's status; of SetVariables only when it set a single variable."""
    found = answer or {}
    status = found.get("status")
    match found.get("setVariableResult"):
        case [{"attributeStatus": only}]:
            status = only
    return status if isinstance(status, str) else None
