"""What the REST interface shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_config.domain.layers import is_secret

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_config.domain.boot_requests import BootRequest
    from voltbus_config.domain.commands import Command
    from voltbus_config.domain.connections import IdentityConflict, LastRefusal, Presence
    from voltbus_config.domain.desired import Desired, StationSetting
    from voltbus_config.domain.layers import LayerSettings
    from voltbus_config.domain.reservations import Reservation
    from voltbus_config.domain.stations import RegisteredStation

HIDDEN = "(secret)"


def show_station(
    found: RegisteredStation, presence: Presence | None, desired: Desired | None
) -> dict[str, Any]:
    """Return a station with its connection, its connectors, and what keeps it from them."""
    connection = None if presence is None else presence.connection
    protocol = found.protocol if connection is None else connection.protocol
    return {
        "id": found.id,
        "registration": found.registration.value,
        "group_id": found.group_id,
        "site_id": found.site_id,
        "evse_kinds": found.evse_kinds,
        "metadata": found.metadata,
        "connected": connection is not None and connection.open,
        "protocol": None if protocol is None else protocol.value,
        "last_seen": format_time(None if presence is None else presence.last_seen),
        "connection": None
        if connection is None
        else {
            "connection_id": connection.connection_id,
            "gateway_id": connection.gateway_id,
            "security_profile": connection.security_profile,
            "address": connection.address or None,
            "connected_at": format_time(connection.connected_at),
            "closed_at": format_time(connection.closed_at),
            "close_code": connection.close_code,
            "close_reason": connection.close_reason or None,
        },
        "connectors": [
            {
                "evse_id": each.evse_id,
                "connector_id": each.connector_id,
                "status": each.status,
                "error_code": each.error_code,
                "info": each.info,
                "at": format_time(each.at),
                "received_at": format_time(each.received_at),
            }
            for _, each in sorted(({} if presence is None else presence.connectors).items())
        ],
        "repairs": [
            {"action": each.action, "repair": each.repair, "at": format_time(each.at)}
            for each in (() if presence is None else presence.repairs)
        ],
        "vendor": found.vendor or None,
        "model": found.model or None,
        "serial_number": found.serial_number,
        "firmware_version": found.firmware_version,
        "last_boot": None
        if found.boot is None
        else {
            "at": format_time(found.boot.at),
            "status": found.boot.status.ocpp,
            "reason": found.boot.reason,
        },
        "boot_request": None if desired is None else _boot_request(desired.boot_request),
        "last_refusal": None if presence is None else _last_refusal(presence.last_refusal),
        "duplicate_identity": None if presence is None else _contest(presence.duplicate_identity),
        "revision": found.revision,
        "created_at": format_time(found.created_at),
        "updated_at": format_time(found.updated_at),
    }


def _boot_request(request: BootRequest | None) -> dict[str, Any] | None:
    if request is None:
        return None
    return {
        "attempts": request.attempts,
        "asked_at": format_time(request.asked_at),
        "next_at": format_time(request.next_at),
        "detail": request.detail,
    }


def _last_refusal(refusal: LastRefusal | None) -> dict[str, Any] | None:
    if refusal is None:
        return None
    return {
        "at": format_time(refusal.at),
        "kind": refusal.kind,
        "reason": refusal.reason,
        "action": refusal.action or None,
        "address": refusal.address or None,
        "count": refusal.count,
    }


def _contest(contest: IdentityConflict | None) -> dict[str, Any] | None:
    if contest is None:
        return None
    return {
        "at": format_time(contest.at),
        "addresses": [contest.address or None, contest.other_address or None],
        "count": contest.count,
    }


def show_settings(station_id: str, desired: Desired) -> dict[str, Any]:
    """For each setting what is wanted, what the station reported, and how they stand."""
    shown = {item.key: _item(item) for item in desired.items}
    return {"station_id": station_id, "generation": desired.generation, "settings": shown}


def _item(item: StationSetting) -> dict[str, Any]:
    secret = is_secret(item.key)
    return {
        "wanted": HIDDEN if secret and item.wanted is not None else item.wanted,
        "reported": HIDDEN if secret and item.reported is not None else item.reported,
        "state": item.state.value,
        "layer": item.layer,
        "generation": item.generation,
        "detail": item.detail,
        "since": format_time(item.since),
        "reported_at": format_time(item.reported_at),
        "command_id": item.command_id,
        "attempts": item.attempts,
        "retry_at": format_time(item.retry_at),
    }


def show_layer(name: str, found: LayerSettings) -> dict[str, Any]:
    """Return a layer with its settings; secrets are hidden."""
    return {
        "name": name,
        "settings": {key: HIDDEN if is_secret(key) else value for key, value in found.items()},
    }


def show_command(found: Command) -> dict[str, Any]:
    """Return a command. Its payload is not shown: it may hold an id token."""
    return {
        "id": found.id,
        "station_id": found.station_id,
        "action": found.action,
        "status": found.status.value,
        "purpose": found.purpose.value,
        "idempotency_key": found.idempotency_key if found.own_key else None,
        "created_at": format_time(found.created_at),
        "expires_at": format_time(found.expires_at),
        "timeout_s": found.timeout_s,
        "attempt": found.attempt,
        "sent_at": format_time(found.sent_at),
        "ended_at": format_time(found.ended_at),
        "answer": found.answer,
        "answer_status": found.answer_status,
        "error_code": found.error_code,
        "error_description": found.error_description,
        "rejected_by": None if found.rejected_by is None else found.rejected_by.value,
        "repairs": list(found.repairs),
    }


def show_reservation(found: Reservation) -> dict[str, Any]:
    """Return a reservation; its token by reference only."""
    return {
        "id": found.id,
        "reservation_id": found.number,
        "station_id": found.station_id,
        "evse_id": found.evse_id,
        "connector_id": found.connector_id,
        "token_ref": found.token_ref or None,
        "state": found.state.value,
        "reason": found.reason,
        "expires_at": format_time(found.expires_at),
        "transaction_ref": found.transaction_ref,
        "command_id": found.command_id,
        "cancel_command_id": found.cancel_command_id,
        "revision": found.revision,
        "created_at": format_time(found.created_at),
        "updated_at": format_time(found.updated_at),
        "ended_at": format_time(found.ended_at),
    }


def format_time(time: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    if time is None:
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
