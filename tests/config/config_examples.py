"""Examples for the pure tests of config, and OCPP's own schemas to hold payloads against."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)  # a Monday; 14:00 in Stockholm
EVERY_PROTOCOL = list(Protocol)
_FOLDERS = {Protocol.OCPP16: "v16", Protocol.OCPP201: "v201", Protocol.OCPP21: "v21"}


@cache
def _schema(protocol: Protocol, action: str) -> jsonschema_rs.Validator:
    name = action if protocol is Protocol.OCPP16 else f"{action}Request"
    folder = resources.files("ocpp") / _FOLDERS[protocol] / "schemas"
    schema: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8-sig"))
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def assert_valid(protocol: Protocol, action: str, payload: dict[str, Any]) -> None:
    """The payload is what OCPP's schema of this version allows."""
    _schema(protocol, action).validate(payload)


def ids() -> Callable[[datetime], str]:
    """Command ids that count."""
    numbers = itertools.count(1)
    return lambda _: f"cmd-{next(numbers):06}"
