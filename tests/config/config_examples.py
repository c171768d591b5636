"""Examples for the pure tests of config, and OCPP's own schemas to hold payloads against."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.envelope import Asking
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)  # a Monday; 14:00 in Stockholm
EVERY_PROTOCOL = list(Protocol)
_ids = itertools.count(1)
_offsets = itertools.count(1)
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


def event(
    row: MessageType[Any],
    message: Message,
    *,
    id: str | None = None,  # noqa: A002 - CloudEvents' own name
    offset: int | None = None,
) -> Event:
    """The message as it comes from Kafka, asking for an answer where its row has one."""
    record = envelope.event(
        row, message, id=id or f"e-{next(_ids)}", source="/test", now=NOW, key=b"k"
    )
    found = envelope.parse(
        record.headers,
        record.value,
        topic=str(row.topic),
        offset=next(_offsets) if offset is None else offset,
    )
    if row.answer is not None:
        found.asking = Asking(f"c-{found.id}", "voltbus.test.inbox", 0, 2**53)
    found.decode()
    return found
