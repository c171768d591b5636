"""The payloads of commands as the OpenAPI document shows them: one alternative for each action."""

from __future__ import annotations

from typing import Any

import msgspec

from voltbus_backbone.values.actions import TO_STATIONS
from voltbus_config.domain.shapes import SHAPES

_REFERENCE = "#/$defs/"


def document_payloads(schema: dict[str, Any]) -> None:
    """Add to the schema of a command's body which payload goes with which action."""
    actions = sorted(set().union(*TO_STATIONS.values()))
    schema["anyOf"] = [
        *(_build_alternative(action, _inline(shape)) for action, shape in SHAPES.items()),
        {
            "title": "An action of OCPP's own",
            "description": "Its payload is that of the station's version, as OCPP has it.",
            "properties": {"action": {"enum": actions}, "payload": {"type": "object"}},
        },
    ]


def _build_alternative(action: str, payload: dict[str, Any]) -> dict[str, Any]:
    needed = ["action", "payload"] if payload.get("required") else ["action"]
    return {
        "title": action,
        "description": payload.get("description", ""),
        "properties": {"action": {"const": action}, "payload": payload},
        "required": needed,
    }


def _inline(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a shape, with what it refers to put in place: OpenAPI has no $defs."""
    found = msgspec.json.schema(shape)
    definitions = found.get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(each) for each in part]
        if not isinstance(part, dict):
            return part
        reference = part.get("$ref", "")
        if reference.startswith(_REFERENCE):
            return resolve(definitions[reference.removeprefix(_REFERENCE)])
        return {name: resolve(each) for name, each in part.items() if name != "$defs"}

    resolved: dict[str, Any] = resolve(found)
    return resolved
