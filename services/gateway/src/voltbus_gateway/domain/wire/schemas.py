"""Payload validation by the JSON schemas that the ``ocpp`` package ships.

One validator per (protocol, action, request or response), compiled when first needed and kept.
A payload is first only found valid or not (0.1-1 microsecond); what is not is looked at again, to
say what is wrong and where.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltbus_gateway.domain.wire.frames import Payload

# The actions that are a SEND (2.1): their schemas have no response.
UNANSWERED = frozenset({"NotifyPeriodicEventStream"})

_FOLDERS = {Protocol.OCPP16: "v16", Protocol.OCPP201: "v201", Protocol.OCPP21: "v21"}


class Kind(StrEnum):
    """Which half of an action a payload is."""

    REQUEST = "request"
    RESPONSE = "response"


class Extras(StrEnum):
    """What becomes of properties that the schema does not know [P]."""

    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - not a password


# Which CALLERROR a broken schema keyword is (2.x Part 4 §4.3; 1.6 §4.2.3). The `ocpp` library says
# ProtocolError for a missing property and TypeConstraintViolation for one that is too long; the
# specification's own table has more fitting codes for both.
_CODES = {
    "type": ErrorCode.TYPE_CONSTRAINT_VIOLATION,
    "required": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "minItems": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "maxItems": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "additionalProperties": ErrorCode.FORMAT_VIOLATION,
    "additionalItems": ErrorCode.FORMAT_VIOLATION,
    "maxLength": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "minLength": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "enum": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "format": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "minimum": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "maximum": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "multipleOf": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
}

# 1.6's schemas can't say that a property is optional against the text; see ocpp-rules A18.
_OPTIONAL_WHATEVER_THE_SCHEMA_SAYS = {(Protocol.OCPP16, "StopTransaction"): "reason"}

# Four digits make it likelier that somebody's card number stands where a name belongs.
_SPEAKABLE_NAME = re.compile(r"(?!(?:.*[0-9]){4})[A-Za-z][A-Za-z0-9_.-]{0,49}")


@cache
def actions(protocol: Protocol) -> frozenset[str]:
    """Every action that the version's schemas know, in either direction."""
    folder = resources.files("ocpp") / _FOLDERS[protocol] / "schemas"
    stems = [
        entry.name.removesuffix(".json")
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    ]
    return frozenset(
        stem.removesuffix("Request") for stem in stems if not stem.endswith("Response")
    )


def _schema_name(protocol: Protocol, action: str, kind: Kind) -> str:
    if kind is Kind.RESPONSE:
        return f"{action}Response"
    if protocol is Protocol.OCPP16 or action in UNANSWERED:
        return action
    return f"{action}Request"


class Validator:
    """One compiled schema."""

    __slots__ = ("_compiled", "_is_valid", "_names")

    def __init__(self, schema: dict[str, Any]) -> None:
        self._names = frozenset(_list_names(schema))
        formats = {"date-time": is_time}
        self._compiled = jsonschema_rs.validator_for(schema, validate_formats=True, formats=formats)
        self._is_valid = self._compiled.is_valid

    def check(self, payload: Payload, extras: Extras = Extras.REFUSE) -> tuple[str, ...]:
        """The places of unknown properties that were let pass (empty when there are none).

        Raises:
            CallFailed: with the code of the first thing that is wrong, and its place.
        """
        try:
            return () if self._is_valid(payload) else self._explain(payload, extras)
        except ValueError:
            # Something that JSON has no word for: only a payload of our own can hold it.
            raise CallFailed(ErrorCode.FORMAT_VIOLATION, "payload: no JSON") from None

    def _explain(self, payload: Payload, extras: Extras) -> tuple[str, ...]:
        if extras is Extras.REFUSE:
            # Stops at the first error: to gather those of a large payload takes seconds.
            try:
                self._compiled.validate(payload)
            except jsonschema_rs.ValidationError as first:
                raise _make_failure(first, self._names) from None
            return ()
        passed: list[str] = []
        for error in self._compiled.iter_errors(payload):
            if error.kind.name != "additionalProperties":
                raise _make_failure(error, self._names)
            passed.append(_describe(error, self._names))
        return tuple(passed)


def get_validator(protocol: Protocol, action: str, kind: Kind) -> Validator | None:
    """The validator of one half of an action; None when the version doesn't know it."""
    # Here, not below: what is kept must never grow by the names that a station thinks up.
    return _compile(protocol, action, kind) if action in actions(protocol) else None


@cache
def _compile(protocol: Protocol, action: str, kind: Kind) -> Validator | None:
    schema = load_schema(protocol, action, kind)
    return None if schema is None else Validator(schema)


def load_schema(protocol: Protocol, action: str, kind: Kind) -> dict[str, Any] | None:
    """One half of an action as the version describes it; None where it has no such half."""
    name = f"{_schema_name(protocol, action, kind)}.json"
    source = resources.files("ocpp") / _FOLDERS[protocol] / "schemas" / name
    if not source.is_file():
        return None
    schema: dict[str, Any] = orjson.loads(source.read_bytes())
    optional = _OPTIONAL_WHATEVER_THE_SCHEMA_SAYS.get((protocol, action))
    if optional in schema.get("required", ()):
        schema["required"].remove(optional)
    return schema


def check_request(
    protocol: Protocol, action: str, payload: Payload, extras: Extras = Extras.REFUSE
) -> tuple[str, ...]:
    """Check a CALL's payload; gives the places of unknown properties that were let pass.

    Raises:
        CallFailed: NotImplemented for an unknown action, otherwise what the schema says.
    """
    found = get_validator(protocol, action, Kind.REQUEST)
    if found is None:
        raise CallFailed(ErrorCode.NOT_IMPLEMENTED, "This OCPP version has no such action")
    return found.check(payload, extras)


def check_response(
    protocol: Protocol, action: str, payload: Payload, extras: Extras = Extras.REFUSE
) -> tuple[str, ...]:
    """Check a CALLRESULT's payload against the action it answers, as ``check_request`` does."""
    found = get_validator(protocol, action, Kind.RESPONSE)
    if found is None:
        raise CallFailed(ErrorCode.NOT_IMPLEMENTED, "This OCPP version has no such answer")
    return found.check(payload, extras)


def preload(protocol: Protocol) -> None:
    """Compile every schema of a version (about 20 ms), so that no first message waits."""
    for action in actions(protocol):
        for kind in Kind:
            get_validator(protocol, action, kind)


def _list_names(schema: Any) -> Iterator[str]:
    """Every member that a schema names, at any depth: these are OCPP's words, not a station's."""
    if isinstance(schema, list):
        for part in schema:
            yield from _list_names(part)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for part in schema.values():
            yield from _list_names(part)


def _make_failure(error: jsonschema_rs.ValidationError, known: frozenset[str]) -> CallFailed:
    code = _CODES.get(error.kind.name, ErrorCode.FORMAT_VIOLATION)
    return CallFailed(code, _describe(error, known))


def _describe(error: jsonschema_rs.ValidationError, known: frozenset[str]) -> str:
    """The place and the broken rule, never the value (it may be an id token).

    ``known``: the schema's own members.
    """
    keyword, value = error.kind.name, error.kind.value
    match keyword:
        case "required":
            rule = f"a required property is missing: {_show_name(value, known)}"
        case "additionalProperties":
            names = ", ".join(_show_name(name, known) for name in list(value)[:3])
            rule = f"unknown property: {names}"
        case "type":
            rule = f"must be of type {' or '.join(value)}"
        case "maxLength":
            rule = f"longer than {value} characters"
        case "enum":
            rule = "not one of the allowed values"
        case "format":
            rule = f"no {value}"
        case "minItems" | "maxItems" | "minimum" | "maximum" | "multipleOf":
            rule = f"against {keyword} {value:g}"
        case _:
            rule = "against the schema"
    return f"{_show_place(error.instance_path, known)}: {rule}"


def _show_place(path: list[str | int], known: frozenset[str]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_show_name(step, known)}"
    return text.lstrip(".") or "payload"


def _show_name(name: object, known: frozenset[str]) -> str:
    # A property's name comes from the other side: only what looks like a name is repeated.
    if not isinstance(name, str):
        return "(unreadable)"
    return name if name in known or _SPEAKABLE_NAME.fullmatch(name) else "(unreadable)"
