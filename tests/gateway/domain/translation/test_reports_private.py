"""What a station reports of its variables is public, but for secrets and who charges."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation.route import Context
from voltbus_gateway.domain.translation.routes import find_route

MOMENT = "2026-03-04T12:00:00Z"
VALUE = "04A1B2C3D4E5F6"
NAMES = ("Token", "VehicleId", "SimPin", "VpnKey", "BasicAuthPassword", "PrivateKey")


def translate_report(action: str, payload: dict[str, Any]) -> str:
    """The event of a message of 2.0.1, as text."""
    route = find_route(Protocol.OCPP201, action)
    assert route.to_contract is not None
    context = Context("CS-1", "1", Protocol.OCPP201, datetime(2026, 3, 4, 12, tzinfo=UTC))
    return str(route.to_contract(payload, context))


@pytest.mark.parametrize("name", NAMES)
def test_a_report_shows_no_secret(name: str) -> None:
    """NotifyReport names the variable and leaves its value out (OCPP 2.0.1 A01.FR.08)."""
    attributes = [{"value": VALUE, "mutability": "ReadWrite"}]
    data = {
        "component": {"name": "Any"},
        "variable": {"name": name},
        "variableAttribute": attributes,
    }
    text = translate_report(
        "NotifyReport", {"requestId": 1, "generatedAt": MOMENT, "seqNo": 0, "reportData": [data]}
    )
    assert name in text
    assert VALUE not in text


@pytest.mark.parametrize("name", NAMES)
def test_an_event_names_nobody(name: str) -> None:
    """NotifyEvent of TokenReader.Token or ConnectedEV.VehicleId tells no card and no vehicle."""
    data = {
        "eventId": 1,
        "timestamp": MOMENT,
        "trigger": "Delta",
        "actualValue": VALUE,
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": "TokenReader"},
        "variable": {"name": name},
    }
    text = translate_report("NotifyEvent", {"generatedAt": MOMENT, "seqNo": 0, "eventData": [data]})
    assert name in text
    assert VALUE not in text
