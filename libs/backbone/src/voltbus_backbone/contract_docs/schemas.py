"""One JSON Schema (draft 2020-12) for each message type."""

from __future__ import annotations

import inspect
import json
from datetime import datetime
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from voltbus_backbone.contract.values import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltbus_backbone.contract.registry import MessageType

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/"

Schema = dict[str, Any]


@cache
def schema_of(row: MessageType[Any]) -> Schema:
    """The schema of a type's body. Timestamps are RFC 3339 in UTC; unknown fields are allowed."""
    made = msgspec.json.schema(row.body)
    definitions: dict[str, Schema] = made["$defs"]
    for definition in definitions.values():
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    for name, struct in structs_within(row.body).items():
        _mark_times(definitions[name], struct)
    schema = {
        "$schema": DIALECT,
        "$id": row.schema_id,
        "title": row.name,
        "$ref": made["$ref"],
        "$defs": dict(sorted(definitions.items())),
    }
    # As JSON has it: msgspec gives some defaults as tuples.
    plain: Schema = json.loads(json.dumps(schema))
    return plain


def structs_within(body: type[Message]) -> dict[str, type[Message]]:
    """A message's own struct and every struct that a value of it can hold, by name."""
    found: dict[str, type[Message]] = {}
    waiting: list[Any] = [body]
    while waiting:
        kind = waiting.pop()
        if not isinstance(kind, type) or not issubclass(kind, Message):
            waiting.extend(get_args(kind))
        elif kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting.extend(get_type_hints(kind).values())
    return found


def fields_within(body: type[Message]) -> Iterator[tuple[str, str, Any]]:
    """Struct, field and type of everything that a value of this message can hold."""
    for name, struct in structs_within(body).items():
        for field in msgspec.structs.fields(struct):
            yield name, field.name, field.type


def _mark_times(definition: Schema, struct: type[Message]) -> None:
    for field in msgspec.structs.fields(struct):
        target = definition["properties"][field.encode_name]
        if field.type is datetime:
            target["format"] = "date-time"
        elif get_origin(field.type) in {Union, UnionType} and datetime in get_args(field.type):
            for option in target["anyOf"]:
                if option.get("type") == "string":
                    option["format"] = "date-time"
