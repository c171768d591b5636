"""Records as a fuzzer makes them: sound ones of every message type, and what is near to them."""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from fuzz.frames_made import JUNK, mutate, places
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.registry import TYPES, Topic
from voltbus_backbone.contract_docs.examples import example_of

if TYPE_CHECKING:
    import random

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PREFIX = "voltbus."
SECRET = "DEADBEEF"  # in the place of every id token: nothing of it may be told
FOREIGN = Topic.AUTH_TOKEN_REQUESTS  # written by others, who may name a token anywhere
MINE = "g-1/m/"  # how our own questions' ids begin
LONGEST = 70_000
MOST_BRACKETS = 200  # of a body that is varied as a tree: its depth at most

BYTES: tuple[bytes | None, ...] = (
    None,
    b"",
    b" ",
    b"\0",
    b"\xff\xfe",
    "Müller".encode("latin-1"),
    "Müller".encode(),
    b"\xed\xa0\x80",  # a surrogate
    b"-1",
    b"+5",
    b"1_0",
    b"9999",
    b"9" * 5000,
    b"1e9",
    b"nan",
    b"x" * 2000,
    b"0.3",
)
NAMES = ("", "CE_ID", "ce_extra", "traceparent", "b3", "Ω", "x" * 300)
TEXTS = (
    *(name.encode() for name in TYPES),
    *(PREFIX.encode() + topic.encode() for topic in Topic),
    b"voltbus.no-such-topic",
    b"not/a topic",
    b"g-1",
    b"g-1/m/1",
    b"g-1/m/2",
    b"0",
    b"5",
)
# Deeper than any Python lets a decoder go (3.13 allows ten times what 3.11 does).
DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES: tuple[bytes | None, ...] = (
    None,
    b"",
    b"null",
    b"{}",
    b"[]",
    b"<html>",
    b"\0" * 20,
    b"\xef\xbb\xbf{}",
    DEEP,
    b'{"x":' * 3000 + b"1" + b"}" * 3000,
    b'{"a":NaN}',
    b'{"a":1e999}',
    b'{"station_id":"\\ud800"}',
)


@dataclass(frozen=True)
class Case:
    """One record on one topic."""

    topic: str
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None
    key: bytes | None = b"k"

    def __str__(self) -> str:
        """To be copied into a test."""
        return repr(self)


@cache
def seeds() -> tuple[Case, ...]:
    """Every message of the contract, with an answer asked for and without; answers for us."""
    found: list[Case] = []
    for row in TYPES.values():
        readable = msgspec.json.encode(example_of(row))
        value = re.sub(rb'"value":"[^"]*"', f'"value":"{SECRET}"'.encode(), readable)
        attributes: tuple[tuple[str, bytes | None], ...] = (
            *row.fixed_headers,
            ("ce_id", b"e-1"),
            ("ce_source", b"/fuzz"),
            ("ce_time", b"2026-03-01T12:00:00.000Z"),
            ("ce_subject", SECRET.encode() if row.topic == FOREIGN else b"g-1"),
        )
        asking = envelope.Asking("them/1", "voltbus.gateway.inbox", 3, 2**50)
        topic = PREFIX + (row.topic or Topic.GATEWAY_INBOX)
        headers: tuple[tuple[str, bytes | None], ...] = (
            *attributes,
            *envelope.asking_headers(asking),
        )
        found += [Case(topic, attributes, value), Case(topic, headers, value)]
        if row.topic is None:
            found.append(
                Case(topic, (("correlation-id", MINE.encode() + b"1"), *attributes), value)
            )
    return tuple(found)


def vary(case: Case, chance: random.Random, others: list[Case]) -> Case:
    """Another record, near to this one."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        other = chance.choice(others)
        match chance.randrange(7):
            case 0:
                case = replace(case, topic=other.topic)
            case 1:
                case = replace(case, value=other.value)
            case 2 | 3:
                case = replace(case, headers=_headers_near(case, chance, other))
            case 4:
                case = replace(case, key=chance.choice(BYTES))
            case _:
                case = replace(case, value=_body_near(case.value, chance))
    return case


def _headers_near(
    case: Case, chance: random.Random, other: Case
) -> tuple[tuple[str, bytes | None], ...]:
    headers = list(case.headers) or [("ce_id", b"1")]
    place = chance.randrange(len(headers))
    name, value = headers[place]
    match chance.randrange(7):
        case 0:
            del headers[place]
        case 1:
            headers.insert(place, headers[place])
        case 2:
            headers[place] = (chance.choice([*NAMES, *(name for name, _ in other.headers)]), value)
        case 3:
            headers[place] = (name, chance.choice(TEXTS))
        case 4 if value:
            headers[place] = (name, _bytes_near(value, chance))
        case 5:
            return other.headers
        case _:
            headers[place] = (name, chance.choice(BYTES))
    return tuple(headers)


def _body_near(body: bytes | None, chance: random.Random) -> bytes | None:
    """Changed as a tree where it is one, else in its bytes."""
    if not body or chance.random() < 0.1:
        return chance.choice(BODIES)
    tree = _tree(body)
    if tree is None or not places([tree]) or chance.random() < 0.25:
        return _bytes_near(body, chance)
    if chance.random() < 0.3:
        holder: Any = [tree]
        place = chance.choice(places(holder))
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = chance.choice(JUNK)
    else:
        tree = mutate([tree], chance)
        tree = tree[0] if tree else None
    text = json.dumps(tree, ensure_ascii=chance.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")[:LONGEST]


def _tree(body: bytes) -> Any:
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


def _bytes_near(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    end = min(len(data), place + 40)
    huge = chance.choice((b"9" * 5000, b"1e400", b"-1", b"1.5"))
    letter = chance.choice(string.ascii_letters).encode()
    odd = chance.choice((b"\xe9", b"\0", b"\\ud800"))
    near = (
        data[:place],
        data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :],
        data[:place] + chance.randbytes(chance.randrange(1, 9)) + data[place:],
        data[:end] + data[place:],
        data.decode("utf-8", "replace").encode("latin-1", "replace"),
        data.replace(b"{", b'{"deep":' + DEEP + b",", 1),
        data.replace(b"1", huge, 1),
        data.replace(letter, odd, 1),
    )
    return chance.choice(near)[:LONGEST]
