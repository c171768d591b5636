"""The published state of a station (`stations.state`)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.registry import STATION_STATE
from voltbus_backbone.contract.stations import StationState
from voltbus_backbone.contract.values import OpeningHours
from voltbus_config.domain.layers import OPENING_HOURS, PAYMENT_METHODS
from voltbus_config.domain.outgoing import OutgoingMessage

if TYPE_CHECKING:
    from voltbus_config.domain.desired import Desired
    from voltbus_config.domain.reconciliation.inputs import StationSnapshot
    from voltbus_config.domain.stations import RegisteredStation, Registration


def publish_state(
    snapshot: StationSnapshot, standing: Registration, desired: Desired, now: datetime
) -> tuple[Desired, OutgoingMessage | None]:
    """Build the station's state message where it differs from the last one published.

    Returns:
        The desired state, which remembers what was published, and the message or None.
    """
    if snapshot.station is None:
        return desired, None
    state = _build_state(snapshot, snapshot.station, standing)
    text = msgspec.json.encode(state, order="deterministic").decode()
    if text == desired.published:
        return desired, None
    revision = desired.published_revision + 1
    outgoing = OutgoingMessage(
        STATION_STATE,
        msgspec.structs.replace(state, revision=revision, at=now),
        f"state:{snapshot.station_id}:{revision}",
    )
    return (
        msgspec.structs.replace(desired, published=text, published_revision=revision),
        outgoing,
    )


def _build_state(
    snapshot: StationSnapshot, station: RegisteredStation, standing: Registration
) -> StationState:
    hours = snapshot.wanted.get(OPENING_HOURS)
    methods = snapshot.wanted.get(PAYMENT_METHODS)
    connection = snapshot.presence.connection
    return StationState(
        station_id=station.id,
        revision=0,
        at=datetime.min,  # noqa: DTZ901 - set when it is told; it must not count as a difference
        registration=standing.ocpp,
        group_id=station.group_id,
        site_id=station.site_id,
        opening_hours=None if hours is None else msgspec.convert(hours.value, OpeningHours),
        payment_methods=() if methods is None else tuple(methods.value),
        evse_kinds=station.evse_kinds,
        protocol=station.protocol if connection is None else connection.protocol,
    )
