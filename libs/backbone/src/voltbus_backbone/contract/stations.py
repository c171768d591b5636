"""Facts about stations (`stations.events`) and their compacted snapshot (`stations.state`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from voltbus_backbone.contract.values import Message, OpeningHours, Protocol, Sample


class StationConnected(Message, frozen=True):
    """A socket was accepted. The last one in the station's log wins.

    ``certificate_serial``: hex, of the certificate that it logged in with (profile 3).
    ``credential_id`` is auth's name for what the station logged in with; empty without a password.
    ``address``: of the other end of the socket, which may be a proxy's.
    """

    station_id: str
    connection_id: str
    gateway_id: str
    gateway_partition: int
    protocol: Protocol
    at: datetime
    security_profile: int = 1
    certificate_serial: str | None = None
    credential_id: str = ""
    address: str = ""


class StationDisconnected(Message, frozen=True):
    """A socket ended; it counts only for the connection it names. ``code`` as in RFC 6455."""

    station_id: str
    connection_id: str
    gateway_id: str
    at: datetime
    code: int = 1006
    reason: str = ""


class StationRefused(Message, frozen=True):
    """A log-in or a call of a registered station was refused.

    The first of its kind is told at once, then one a minute at most: ``count`` is how often this
    gateway refused the same since it began, which ends with an hour without. ``kind`` is login or
    call. ``reason`` is the gateway's word for a log-in, and OCPP's error code for a call, whose
    ``action`` is empty where it is none of that version. ``address``: of the other end.
    """

    station_id: str
    gateway_id: str
    at: datetime
    kind: str
    reason: str
    action: str = ""
    address: str = ""
    count: int = 1


class DuplicateIdentity(Message, frozen=True):
    """Two live connections with one identity push each other out.

    ``address`` is of the one that lost its place, ``other_address`` of the one that took it.
    ``count``: how often that has happened here since it began. For ``pause_s`` seconds the one that
    holds the place now keeps it, if it lives.
    """

    station_id: str
    gateway_id: str
    at: datetime
    address: str = ""
    other_address: str = ""
    count: int = 1
    pause_s: float = 0.0


class GatewayBeat(Message, frozen=True):
    """A gateway is alive, with this many connections. A silent one's connections are lost.

    Keyed by gateway. ``leaving`` is true on the last beat of an orderly shutdown. ``started_at`` is
    when this process began: a restarted gateway has none of the connections from before.
    """

    gateway_id: str
    gateway_partition: int
    connections: int
    at: datetime
    leaving: bool = False
    started_at: datetime | None = None


class StationSeen(Message, frozen=True):
    """The station was alive at this time (thinned Heartbeats)."""

    station_id: str
    connection_id: str
    at: datetime


class StatusReported(Message, frozen=True):
    """A connector's state, in OCPP's own word of that version.

    ``evse_id`` and ``connector_id``: in 1.6 there is only a connector, and 0 is the whole station.
    ``status`` is ``Unknown`` where the station's word could not be understood. ``repairs``: what
    was mended in the message, as short sentences without values, in all facts of a station alike.
    """

    station_id: str
    protocol: Protocol
    status: str
    at: datetime
    evse_id: int | None = None
    connector_id: int | None = None
    error_code: str | None = None
    info: str | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None
    repairs: tuple[str, ...] = ()


class MeterValuesReported(Message, frozen=True):
    """Measured values outside or inside a transaction."""

    station_id: str
    protocol: Protocol
    at: datetime
    samples: tuple[Sample, ...]
    evse_id: int | None = None
    connector_id: int | None = None
    transaction_id: str | None = None
    repairs: tuple[str, ...] = ()


class FirmwareStatusReported(Message, frozen=True):
    """FirmwareStatusNotification of any version; ``request_id`` where the version has one.

    ``reason_code`` and ``info`` are 2.1's statusInfo.
    """

    station_id: str
    protocol: Protocol
    status: str
    at: datetime
    request_id: int | None = None
    reason_code: str | None = None
    info: str | None = None
    repairs: tuple[str, ...] = ()


class LogStatusReported(Message, frozen=True):
    """DiagnosticsStatusNotification (1.6) or LogStatusNotification: an upload's progress.

    ``reason_code`` and ``info`` are 2.1's statusInfo.
    """

    station_id: str
    protocol: Protocol
    status: str
    at: datetime
    request_id: int | None = None
    reason_code: str | None = None
    info: str | None = None
    repairs: tuple[str, ...] = ()


class SecurityEventReported(Message, frozen=True):
    """SecurityEventNotification (OCPP Security Whitepaper, A04)."""

    station_id: str
    protocol: Protocol
    type: str
    at: datetime
    tech_info: str | None = None
    repairs: tuple[str, ...] = ()


class StationReported(Message, frozen=True):
    """Any other fact a station tells, under its OCPP action with its OCPP payload as it came.

    ``repairs``: what was left out of a payload that was too large, as short sentences.
    """

    station_id: str
    protocol: Protocol
    action: str
    at: datetime
    payload: dict[str, Any] = {}
    repairs: tuple[str, ...] = ()


class StationRepaired(Message, frozen=True):
    """A station sends what does not fit OCPP's schema, and it is read all the same.

    ``repairs``: what was mended in its message of this ``action`` (or in its answer to our call of
    that action), as short sentences "place: what" without values. The same place in the same action
    of a station is told at most once an hour.
    """

    station_id: str
    protocol: Protocol
    action: str
    at: datetime
    repairs: tuple[str, ...]


class StationBooted(Message, frozen=True):
    """BootNotification was answered; ``status`` is Accepted, Pending or Rejected.

    Only OCPP 1.6 names the meter.
    """

    station_id: str
    protocol: Protocol
    status: str
    at: datetime
    vendor: str = ""
    model: str = ""
    serial_number: str | None = None
    firmware_version: str | None = None
    reason: str | None = None
    meter_type: str | None = None
    meter_serial_number: str | None = None


class StationRegistered(Message, frozen=True):
    """An operator registered, changed or removed a station."""

    station_id: str
    status: str
    at: datetime
    removed: bool = False


class SettingChanged(Message, frozen=True):
    """A setting's state at a station moved. Values of secrets are never here.

    ``state`` is one of pending, in_sync, drifted, reboot_required, rejected, unsupported, unknown.
    """

    station_id: str
    key: str
    state: str
    generation: int
    at: datetime
    layer: str = "station"
    detail: str | None = None


class StationState(Message, frozen=True):
    """Snapshot of what others need of a station (`stations.state`, compacted; owner: config)."""

    station_id: str
    revision: int
    at: datetime
    registration: str = "Accepted"
    group_id: str | None = None
    site_id: str | None = None
    opening_hours: OpeningHours | None = None
    payment_methods: tuple[str, ...] = ()
    evse_kinds: dict[str, str] = {}
    protocol: Protocol | None = None
