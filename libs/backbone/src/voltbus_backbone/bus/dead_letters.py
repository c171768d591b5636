"""Dead letters: what a service could not process, why, and how it is sent again.

A letter carries the original headers and, as ``dead-letter-*`` headers, its reason and the place it
came from. The body of a record from a request topic is withheld, since it may hold a readable
identifier; it is read again from its place while the request topic keeps it (an hour). So is a body
that leaves no room for these headers. A record that Kafka never stored has no place: its letter
says where it was to go, and keeps its body unless that was too large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus_backbone.bounds import RECORD_BYTES, record_bytes
from voltbus_backbone.bus.envelope import Event, Record, timestamp
from voltbus_backbone.contract.registry import TYPES
from voltbus_backbone.errors import InvalidRecord, RefusalReason

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Headers
    from voltbus_backbone.contract.registry import Topic
    from voltbus_backbone.errors import Refusal

_MARK = "dead-letter-"
_WITHHELD = ("requests", "inbox")
# Written by other systems, which may have chosen a token as key or id: nothing of theirs is kept.
_FOREIGN = "token-requests"
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
_REPLAYED = "dead-letter-replay-of"
NEVER_STORED = -1  # as partition and offset
_LONGEST_HEADER = 1024  # where a record's own headers leave no room for ours
_OWN = 16  # so many of them are kept then


@dataclass(frozen=True)
class Letter:
    """One dead letter. ``topic``, ``partition`` and ``offset`` name where the record came from.

    An ``offset`` of NEVER_STORED: it was to go to ``topic``, and never got there.
    """

    id: str
    type: str
    reason: str
    time: str
    topic: str
    partition: int
    offset: int
    withheld: bool
    key: bytes | None
    body: bytes | None
    headers: Headers


def written(record: Any, reason: str, to: Topic, now: datetime) -> Record:
    """The letter for a consumed record, raw or parsed; ``reason`` holds no value of it.

    It fits Kafka whatever the record was.
    """
    withheld = record.topic.endswith(_WITHHELD)
    parsed = isinstance(record, Event)
    body: bytes | None = record.data if parsed else record.value
    key = record.key
    # Kafka allows null as a header's value.
    raw = [] if parsed else [(name, value or b"") for name, value in record.headers]
    own: Headers = _attributes(record) if parsed else raw
    if record.topic.endswith(_FOREIGN):
        key, own = None, _anonymous(record, own)
    place = (record.topic, record.partition, record.offset)
    letter = Record(str(to), key or b"", body, own)
    return _letter(letter, place, reason, now, withheld=withheld)


def unsent(refusal: Refusal, to: Topic, now: datetime) -> Record:
    """The letter for a record that Kafka refused, in place of it."""
    record = refusal.record
    too_large = refusal.reason is RefusalReason.TOO_LARGE
    own = [pair for pair in record.headers if _is_writable(*pair)]
    return _letter(
        Record(str(to), record.key or b"", record.value, own),
        (record.topic, NEVER_STORED, NEVER_STORED),
        f"Kafka refused it ({refusal.reason}): {refusal.detail}",
        now,
        withheld=too_large or record.topic.endswith(_WITHHELD),
    )


def _letter(
    letter: Record, place: tuple[str, int, int], reason: str, now: datetime, *, withheld: bool
) -> Record:
    """Add our headers, and take away what leaves no room for them: the body, then the rest."""
    topic, partition, offset = place
    ours = [
        ("dead-letter-reason", reason.encode()),
        ("dead-letter-topic", topic.encode()),
        ("dead-letter-partition", str(partition).encode()),
        ("dead-letter-offset", str(offset).encode()),
        ("dead-letter-time", timestamp(now).encode()),
    ]
    own, key = letter.headers, letter.key or b""
    if not withheld:
        whole = [*own, *ours, ("dead-letter-body", b"kept")]
        if record_bytes(key, letter.value, whole) <= RECORD_BYTES:
            return Record(letter.topic, key, letter.value, whole)
    ours.append(("dead-letter-body", b"withheld"))
    if record_bytes(key, None, [*own, *ours]) > RECORD_BYTES:
        # A consumed header may have no value.
        own = [
            (name[:_LONGEST_HEADER], (value or b"")[:_LONGEST_HEADER]) for name, value in own[:_OWN]
        ]
        key = key[:_LONGEST_HEADER]
    return Record(letter.topic, key, None, [*own, *ours])


def _is_writable(name: object, content: object) -> bool:
    if not isinstance(name, str) or not isinstance(content, bytes):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _anonymous(record: Any, headers: Headers) -> Headers:
    """The type and time, if they are such, and an id that names the place."""
    kept = [
        (name, value)
        for name, value in headers
        if (name == "ce_specversion" and value == b"1.0")
        or (name == "ce_type" and value.decode("latin-1") in TYPES)
        or (name == "ce_time" and _TIME.fullmatch(value) is not None)
    ]
    place = f"{record.topic}:{record.partition}:{record.offset}".encode()
    return [*kept, ("ce_id", place), ("ce_source", b"-"), ("ce_subject", b"")]


def _attributes(event: Event) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", event.time.encode()),
        ("ce_subject", event.subject.encode()),
    ]


def letter_of(headers: Headers, key: bytes | None, body: bytes | None) -> Letter:
    """Read a record of a dead-letter topic.

    Raises:
        InvalidRecord: it is no dead letter of ours.
    """
    found = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
    try:
        return Letter(
            id=found.get("ce_id", "-"),
            type=found.get("ce_type", "-"),
            reason=found["dead-letter-reason"],
            time=found["dead-letter-time"],
            topic=found["dead-letter-topic"],
            partition=int(found["dead-letter-partition"]),
            offset=int(found["dead-letter-offset"]),
            withheld=found["dead-letter-body"] == "withheld",
            key=key or None,
            body=body,
            headers=[(name, value or b"") for name, value in headers if not name.startswith(_MARK)],
        )
    except (KeyError, ValueError):
        raise InvalidRecord("not a dead letter") from None


def again(letter: Letter, body: bytes | None) -> Record:
    """The record as it was, for its own topic: same id, so whoever had it can tell a repetition.

    Nobody waits for an answer any more: the headers of asking are left out, so that a question past
    its deadline is decided and a fact is recorded without a reply.
    """
    asking = {"correlation-id", "reply-topic", "reply-partition", "deadline"}
    kept = [pair for pair in letter.headers if pair[0] not in asking]
    place = f"{letter.topic}:{letter.partition}:{letter.offset}"
    kept.append((_REPLAYED, place.encode()))
    return Record(letter.topic, letter.key, body, kept)
