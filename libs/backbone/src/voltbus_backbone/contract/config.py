"""What the config service is asked (`config.requests`), and the life of a command."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from voltbus_backbone.contract.values import Message, Protocol


class Boot(Message, frozen=True):
    """A station boots: is it accepted? (request)

    Only 1.6 names the meter, and a box beside the charge point. ``vendor`` and ``model`` are empty
    where the station's could not be read. ``repairs``: what was mended in the message, as short
    sentences without values.
    """

    station_id: str
    connection_id: str
    protocol: Protocol
    at: datetime
    vendor: str
    model: str
    serial_number: str | None = None
    firmware_version: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    reason: str | None = None
    certificate_cn: str | None = None
    meter_type: str | None = None
    meter_serial_number: str | None = None
    box_serial_number: str | None = None
    repairs: tuple[str, ...] = ()


class BootAnswer(Message, frozen=True):
    """Accepted, Pending or Rejected; ``interval`` in seconds: heartbeat or retry."""

    status: str
    interval: int


class Registration(Message, frozen=True):
    """Is this station, which reconnects without a BootNotification, registered? (request)

    ``connection_id``: on which it says something else first.
    """

    station_id: str
    protocol: Protocol
    connection_id: str = ""


class CommandRequested(Message, frozen=True):
    """Someone wants a call sent to a station. (request)

    ``payload`` is OCPP's, of the station's version. ``expires_at``: given up when not sent by then.
    ``timeout_s``: what the station may take to answer, at most 600.
    ``cause`` is repeated in the command's events, for a service that follows its own commands.
    """

    station_id: str
    action: str
    payload: dict[str, Any] = {}
    idempotency_key: str | None = None
    expires_at: datetime | None = None
    timeout_s: float = 30.0
    cause: str | None = None


class CommandAccepted(Message, frozen=True):
    """The answer to CommandRequested: the command is stored and will end in one state."""

    command_id: str
    status: str


class CallOutcome(StrEnum):
    """What became of a call that a gateway was told to send."""

    ANSWERED = "answered"
    REJECTED = "rejected"  # the station answered with a CALLERROR
    TIMED_OUT = "timed_out"
    NOT_CONNECTED = "not_connected"
    INVALID = "invalid"  # the payload breaks the schema; it was not sent


class RejectedBy(StrEnum):
    """Who refused a command: the station, by a CALLERROR; its gateway; or config."""

    STATION = "station"
    GATEWAY = "gateway"
    CONFIG = "config"


class CallEnded(Message, frozen=True):
    """A gateway reports what a station answered. (to `config.requests`, a fact)

    ``attempt`` is that of the SendCall; 0 where it had none. ``late``: it is not_connected only in
    that it was not sent: SendCall, or its turn, came after its ``not_after``. An answer that could
    not be read is ``timed_out`` with that reason. ``repairs``: what does not fit the schema in an
    answer that is kept all the same, as short sentences without values.
    ``unsent``: it was refused before it could leave. ``rejected_by``: who refused it, if anybody.
    """

    command_id: str
    station_id: str
    connection_id: str
    outcome: CallOutcome
    at: datetime
    payload: dict[str, Any] | None = None
    error_code: str | None = None
    error_description: str | None = None
    attempt: int = 0
    late: bool = False
    unsent: bool = False
    rejected_by: RejectedBy | None = None
    repairs: tuple[str, ...] = ()


class CommandStatus(StrEnum):
    """The states of a command; all but the first two are final, and one is reached exactly once."""

    QUEUED = "queued"
    SENT = "sent"
    ANSWERED = "answered"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class CommandChanged(Message, frozen=True):
    """A command's state (`commands.events`). Payloads stay out: they may carry secrets.

    ``told`` has the numbers in the answer that can be neither a secret nor an identifier, under
    OCPP's names; which they are is a table of config's. ``connection_id``: the connection that it
    was sent on. ``rejected_by``: who refused it, where it is rejected.
    """

    command_id: str
    station_id: str
    action: str
    status: CommandStatus
    at: datetime
    answer_status: str | None = None
    error_code: str | None = None
    cause: str | None = None
    told: dict[str, int] = {}
    connection_id: str | None = None
    rejected_by: RejectedBy | None = None


class ReservationChanged(Message, frozen=True):
    """A reservation's state (`commands.events`): a place kept for a token until ``expires_at``.

    ``id`` is ours; ``reservation_id`` is OCPP's number at the station, as transactions repeat it.
    ``state`` is one of pending, active, used, cancelled, expired, rejected, removed.
    """

    id: str
    reservation_id: int
    station_id: str
    state: str
    token_ref: str
    expires_at: datetime
    at: datetime
    revision: int
    evse_id: int | None = None
    connector_id: int | None = None
    transaction_ref: str | None = None
    reason: str | None = None
