"""The calls towards stations: which actions each version has, and their check before sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.values.actions import TO_STATIONS
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.schemas import check_request

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.wire.frames import Payload


def to_stations(protocol: Protocol) -> frozenset[str]:
    """The actions that we may send a station of this version."""
    return TO_STATIONS[protocol]


def check_call(protocol: Protocol, action: str, payload: Payload) -> None:
    """Check a call before it leaves; unknown properties are always refused here.

    Raises:
        CallFailed: NotImplemented for an action that the version doesn't send to stations,
            otherwise what the schema says.
    """
    if action not in to_stations(protocol):
        raise CallFailed(
            ErrorCode.NOT_IMPLEMENTED, f"{protocol} has no such call to a charging station"
        )
    check_request(protocol, action, payload)
