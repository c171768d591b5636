"""Stations that refuse to boot on request because they hold themselves accepted are taken so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_config.domain import boot_requests
from voltbus_config.domain.outgoing import OutgoingMessage, build_registration_changed
from voltbus_config.domain.stations import accept_without_boot, effective_registration

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_config.domain.commands import Command
    from voltbus_config.domain.stations import RegisteredStation
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.store import Session


async def accept_refusing_stations(
    refused: Iterable[Command],
    stations: dict[str, RegisteredStation],
    context: ServiceContext,
    now: datetime,
    session: Session,
) -> list[OutgoingMessage]:
    """Store what the refused commands tell of their stations; their gateways are to hear it.

    ``refused`` still have their payloads. ``stations`` are changed in place.
    """
    policy = context.settings.unknown_station
    asked = {
        command.station_id: command
        for command in refused
        if command.station_id in stations
        and boot_requests.owes_boot(stations[command.station_id], policy)
        and boot_requests.asks_to_boot(command)
    }
    presence = await context.store.presence.get(asked, session)
    accepted, messages = [], []
    for station_id, command in asked.items():
        known = presence.get(station_id)
        connection = None if known is None else known.connection
        if connection is None or not boot_requests.says_accepted(connection.protocol):
            continue
        station = accept_without_boot(
            stations[station_id], f"accepted:{command.id}", connection.connection_id, now
        )
        stations[station_id] = station
        accepted.append(station)
        status = effective_registration(station, policy).ocpp
        messages.append(
            build_registration_changed(station_id, status, connection, station.revision)
        )
    await context.store.stations.put(accepted, session)
    return messages
