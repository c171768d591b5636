"""What goes out and what came in: ``Record`` and ``Event``, and how an Event's body is decoded."""

from __future__ import annotations

from typing import Any

import msgspec

from voltbus_backbone.contract.registry import TYPES
from voltbus_backbone.errors import InvalidRecord

Headers = list[tuple[str, bytes]]


class Asking(msgspec.Struct, frozen=True):
    """How a request wants its answer: where to, under which id, by when (epoch milliseconds)."""

    correlation_id: str
    reply_topic: str
    reply_partition: int
    deadline_ms: int


class Record(msgspec.Struct, frozen=True):
    """A record to be produced. ``topic`` is without prefix, except in a reply."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None


class Event(msgspec.Struct):
    """A record as it was consumed. ``data`` is None for a tombstone."""

    id: str
    source: str
    type: str
    time: str
    subject: str
    data: bytes | None
    topic: str = ""
    partition: int = 0
    offset: int = 0
    key: bytes | None = None
    asking: Asking | None = None
    unaddressed: str | None = None  # why it wants an answer and can have none
    correlation_id: str | None = None
    traceparent: bytes | None = None
    message: Any = None

    def decode(self) -> Any:
        """The message of a known type.

        Raises:
            InvalidRecord: the type is unknown, or its decoder does not take the body, for whatever
                reason: no JSON, no UTF-8, nested too deeply, against its schema.
        """
        if self.message is None:
            self.message = decode(self.type, self.data)
        return self.message


def decode(kind: str, data: bytes | None) -> Any:
    """The message of a body of this type; raises as ``Event.decode``."""
    row = TYPES.get(kind)
    if row is None:
        raise InvalidRecord("unknown ce_type")
    if data is None:
        raise InvalidRecord("no data")
    try:
        return row.decoder.decode(data)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever these bytes cause, it is their fault
        raise InvalidRecord(f"body does not match {kind}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """What may be told of an error: other exceptions than these quote what they met."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, msgspec.ValidationError | msgspec.DecodeError):
        # msgspec's sentences name types and paths, never values; decode errors name an offset.
        return str(error)[:200]
    return type(error).__name__
