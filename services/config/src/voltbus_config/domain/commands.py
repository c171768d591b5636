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
from voltbus_config.domain.stations import Registration
from voltbus_config.domain.told import numbers

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


def created(
    command_id: str,
    request: CommandRequested,
    now: datetime,
    time_to_live: timedelta,
) -> Command:
    """A command as an operator, or another system, asks for it."""
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
        fingerprint=None if key is None else fingerprint(key, request.action, request.payload),
        expires_at=request.expires_at or now + time_to_live,
        timeout_s=request.timeout_s,
        cause=request.cause,
    )


def problem(request: CommandRequested) -> str | None:
    """What is wrong with the times of a request, or None."""
    if not 0 < request.timeout_s <= LONGEST_TIMEOUT_S:
        return f"timeout_s must be above 0 and at most {LONGEST_TIMEOUT_S:g} seconds"
    if request.expires_at is not None and request.expires_at.tzinfo is None:
        return "expires_at needs an offset, such as 2026-01-31T12:00:00Z"
    return None


def fingerprint(key: str, action: str, payload: dict[str, Any]) -> str:
    """Tells whether a repeated idempotency key comes with the same request.

    It outlives the payload, which may have held a card's number. Two bytes find a mistake in all
    but one of 65,536 cases; of the numbers that a card may have, millions fit.
    """
    text = msgspec.json.encode([action, payload], order="deterministic")
    return hashlib.blake2b(text, key=key.encode()[:64], digest_size=2).hexdigest()


def sent(command: Command, connection: Connection, now: datetime, margin: timedelta) -> Command:
    """The command as it goes out on this connection."""
    return _moved(
        command,
        SENT,
        attempt=command.attempt + 1,
        connection_id=connection.connection_id,
        sent_at=now,
        not_after=now + margin * _TO_THE_GATEWAY,
        give_up_at=now + timedelta(seconds=command.timeout_s) + margin,
    )


def requeued(command: Command) -> Command:
    """It was not sent: the command waits again, in its old place."""
    return _moved(
        command,
        QUEUED,
        connection_id=None,
        sent_at=None,
        not_after=None,
        give_up_at=None,
    )


def ended(
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
    """The command in a final state, without its payload. ``unsent``: it never left its gateway."""
    status_of_answer = _status_of(answer)
    secret = secrecy.carries_secret(command.action, command.payload)
    if secret:
        if rejected_by is RejectedBy.STATION:
            error_description = None  # stations repeat what they do not like
        status_of_answer = status_of_answer if secrecy.is_word(status_of_answer) else None
    return _moved(
        command,
        status,
        payload=None,
        ended_at=now,
        answer=secrecy.kept(answer, secret=secret),
        answer_status=status_of_answer,
        error_code=error_code,
        error_description=error_description,
        rejected_by=rejected_by,
        sent_at=None if unsent else command.sent_at,
        repairs=repairs,
    )


def told(command: Command) -> dict[str, int]:
    """Those numbers in the station's answer that anyone may know."""
    return numbers(command.action, command.answer or {})


def heard(command: Command, end: CallEnded, now: datetime) -> Command | None:
    """The command after its gateway's report; None when it is over already (late, or repeated)."""
    if command.status is not SENT:
        return None
    match end.outcome:
        case CallOutcome.ANSWERED:
            return ended(
                command,
                CommandStatus.ANSWERED,
                now,
                answer=end.payload or {},
                repairs=end.repairs,
            )
        case CallOutcome.NOT_CONNECTED:
            if _of_earlier(command, end):
                return None
            return _late(command, now) if end.late else requeued(command)
        case CallOutcome.TIMED_OUT:
            why = end.error_description or _unanswered(command)
            return ended(command, CommandStatus.TIMED_OUT, now, error_description=why)
        case _:
            invalid = end.outcome is CallOutcome.INVALID
            code = end.error_code or ("InvalidPayload" if invalid else "GenericError")
            return ended(
                command,
                CommandStatus.REJECTED,
                now,
                error_code=code,
                error_description=end.error_description,
                rejected_by=end.rejected_by
                or (RejectedBy.GATEWAY if invalid else RejectedBy.STATION),
                unsent=end.unsent or invalid,
            )


def _unanswered(command: Command) -> str:
    return f"The station did not answer within {command.timeout_s:g} s"


def _of_earlier(command: Command, end: CallEnded) -> bool:
    """Whether the report is of an earlier attempt, delivered again."""
    return end.attempt not in {0, command.attempt}


def _late(command: Command, now: datetime) -> Command:
    """It reached its gateway too late: once more, but not for ever."""
    late = command.late + 1
    if late < _MOST_LATE:
        return msgspec.structs.replace(requeued(command), late=late)
    why = f"Never sent: it reached its gateway too late {late} times. Are the clocks apart?"
    return ended(command, CommandStatus.TIMED_OUT, now, error_description=why, unsent=True)


def overdue(command: Command, now: datetime) -> Command | None:
    """The command ended by the clock: expired in the queue, or unanswered for too long."""
    if command.status is QUEUED and command.expires_at is not None and command.expires_at <= now:
        why = "The station could not be sent it in time"
        return ended(command, CommandStatus.EXPIRED, now, error_description=why)
    if command.status is SENT and command.give_up_at is not None and command.give_up_at <= now:
        why = "Its gateway did not report what became of it"
        return ended(command, CommandStatus.TIMED_OUT, now, error_description=why)
    return None


def deadline(command: Command) -> datetime | None:
    """When ``overdue`` will have something to say, if nothing else happens."""
    return command.expires_at if command.status is QUEUED else command.give_up_at


def allowed(action: str, reach: Registration) -> bool:
    """Whether a station within this reach may be sent this OCPP action (2.x B02, B03.FR.03)."""
    if reach is Registration.ACCEPTED:
        return True
    return reach is Registration.PENDING and action in WHILE_PENDING


def queue(commands: Iterable[Command]) -> list[Command]:
    """What may go out next, in order; nothing while a command is out (ocpp-rules A13)."""
    ordered = sorted(commands, key=lambda command: command.id)
    if any(command.status is SENT for command in ordered):
        return []
    return [command for command in ordered if command.status is QUEUED]


def _moved(command: Command, to: CommandStatus, **changes: Any) -> Command:
    if to not in MOVES.get(command.status, frozenset()):
        raise WrongMoveError(f"a command does not go from {command.status} to {to}")
    return msgspec.structs.replace(command, status=to, revision=command.revision + 1, **changes)


def _status_of(answer: dict[str, Any] | None) -> str | None:
    """The answer's one status; that of SetVariables when it was about a single variable."""
    found = answer or {}
    status = found.get("status")
    match found.get("setVariableResult"):
        case [{"attributeStatus": only}]:
            status = only
    return status if isinstance(status, str) else None
