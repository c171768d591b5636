"""Asking a station for a BootNotification that it owes (OCPP 1.6 §5.17, 2.x F06).

A station that moved over while it ran sends none by itself, since nothing restarted it, and a
registration that an operator changed reaches a station by the answer to one. Until then everything
that it says is refused (ocpp-rules A21), so it is asked: after the time in which an honest Boot
comes, then again with pauses that double, so often at most on one connection.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Message, Protocol
from voltbus_config.domain.commands import Command, Purpose
from voltbus_config.domain.stations import RegisteredStation, Registration

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
MOST_ATTEMPTS = 12
# A request that could not go out by then makes room for the next.
_GIVEN_UP_AFTER = timedelta(minutes=5)

_TRIGGERS = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
REFUSED = "Rejected"
_CANNOT = frozenset({"NotImplemented", "NotSupported"})
_RESTART = "restart it: send the command reset, which goes out to it, or switch it off and on"


class BootRequest(Message, frozen=True):
    """How often a station was asked on this connection, and what came of it.

    ``registration`` is what its Boot would be answered. ``next_at``: when it is asked again; None:
    not on this connection. ``detail`` says what an operator should know.
    """

    connection_id: str
    registration: Registration
    attempts: int
    asked_at: datetime
    next_at: datetime | None
    command_id: str
    detail: str | None = None


def owes_boot(station: RegisteredStation | None, policy: Registration) -> bool:
    """Return whether a station has to send a BootNotification before its registration holds.

    Who was answered Rejected comes again by itself, and is sent nothing (B03.FR.03).
    """
    registration = policy if station is None else station.registration
    if registration is Registration.REJECTED:
        return False
    told = None if station is None or station.boot is None else station.boot.status
    return told is not Registration.REJECTED and told is not registration


def brings_boot(action: str, payload: dict[str, Any]) -> bool:
    """Return whether this OCPP call makes a station send a BootNotification.

    Such a call may go to a station that has never been answered one; nothing else may (B01).
    """
    if action in _TRIGGERS:
        return payload.get("requestedMessage") == "BootNotification"
    return action == "Reset"


def next_at(
    request: BootRequest | None, connection_id: str, registration: Registration, now: datetime
) -> datetime | None:
    """Return when the station is to be asked, which may be past; None: not on this connection."""
    if request is None or request.registration is not registration:
        return now
    if request.connection_id != connection_id:
        # A station that comes and goes is not asked with each connection.
        return request.asked_at + _FIRST_PAUSE
    return request.next_at


def record_attempt(
    request: BootRequest | None,
    command: Command,
    connection_id: str,
    registration: Registration,
    now: datetime,
) -> BootRequest:
    """Record that this command asks the station; pauses double up to an hour."""
    again = (
        request is not None
        and request.connection_id == connection_id
        and request.registration is registration
    )
    attempts = request.attempts + 1 if again and request is not None else 1
    pause = min(_FIRST_PAUSE * 2 ** (attempts - 1), _LONGEST_PAUSE)
    return BootRequest(
        connection_id=connection_id,
        registration=registration,
        attempts=attempts,
        asked_at=now,
        next_at=now + pause if attempts < MOST_ATTEMPTS else None,
        command_id=command.id,
        detail=request.detail if again and request is not None else None,
    )


def build_request_command(
    command_id: str, station_id: str, now: datetime, timeout_s: float
) -> Command:
    """Build the command that asks for a BootNotification; ``timeout_s`` in seconds."""
    return Command(
        id=command_id,
        station_id=station_id,
        action="trigger",
        status=CommandStatus.QUEUED,
        purpose=Purpose.REGISTRATION,
        created_at=now,
        payload={"message": "boot"},
        expires_at=now + _GIVEN_UP_AFTER,
        timeout_s=timeout_s,
    )


def apply_answer(request: BootRequest, command: Command) -> BootRequest:
    """Apply the end of the command that asked to the request."""
    if command.id != request.command_id:
        return request
    word = command.answer_status or command.error_code
    if command.status in {CommandStatus.ANSWERED, CommandStatus.REJECTED} and word in _CANNOT:
        detail = f"The station can't be asked to boot ({word}): {_RESTART}."
        return msgspec.structs.replace(request, next_at=None, detail=detail)
    match command.status:
        case CommandStatus.ANSWERED if word == "Accepted":
            detail = "The station said that it would send a BootNotification; none came so far."
        case CommandStatus.ANSWERED | CommandStatus.REJECTED:
            detail = f"The station refused to boot on request ({word}): wait, or {_RESTART}."
        case _:
            detail = f"The station gave no answer ({command.status}): wait, or {_RESTART}."
    return msgspec.structs.replace(request, detail=detail)


def asks_to_boot(command: Command) -> bool:
    """Return whether this command, which still has its payload, asks for a BootNotification."""
    payload = command.payload or {}
    if command.action == "trigger":
        return payload.get("message") == "boot"
    return command.action in _TRIGGERS and brings_boot(command.action, payload)


def says_accepted(protocol: Protocol) -> bool:
    """Return whether a station's refusal to boot on request tells that it holds itself accepted.

    A 2.x station refuses exactly when its last BootNotification was answered Accepted (F06.FR.17):
    by whoever was here before us. 1.6 knows no such rule.
    """
    return protocol is not Protocol.OCPP16
