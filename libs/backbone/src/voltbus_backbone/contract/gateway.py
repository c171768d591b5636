"""What a gateway is told through its partition of `gateway.inbox`, beside replies.

Several gateways may share a partition: ``ce_subject`` is the gateway's id, so that the others skip
the record by its header.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from voltbus_backbone.contract.values import Message


class SendCall(Message, frozen=True):
    """Send this call to this station and report CallEnded to `config.requests`.

    ``connection_id`` names the connection that config believes in; when the station is on another
    connection of the same gateway, that one is used. ``timeout_s`` in seconds from sending.
    ``not_after``: a call that could only be sent later is not sent, and reported ``late``.
    ``attempt`` counts how often config has sent this command; the report repeats it.
    """

    command_id: str
    gateway_id: str
    station_id: str
    connection_id: str
    action: str
    payload: dict[str, Any] = {}
    timeout_s: float = 30.0
    not_after: datetime | None = None
    attempt: int = 0


class CloseConnection(Message, frozen=True):
    """Close this connection if it is still open: the station has a newer one elsewhere.

    ``address``: of the other end of the newer one.
    """

    gateway_id: str
    station_id: str
    connection_id: str
    code: int = 1008
    reason: str = ""
    address: str = ""


class RegistrationChanged(Message, frozen=True):
    """The station's registration is now Accepted, Pending or Rejected."""

    gateway_id: str
    station_id: str
    connection_id: str
    status: str
