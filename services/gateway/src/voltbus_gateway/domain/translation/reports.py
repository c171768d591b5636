"""Facts that are published under their OCPP action with their payload (``StationReported``).

Events are public and kept for days, so what identifies a person or opens a door is left out here:
id tokens, customer data, contract requests, and the values of variables that hold secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.stations import StationReported
from voltbus_backbone.values.hidden import is_hidden
from voltbus_gateway.domain.wire.limits import check_storable
from voltbus_gateway.domain.wire.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_gateway.domain.translation.route import Context, ToContract
    from voltbus_gateway.domain.wire.frames import Payload


def make_translation(
    action: str, moment: str | None = None, select: Callable[[Payload], Payload] | None = None
) -> ToContract:
    """Make the translation of ``action``; ``moment`` names its timestamp, ``select`` filters it."""

    def translate(payload: Payload, context: Context) -> StationReported:
        text = payload.get(moment) if moment is not None else None
        return StationReported(
            station_id=context.station_id,
            protocol=context.protocol,
            action=action,
            at=parse_time(text) if text is not None else context.now,
            payload=check_storable(select(payload) if select is not None else payload),
        )

    return translate


def keep_only(*names: str) -> Callable[[Payload], Payload]:
    """Keep these properties."""

    def select(payload: Payload) -> Payload:
        return {name: payload[name] for name in names if name in payload}

    return select


def leave_out(*names: str) -> Callable[[Payload], Payload]:
    """Leave these properties out."""

    def select(payload: Payload) -> Payload:
        return {name: value for name, value in payload.items() if name not in names}

    return select


def hide_report_secrets(payload: Payload) -> Payload:
    """Hide the values of secrets in NotifyReport (a WriteOnly one has none, B06.FR.09)."""
    data = payload.get("reportData")
    if not data:
        return payload
    return {**payload, "reportData": [_hide_variable_secrets(entry) for entry in data]}


def _hide_variable_secrets(entry: dict[str, Any]) -> dict[str, Any]:
    hidden = is_hidden(entry["variable"]["name"])
    attributes = [
        {name: value for name, value in attribute.items() if name != "value"}
        if hidden or attribute.get("mutability") == "WriteOnly"
        else attribute
        for attribute in entry["variableAttribute"]
    ]
    return {**entry, "variableAttribute": attributes}


def hide_event_secrets(payload: Payload) -> Payload:
    """Hide the values of secrets, tokens and vehicles in NotifyEvent."""
    events = [
        {**event, "actualValue": ""} if is_hidden(event["variable"]["name"]) else event
        for event in payload["eventData"]
    ]
    return {**payload, "eventData": events}
