"""OCPP's schemas with what the table of repairs states that it lets pass.

Written apart from the code that mends, as JSON Schema again: so that what is mended can be judged.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from voltbus_gateway.domain.repairs.fields import Rule
from voltbus_gateway.domain.repairs.table import find_fact_rules
from voltbus_gateway.domain.wire.schemas import Kind, Validator, load_schema

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.repairs.fields import Rules

LONGEST_NAME = 50


@cache
def relaxed_validator(protocol: Protocol, action: str) -> Validator:
    """What a mended fact of this action must fit."""
    schema, rules = load_schema(protocol, action, Kind.REQUEST), find_fact_rules(protocol, action)
    assert schema is not None
    assert rules is not None
    relaxed = _relaxed(schema, schema.get("definitions", {}), rules, "")
    return Validator({"$schema": schema["$schema"], **relaxed})


def _relaxed(
    schema: dict[str, Any], definitions: dict[str, Any], rules: Rules, place: str
) -> dict[str, Any]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    known = {"type", "minimum", "maximum", "format", "minItems", "maxItems", "additionalProperties"}
    made = {name: value for name, value in schema.items() if name in known}
    rule = rules.fields.get(place, rules.default)
    if "maxLength" in schema:
        made["maxLength"] = max(schema["maxLength"], rule.longest)
    if "enum" in schema and not rule.word:
        made["enum"] = [*schema["enum"], *([rule.other] if rule.other else [])]
    if rule.word and "enum" in schema:
        made["maxLength"] = LONGEST_NAME
    if "items" in schema:
        made["items"] = _relaxed(schema["items"], definitions, rules, place)
    properties = {
        name: _relaxed(inner, definitions, rules, f"{place}.{name}".lstrip("."))
        for name, inner in schema.get("properties", {}).items()
    }
    if properties:
        made["properties"] = properties
    wanted = [
        name
        for name in schema.get("required", ())
        if not rules.fields.get(f"{place}.{name}".lstrip("."), Rule()).optional
    ]
    return made | ({"required": wanted} if wanted else {})
