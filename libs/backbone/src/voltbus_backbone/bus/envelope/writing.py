"""Making records of contract messages: events, replies, requests that are passed on, tombstones."""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor
from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.bus.envelope.records import Record

if TYPE_CHECKING:
    from voltbus_backbone.bus.envelope.records import Asking, Event, Headers
    from voltbus_backbone.contract.registry import MessageType, Topic
    from voltbus_backbone.contract.values import Message

# The ``ce_type`` of a record without data, which has no message and so no row in the contract.
TOMBSTONE = b"voltbus.tombstone.v1"
_SPEC = ("ce_specversion", b"1.0")
_encoder = msgspec.json.Encoder()


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
