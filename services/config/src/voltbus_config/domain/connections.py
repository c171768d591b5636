"""Where a station is connected, folded from its log: the last `connected` wins.

`disconnected` counts only for the connection it names. A connection that was declared lost because
its gateway fell silent comes back when the station is seen on it (the gateway was only slow).

Everything is ordered by arrival: the order of the station's log, and the time at which a gateway
received it. A station's own clock may be hours or years away: what it says is kept as data only.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from voltbus_backbone.contract.stations import (
    DuplicateIdentity,
    StationConnected,
    StationDisconnected,
    StationRefused,
    StationRepaired,
    StationSeen,
    StatusReported,
)
from voltbus_backbone.contract.values import Message, Protocol

LOST = "gateway fell silent"
# Connectors kept of one station; the largest that are sold have a few dozen.
MOST_CONNECTORS = 200


class ReplacedConnection(Message, frozen=True):
    """The connection on another gateway that this one took over from, while it was still open."""

    connection_id: str
    gateway_id: str
    gateway_partition: int


class Connection(Message, frozen=True):
    """The newest connection of a station. ``ready_at``: from then on calls may be sent.

    A station that has just connected may be about to send Boot; calls wait for its answer, for a
    moment after another word, or for a while of silence (a station may reconnect without one).
    """

    connection_id: str
    gateway_id: str
    gateway_partition: int
    protocol: Protocol
    connected_at: datetime
    ready_at: datetime
    open: bool
    security_profile: int = 1
    closed_at: datetime | None = None
    close_code: int | None = None
    close_reason: str = ""
    replaced: ReplacedConnection | None = None
    address: str = ""

    @property
    def lost(self) -> bool:
        """Return whether it was declared lost rather than reported closed."""
        return not self.open and self.close_reason == LOST


class BootMarker(Message, frozen=True):
    """Marks on which connection calls may follow a Boot, or the first message that was none.

    ``ready_at``: from then on calls may follow it. It comes by another topic than the connection
    that it was sent on, and may be heard of first.
    """

    connection_id: str
    ready_at: datetime


class Connector(Message, frozen=True):
    """What a connector last said. In 1.6 there is no EVSE, and connector 0 is the station.

    ``at`` is the station's own word. ``received_at`` is when a gateway received it, ``offset`` its
    place in the log: what is delivered again from before it must not undo it.
    """

    status: str
    at: datetime
    received_at: datetime | None = None
    offset: int = -1
    evse_id: int | None = None
    connector_id: int | None = None
    error_code: str | None = None
    info: str | None = None


class LastRefusal(Message, frozen=True):
    """The last log-in or call that a gateway refused (StationRefused)."""

    at: datetime
    kind: str
    reason: str
    action: str
    address: str
    count: int


class IdentityConflict(Message, frozen=True):
    """The last time that two connections replaced each other (DuplicateIdentity)."""

    at: datetime
    address: str
    other_address: str
    count: int


class Repair(Message, frozen=True):
    """The last repair at one place in the station's messages of one action."""

    action: str
    repair: str
    at: datetime


class Presence(Message, frozen=True, rename={"id": "_id"}):
    """A station's connection, when it was last seen, and its connectors by number.

    ``revision`` grows with each write. ``log_offset`` and ``log_at`` are of the last connect or
    disconnect applied: what is delivered again from before it must not undo it.
    """

    id: str
    revision: int = 0
    connection: Connection | None = None
    booted: BootMarker | None = None
    log_offset: int = -1
    log_at: datetime | None = None
    last_seen: datetime | None = None
    connectors: dict[str, Connector] = msgspec.field(default_factory=dict)
    last_refusal: LastRefusal | None = None
    duplicate_identity: IdentityConflict | None = None
    repairs: tuple[Repair, ...] = ()

    def ready(self, now: datetime) -> bool:
        """Return whether a call may be sent now."""
        found = self.connection
        return found is not None and found.open and found.ready_at <= now


class PresenceUpdate(Message, frozen=True):
    """A station's presence after some events, and what they cause.

    ``takeovers``: connections on other gateways to be closed. ``arrived``: it connected or is back.
    ``dropped`` counts statuses of connectors beyond ``MOST_CONNECTORS``.
    """

    presence: Presence
    takeovers: tuple[ReplacedConnection, ...] = ()
    arrived: bool = False
    dropped: int = 0


StationLogEvent = (
    StationConnected
    | StationDisconnected
    | StationRefused
    | StationRepaired
    | DuplicateIdentity
    | StationSeen
    | StatusReported
)
# So many of a station's latest repairs are shown.
MOST_REPAIRS = 20


class LogEntry(NamedTuple):
    """An event in a station's log: its place there, and when a gateway (or config) wrote it."""

    event: StationLogEvent
    offset: int
    received_at: datetime


def apply_log(
    presence: Presence,
    entries: Iterable[LogEntry],
    now: datetime,
    settle: timedelta,
) -> PresenceUpdate:
    """Apply a station's events in the order of its log.

    Args:
        presence: What is stored of the station.
        entries: Its new log entries, in order.
        now: The time of this call; no sign of life is later.
        settle: How long calls wait for a Boot on a new connection.
    """
    takeovers: list[ReplacedConnection] = []
    arrived = False
    dropped = 0
    for event, offset, received_at in entries:
        if isinstance(event, StationRefused | DuplicateIdentity):
            # No sign of life: another client may have used this identity.
            presence = _apply_refusal(presence, event)
            continue
        presence = _record_sign_of_life(presence, event, min(received_at, now))
        if isinstance(event, StationConnected):
            presence = _apply_connected(presence, event, offset, now + settle)
            current = presence.connection
            if current is not None and current.connection_id == event.connection_id:
                arrived = True
                if current.replaced is not None:
                    takeovers.append(current.replaced)
        elif isinstance(event, StationDisconnected):
            presence = _apply_disconnected(presence, event, offset)
        elif isinstance(event, StationSeen):
            back = _revive(presence, event)
            arrived = arrived or back is not presence
            presence = back
        elif isinstance(event, StationRepaired):
            presence = _apply_repairs(presence, event)
        elif _has_room(presence, event):
            presence = _apply_status(presence, event, offset, received_at)
        else:
            dropped += 1
    return PresenceUpdate(
        presence=presence, takeovers=tuple(takeovers), arrived=arrived, dropped=dropped
    )


def _apply_refusal(presence: Presence, event: StationRefused | DuplicateIdentity) -> Presence:
    if isinstance(event, StationRefused):
        refusal = LastRefusal(
            at=event.at,
            kind=event.kind,
            reason=event.reason,
            action=event.action,
            address=event.address,
            count=event.count,
        )
        return msgspec.structs.replace(presence, last_refusal=refusal)
    contest = IdentityConflict(
        at=event.at, address=event.address, other_address=event.other_address, count=event.count
    )
    return msgspec.structs.replace(presence, duplicate_identity=contest)


def _is_old(presence: Presence, offset: int, at: datetime) -> bool:
    # Offsets start again when a topic was made anew; then the time tells.
    return offset <= presence.log_offset and presence.log_at is not None and at <= presence.log_at


def _record_sign_of_life(presence: Presence, event: StationLogEvent, at: datetime) -> Presence:
    """Record that the station was seen; its own loss is no sign of life."""
    if isinstance(event, StationDisconnected) and event.reason == LOST:
        return presence
    if presence.last_seen is not None and presence.last_seen >= at:
        return presence
    return msgspec.structs.replace(presence, last_seen=at)


def _apply_connected(
    presence: Presence, event: StationConnected, offset: int, ready_at: datetime
) -> Presence:
    before = presence.connection
    if _is_old(presence, offset, event.at):
        return presence  # delivered again; if it still stands, its takeover is repeated with it
    if presence.booted is not None and presence.booted.connection_id == event.connection_id:
        ready_at = min(ready_at, presence.booted.ready_at)
    replaced = None
    if (
        before is not None
        and before.gateway_id != event.gateway_id
        and (before.open or before.lost)
    ):
        replaced = ReplacedConnection(
            connection_id=before.connection_id,
            gateway_id=before.gateway_id,
            gateway_partition=before.gateway_partition,
        )
    connection = Connection(
        connection_id=event.connection_id,
        gateway_id=event.gateway_id,
        gateway_partition=event.gateway_partition,
        protocol=event.protocol,
        connected_at=event.at,
        ready_at=ready_at,
        open=True,
        security_profile=event.security_profile,
        replaced=replaced,
        address=event.address,
    )
    return msgspec.structs.replace(
        presence, connection=connection, log_offset=offset, log_at=event.at
    )


def _apply_disconnected(presence: Presence, event: StationDisconnected, offset: int) -> Presence:
    connection = presence.connection
    if connection is None or connection.connection_id != event.connection_id:
        return presence
    if _is_old(presence, offset, event.at) or not (connection.open or connection.lost):
        return presence
    return msgspec.structs.replace(
        presence,
        log_offset=offset,
        log_at=event.at,
        connection=msgspec.structs.replace(
            connection,
            open=False,
            closed_at=event.at,
            close_code=event.code,
            close_reason=event.reason,
        ),
    )


def _revive(presence: Presence, event: StationSeen) -> Presence:
    connection = presence.connection
    if (
        connection is None
        or not connection.lost
        or connection.connection_id != event.connection_id
        or (connection.closed_at is not None and event.at <= connection.closed_at)
    ):
        return presence
    return msgspec.structs.replace(
        presence,
        connection=msgspec.structs.replace(
            connection, open=True, closed_at=None, close_code=None, close_reason=""
        ),
    )


def _has_room(presence: Presence, event: StatusReported) -> bool:
    """Return whether this connector is kept: invented numbers must not fill the store."""
    if len(presence.connectors) < MOST_CONNECTORS:
        return True
    return connector_name(event.evse_id, event.connector_id) in presence.connectors


def _apply_status(
    presence: Presence, event: StatusReported, offset: int, received_at: datetime
) -> Presence:
    place = connector_name(event.evse_id, event.connector_id)
    known = presence.connectors.get(place)
    if known is not None and _is_delivered_again(known, offset, received_at):
        return presence
    connector = Connector(
        status=event.status,
        at=event.at,
        received_at=received_at,
        offset=offset,
        evse_id=event.evse_id,
        connector_id=event.connector_id,
        error_code=event.error_code,
        info=event.info,
    )
    return msgspec.structs.replace(presence, connectors={**presence.connectors, place: connector})


def _is_delivered_again(known: Connector, offset: int, received_at: datetime) -> bool:
    """Return whether this precedes what is known, as ``_is_old`` does for connections."""
    return (
        offset <= known.offset
        and known.received_at is not None
        and received_at <= known.received_at
    )


def _apply_repairs(presence: Presence, event: StationRepaired) -> Presence:
    """Put the latest repairs first, each of them once."""
    told = [Repair(action=event.action, repair=what, at=event.at) for what in event.repairs]
    again = {(event.action, what) for what in event.repairs}
    kept = [each for each in presence.repairs if (each.action, each.repair) not in again]
    return msgspec.structs.replace(presence, repairs=(*told, *kept)[:MOST_REPAIRS])


def connector_name(evse_id: int | None, connector_id: int | None) -> str:
    """Return the key of a connector: "2" in 1.6, "1-2" (EVSE and connector) in 2.x."""
    if evse_id is None:
        return str(connector_id or 0)
    return f"{evse_id}-{connector_id or 0}"
