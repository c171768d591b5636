"""From a record's bytes to an Event: whatever they are, it is one or an InvalidRecord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.bus.envelope.records import Asking, Event, decode
from voltbus_backbone.bus.ports import Unreadable
from voltbus_backbone.errors import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ASKING = frozenset({"correlation-id", "reply-topic", "reply-partition", "deadline"})
_LONGEST_CORRELATION = 1024
_LATEST_MS = 2**63 - 1


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
    return decode(kind.decode("latin-1"), record.value)


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
