"""Whatever a station says reaches whoever subscribes, but for what is left out on purpose.

Each action's own schema gives a message with every property that it knows, each value another one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from gateway.domain.station_actions import list_station_actions
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation.route import Context
from voltbus_gateway.domain.translation.routes import find_route
from voltbus_gateway.domain.wire.schemas import check_request

if TYPE_CHECKING:
    from collections.abc import Iterator

PERSONAL = "it may name a person, and events are public"
LEFT_OUT = {
    ("DataTransfer", "data"): PERSONAL,
    ("NotifyCustomerInformation", "data"): PERSONAL,
    ("BatterySwap", "idToken"): PERSONAL,
}
FOLDERS = {Protocol.OCPP16: "v16", Protocol.OCPP201: "v201", Protocol.OCPP21: "v21"}


def schema_of(protocol: Protocol, action: str) -> dict[str, Any]:
    """OCPP's own schema of a station's message."""
    folder = resources.files("ocpp") / FOLDERS[protocol] / "schemas"
    names = (action, f"{action}Request")
    (found,) = [path for name in names if (path := folder / f"{name}.json").is_file()]
    schema: dict[str, Any] = orjson.loads(found.read_bytes())
    return schema


class Full:
    """A message with everything in it; ``marks`` are the values that must be found again."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._definitions = schema.get("definitions", {})
        self._numbers = count(100_001)
        self.marks: list[tuple[str, str]] = []
        self.payload = self._make(schema, "")

    def _make(self, schema: dict[str, Any], place: str) -> Any:
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        match schema.get("type"):
            case "object":
                members = schema.get("properties", {}).items()
                return {
                    name: self._make(inner, f"{place}.{name}".lstrip("."))
                    for name, inner in members
                    if name != "customData"
                }
            case "array":
                return [
                    self._make(schema["items"], place) for _ in range(schema.get("minItems", 1))
                ]
            case "boolean":
                return True
            case kind:
                return self._leaf(schema, kind, place)

    def _leaf(self, schema: dict[str, Any], kind: str | None, place: str) -> Any:
        if "enum" in schema:
            return schema["enum"][-1]
        for bound in ("maximum", "minimum"):
            if bound in schema:
                return schema[bound]
        number = next(self._numbers)
        if kind in {"integer", "number"}:
            self.marks.append((place, str(number)))
            return number
        if schema.get("format") == "date-time":
            self.marks.append((place, f".{number}"))
            return f"2031-01-01T00:00:00.{number}Z"
        text = f"s{number}"[: schema.get("maxLength", 99)]
        self.marks.append((place, text))
        return text


def actions() -> Iterator[Any]:
    """Every message of a station, in each version."""
    for protocol in Protocol:
        for action in sorted(list_station_actions(protocol)):
            yield pytest.param(protocol, action, id=f"{protocol.value} {action}")


@pytest.mark.parametrize(("protocol", "action"), list(actions()))
def test_what_a_station_says_is_told(protocol: Protocol, action: str) -> None:
    """The contract's message has every value, but for those of the table (issue 4, point 2)."""
    full = Full(schema_of(protocol, action))
    check_request(protocol, action, full.payload)
    route = find_route(protocol, action)
    if route.to_contract is None:
        return
    context = Context("CS-1", "c-1", protocol, datetime(2026, 3, 1, tzinfo=UTC))
    told = msgspec.json.encode(route.to_contract(full.payload, context)).decode()
    lost = {place for place, mark in full.marks if mark not in told}
    meant = {place for place in lost if (action, place.partition(".")[0]) in LEFT_OUT}
    assert lost == meant
