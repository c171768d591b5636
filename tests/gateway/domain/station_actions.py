"""The actions that stations send: what the schemas know and we do not send ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.values.actions import BOTH_WAYS, TO_STATIONS
from voltbus_gateway.domain.wire.schemas import actions

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol


def list_station_actions(protocol: Protocol) -> frozenset[str]:
    """Return the actions that a station of this version may send."""
    return (actions(protocol) - TO_STATIONS[protocol]) | BOTH_WAYS
