"""CloudEvents 1.0 in Kafka's binary mode, and the headers by which we ask and answer.

Pure: values in, values out. ``Record`` is what goes out, ``Event`` what came in.
Headers: ``ce_specversion ce_id ce_source ce_type ce_time ce_subject ce_dataschema content-type
traceparent`` and, for asking, ``correlation-id reply-topic reply-partition deadline``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor
from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.bus import Unreadable
from voltbus_backbone.contract.registry import TYPES, Topic
from voltbus_backbone.errors import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

Headers = list[tuple[str, bytes]]

# The ``ce_type`` of a record without data, which has no message and so no row in the contract.
TOMBSTONE = b"voltbus.tombstone.v1"
_SPEC = ("ce_specversion", b"1.0")
_ASKING = frozenset({"correlation-id", "reply-topic", "reply-partition", "deadline"})
_LONGEST_CORRELATION = 1024
_LATEST_MS = 2**63 - 1
_encoder = msgspec.json.Encoder()


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
            self.message = _decode(self.type, self.data)
        return self.message


def _decode(kind: str, data: bytes | None) -> Any:
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


def timestamp(now: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as ``ce_time`` wants it."""
    utc = now if now.tzinfo is UTC else now.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


class _Stamp:
    """The last time that was written: a batch has one ``now``, and many batches fit a second."""

    now: datetime | None = None
    text = b""
    second = 0
    to_the_second = b""


def _stamp(now: datetime) -> bytes:
    if now is not _Stamp.now:
        second = floor(now.timestamp())
        if second != _Stamp.second:
            _Stamp.second, _Stamp.to_the_second = second, timestamp(now)[:-4].encode()
        _Stamp.now, _Stamp.text = now, b"%s%03dZ" % (_Stamp.to_the_second, now.microsecond // 1000)
    return _Stamp.text


def event(
    row: MessageType[Any],
    message: Message,
    *,
    id: str,  # noqa: A002 - CloudEvents' own name
    source: str,
    now: datetime,
    subject: str | None = None,
    key: bytes | None = None,
    partition: int | None = None,
    traceparent: bytes | None = None,
    topic: str | None = None,
) -> Record:
    """A record of a contract message on its topic under its key.

    ``id`` must be the same for the same cause, so that a duplicate can be told (CloudEvents 1.0,
    source + id). ``source`` is a path such as ``/voltbus/gateway/g-1``.
    """
    if key is None and partition is None:
        key = row.key_of(message)
    headers: Headers = [
        *row.fixed_headers,
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_time", _stamp(now)),
        ("ce_subject", (subject.encode() if subject is not None else key or b"")),
    ]
    if traceparent is not None:
        headers.append(("traceparent", traceparent))
    target = topic if topic is not None else row.topic
    if target is None:
        raise ValueError(f"{row.name} is an answer: use reply()")
    return Record(str(target), key, _encoder.encode(message), headers, partition)


def encode(message: Message) -> bytes:
    """The body of a record: JSON without the fields that have their defaults."""
    return _encoder.encode(message)


def asking_headers(asking: Asking) -> Headers:
    """The four headers of a request."""
    return [
        ("correlation-id", asking.correlation_id.encode()),
        ("reply-topic", asking.reply_topic.encode()),
        ("reply-partition", str(asking.reply_partition).encode()),
        ("deadline", str(asking.deadline_ms).encode()),
    ]


def reply(
    to: Event, row: MessageType[Any], message: Message, *, source: str, now: datetime
) -> Record | None:
    """The answer to a request, or None where nobody asked for one."""
    asking = to.asking
    if asking is None:
        return None
    correlation = asking.correlation_id.encode()
    headers: Headers = [
        ("correlation-id", correlation),
        *row.fixed_headers,
        ("ce_id", correlation + b":reply"),
        ("ce_source", source.encode()),
        ("ce_time", _stamp(now)),
        ("ce_subject", to.subject.encode()),
    ]
    if to.traceparent is not None:
        headers.append(("traceparent", to.traceparent))
    return Record(
        asking.reply_topic, None, _encoder.encode(message), headers, asking.reply_partition
    )


def forward(request: Event, row: MessageType[Any], *, source: str, now: datetime) -> Record | None:
    """The same request under another type on another topic: its answer goes to the first asker.

    None where nobody asked for an answer and it is no fact, which counts without one.
    """
    if row.topic is None or (request.asking is None and not row.fact):
        return None
    headers: Headers = [
        *row.fixed_headers,
        ("ce_id", request.id.encode()),
        ("ce_source", source.encode()),
        ("ce_time", _stamp(now)),
        ("ce_subject", request.subject.encode()),
    ]
    if request.asking is not None:
        headers.extend(asking_headers(request.asking))
    if request.traceparent is not None:
        headers.append(("traceparent", request.traceparent))
    return Record(str(row.topic), request.key, request.data, headers)


def tombstone(topic: Topic, key: bytes, *, source: str, now: datetime, id: str) -> Record:  # noqa: A002 - CloudEvents' own name
    """A record without data: on a compacted topic it removes the key."""
    headers: Headers = [
        _SPEC,
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", TOMBSTONE),
        ("ce_time", _stamp(now)),
        ("ce_subject", key),
    ]
    return Record(str(topic), key, None, headers)


def parse_record(record: Any) -> Event:
    """Read a record as a reader got it: the one way from bytes to an Event.

    Raises:
        InvalidRecord: as ``parse``; or no client could read it (``Unreadable``).
    """
    if isinstance(record, Unreadable):
        raise InvalidRecord(record.reason)
    return parse(
        record.headers,
        record.value,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
    )


def decode_value(record: Any) -> Any:
    """The message of an answer, whose other headers are nothing to whoever asked.

    Raises:
        InvalidRecord: it cannot be read.
    """
    if isinstance(record, Unreadable):
        raise InvalidRecord(record.reason)
    kind = header(record.headers, "ce_type") or b""
    return _decode(kind.decode("latin-1"), record.value)


def parse(
    headers: Sequence[tuple[str, bytes | None]],
    value: bytes | None,
    *,
    topic: str = "",
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = None,
) -> Event:
    """Read a consumed record.

    Headers of asking that cannot be read are no reason to refuse a fact, so they only leave
    ``unaddressed`` in the place of ``asking``.

    Raises:
        InvalidRecord: it is no CloudEvent in binary mode, or one of its attributes is unreadable.
    """
    try:
        found: dict[str, Any] = dict(headers)
        result = Event(
            id=found["ce_id"].decode(),
            source=found["ce_source"].decode(),
            type=found["ce_type"].decode(),
            time=found.get("ce_time", b"").decode(),
            subject=found.get("ce_subject", b"").decode(),
            data=value,
            topic=topic,
            partition=partition,
            offset=offset,
            key=key,
            traceparent=found.get("traceparent"),
        )
    except KeyError as error:
        raise InvalidRecord(f"not a CloudEvent: header {error.args[0]} is missing") from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever these bytes cause, it is their fault
        raise InvalidRecord("a header is unreadable") from None
    if found.get("ce_specversion") != b"1.0":
        raise InvalidRecord("not a CloudEvent: ce_specversion is not 1.0")
    if len(found) != len(headers):
        _refuse_repeated(headers)
    if "correlation-id" in found:
        _parse_asking(result, found)
    return result


def _refuse_repeated(headers: Sequence[tuple[str, bytes | None]]) -> None:
    """A header of ours that stands twice means one thing to one reader, another to the next."""
    seen: set[str] = set()
    for name, _ in headers:
        if name in seen and (name.startswith("ce_") or name in _ASKING):
            raise InvalidRecord("a header stands twice")
        seen.add(name)


def _parse_asking(event: Event, found: dict[str, Any]) -> None:
    try:
        correlation = found["correlation-id"].decode()
        reply_topic = found.get("reply-topic")
        if reply_topic is not None:
            deadline_ms = int(found["deadline"])
            if len(correlation) > _LONGEST_CORRELATION or abs(deadline_ms) > _LATEST_MS:
                raise ValueError  # noqa: TRY301 - no sender of ours writes such
            event.asking = Asking(
                correlation, reply_topic.decode(), int(found["reply-partition"]), deadline_ms
            )
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever these bytes cause, it is their fault
        event.unaddressed = "a header of asking is missing or unreadable"
    else:
        event.correlation_id = correlation


def header(headers: Iterable[tuple[str, bytes | None]], name: str) -> bytes | None:
    """One header without parsing the rest: for skipping what is not ours."""
    for key, value in headers:
        if key == name:
            return value
    return None
