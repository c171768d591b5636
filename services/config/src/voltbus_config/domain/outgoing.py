"""Messages that leave config: a contract message, its row and its CloudEvents id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.config import CommandChanged, ReservationChanged
from voltbus_backbone.contract.gateway import CloseConnection, RegistrationChanged, SendCall
from voltbus_backbone.contract.registry import (
    CLOSE_CONNECTION,
    COMMAND_CHANGED,
    REGISTRATION_CHANGED,
    RESERVATION_CHANGED,
    SEND_CALL,
    MessageType,
)
from voltbus_config.domain.commands import extract_public_numbers

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.values import Message
    from voltbus_config.domain.commands import Command
    from voltbus_config.domain.connections import Connection, Presence, ReplacedConnection
    from voltbus_config.domain.reservations import Reservation


@dataclass(frozen=True)
class OutgoingMessage:
    """``id`` is the same for the same cause. ``partition`` and ``subject`` are a gateway's.

    ``message`` None takes the row's key off its compacted topic (``key``).
    """

    row: MessageType[Any]
    message: Message | None
    id: str
    partition: int | None = None
    subject: str | None = None
    key: str | None = None


def build_command_changed(command: Command, at: datetime) -> OutgoingMessage:
    """Build the event of a command's new state; its id has the attempt, since it may be resent."""
    message = CommandChanged(
        command_id=command.id,
        station_id=command.station_id,
        action=command.action,
        status=command.status,
        at=at,
        answer_status=command.answer_status,
        error_code=command.error_code,
        cause=command.cause,
        told=extract_public_numbers(command),
        connection_id=command.connection_id,
        rejected_by=command.rejected_by,
    )
    return OutgoingMessage(
        COMMAND_CHANGED, message, f"command:{command.id}:{command.status}:{command.attempt}"
    )


def build_reservation_changed(reservation: Reservation, at: datetime) -> OutgoingMessage:
    """Build the event of a reservation's new revision."""
    message = ReservationChanged(
        id=reservation.id,
        reservation_id=reservation.number,
        station_id=reservation.station_id,
        state=reservation.state.value,
        token_ref=reservation.token_ref,
        expires_at=reservation.expires_at,
        at=at,
        revision=reservation.revision,
        evse_id=reservation.evse_id,
        connector_id=reservation.connector_id,
        transaction_ref=reservation.transaction_ref,
        reason=reservation.reason,
    )
    ident = f"reservation:{reservation.id}:{reservation.revision}"
    return OutgoingMessage(RESERVATION_CHANGED, message, ident)


def build_send_call(
    command: Command, action: str, payload: dict[str, Any], connection: Connection
) -> OutgoingMessage:
    """Build the call for the gateway that holds the station."""
    message = SendCall(
        command_id=command.id,
        gateway_id=connection.gateway_id,
        station_id=command.station_id,
        connection_id=connection.connection_id,
        action=action,
        payload=payload,
        timeout_s=command.timeout_s,
        not_after=command.not_after,
        attempt=command.attempt,
    )
    return OutgoingMessage(
        SEND_CALL,
        message,
        f"send:{command.id}:{command.attempt}",
        connection.gateway_partition,
        connection.gateway_id,
    )


def build_close_connection(presence: Presence, old: ReplacedConnection) -> OutgoingMessage:
    """Build the order to close a connection that a newer one replaced (the last one wins)."""
    newer = presence.connection
    message = CloseConnection(
        gateway_id=old.gateway_id,
        station_id=presence.id,
        connection_id=old.connection_id,
        reason="the station connected elsewhere",
        address="" if newer is None else newer.address,
    )
    return OutgoingMessage(
        CLOSE_CONNECTION,
        message,
        f"close:{old.connection_id}",
        old.gateway_partition,
        old.gateway_id,
    )


def build_registration_changed(
    station_id: str, status: str, connection: Connection, revision: int
) -> OutgoingMessage:
    """Build the news of a station's registration for the gateway that holds it."""
    message = RegistrationChanged(
        gateway_id=connection.gateway_id,
        station_id=station_id,
        connection_id=connection.connection_id,
        status=status,
    )
    return OutgoingMessage(
        REGISTRATION_CHANGED,
        message,
        f"registration:{station_id}:{revision}",
        connection.gateway_partition,
        connection.gateway_id,
    )
