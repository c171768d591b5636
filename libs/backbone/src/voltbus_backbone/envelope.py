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
    correlation_id: str | None = None
    traceparent: bytes | None = None
    message: Any = None

    def decode(self) -> Any:
        """The message of a known type.

        Raises:
            InvalidRecord: the type is unknown or the body does not match its schema.
        """
        if self.message is None:
            row = TYPES.get(self.type)
            if row is None:
                raise InvalidRecord("unknown ce_type")
            if self.data is None:
                raise InvalidRecord("no data")
            try:
                self.message = row.decoder.decode(self.data)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise InvalidRecord(f"body does not match {self.type}: {_path_of(error)}") from None
        return self.message


def _path_of(error: Exception) -> str:
    # msgspec's sentences name types and paths, never values; decode errors name an offset.
    return str(error)[:200]


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


def parse(
    headers: Sequence[tuple[str, bytes]],
    value: bytes | None,
    *,
    topic: str = "",
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = None,
) -> Event:
    """Read a consumed record.

    Raises:
        InvalidRecord: it is no CloudEvent in binary mode, or its asking headers are unreadable.
    """
    found = dict(headers)
    try:
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
        if found.get("ce_specversion") != b"1.0":
            raise InvalidRecord("not a CloudEvent: ce_specversion is not 1.0")
        correlation = found.get("correlation-id")
        if correlation is not None:
            result.correlation_id = correlation.decode()
            reply_topic = found.get("reply-topic")
            if reply_topic is not None:
                result.asking = Asking(
                    result.correlation_id,
                    reply_topic.decode(),
                    int(found["reply-partition"]),
                    int(found["deadline"]),
                )
    except KeyError as error:
        raise InvalidRecord(f"not a CloudEvent: header {error.args[0]} is missing") from None
    except ValueError:
        raise InvalidRecord("a header is unreadable") from None
    return result


def header(headers: Iterable[tuple[str, bytes]], name: str) -> bytes | None:
    """One header without parsing the rest: for skipping what is not ours."""
    for key, value in headers:
        if key == name:
            return value
    return None
