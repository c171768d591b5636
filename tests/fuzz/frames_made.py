"""Messages as a fuzzer makes them: sound ones, mutilated ones, and what is no message at all.

The sound ones are the golden messages of every action; a mutation knows their structure.
"""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol

GOLDEN = Path(__file__).parents[1] / "gateway" / "domain" / "translation" / "golden"
DEEPEST = 20
PENDING = "ours-1"  # the id of our own call that waits for an answer
DEEP: dict[str, Any] = {}
for _ in range(100):
    DEEP = {"a": DEEP}

JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    2**64,
    -(2**70),
    1e308,
    "",
    "x",
    "\x00",
    "ÅÄÖ",
    "\u202e\U0001f50c",
    "2026-03-01T10:00:00Z",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "y" * 300,
    "y" * 3000,
    [],
    {},
    [[]],
    [{}],
    {"": {}},
    {"a\x00": 1},
    DEEP,
    {"customData": {"vendorId": "v", "more": [1]}},
)
GARBAGE = (
    "",
    " ",
    "null",
    "NaN",
    "[NaN]",
    "{}",
    "[]",
    "[[[[",
    '"text"',
    "[2]",
    "[3]",
    '[2,"1"]',
    '[2,"1","Heartbeat"]',
    '[2,"1","Heartbeat",{},{}]',
    '[2,"1","Heartbeat",{"a":1,"a":2}]',
    '[2,"1","Heartbeat",{"a":NaN}]',
    '[2,"1","Heartbeat",{"a":1e999}]',
    '[2,"1","Heartbeat",{"a":"\\ud800"}]',
    '[2,"1",null,{}]',
    '[2,"1","Heartbeat",null]',
    '[2.0,"1","Heartbeat",{}]',
    '["2","1","Heartbeat",{}]',
    '[true,"1","Heartbeat",{}]',
    f'[{2**70},"1","Heartbeat",{{}}]',
    "[" * 2000,
    "[" * 900 + "]" * 900,
    '[2,"1","Heartbeat",' + '{"a":' * 800 + "1" + "}" * 800 + "]",
    "\ufeff[]",
    "\x00",
)


@cache
def sound(protocol: Protocol) -> tuple[tuple[str, str], ...]:
    """Every golden call of a version: action and payload, as text."""
    return tuple(
        (file.stem, json.dumps(case["call"]))
        for file in sorted((GOLDEN / protocol.value).glob("*.json"))
        for case in json.loads(file.read_bytes())
    )


def places(frame: list[Any]) -> list[tuple[Any, ...]]:
    """The path of everything inside a frame, down to a depth that is worth it."""
    found: list[tuple[Any, ...]] = []
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(frame, ())]
    while waiting:
        value, place = waiting.pop()
        inside = enumerate(value) if isinstance(value, list) else value.items()
        for key, inner in inside:
            found.append((*place, key))
            if isinstance(inner, dict | list) and len(place) < DEEPEST:
                waiting.append((inner, (*place, key)))
    return found


def mutate(frame: list[Any], chance: random.Random) -> list[Any]:
    """The frame, with something replaced, removed, added, copied or nested somewhere in it."""
    place = chance.choice(places(frame))
    holder: Any = frame
    for step in place[:-1]:
        holder = holder[step]
    key = place[-1]
    match chance.randrange(6):
        case 0:
            holder[key] = copy.deepcopy(chance.choice(JUNK))
        case 1:
            del holder[key]
        case 2 if isinstance(holder, dict):
            holder[chance.choice(["", "extra", "customData", "Ω", key.upper()])] = holder[key]
        case 2 | 3 if isinstance(holder, list):
            holder.insert(chance.randrange(len(holder) + 1), holder[key])
        case 4:
            for _ in range(chance.choice([1, 70, 200])):
                holder[key] = {"a": holder[key]}
        case _:
            holder[key] = [holder[key]] * chance.choice([1, 2, 50])
    return frame


def scratch(text: str, chance: random.Random) -> str | bytes:
    """Damage a text as a bad line does: cut it, double a key, swap bytes, send it as binary."""
    damage = chance.randrange(5)
    if damage == 0:
        return text[: chance.randrange(len(text) + 1)]
    if damage == 1:
        raw = bytearray(text.encode())
        raw[chance.randrange(len(raw))] = chance.randrange(256)
        return bytes(raw)
    if damage == 2:
        return text.encode()
    old, new = chance.choice([('":', '":0,"'), ("{", '{"a":1,"a":2,'), ("0", "NaN")])
    return text.replace(old, new, 1)


def make(protocol: Protocol, chance: random.Random) -> str | bytes:
    """One message from a station that may be anything."""
    kind = chance.randrange(10)
    if kind == 0:
        return chance.choice(GARBAGE)
    if kind == 1:
        return chance.randbytes(chance.randrange(64))
    action, payload = chance.choice(sound(protocol))
    id_ = chance.choice(["1", "2", PENDING, "x" * 36, "x" * 37, ""])
    frame: list[Any] = [chance.choice([2, 2, 2, 2, 6]), id_, action, json.loads(payload)]
    if kind == 2:
        answers: tuple[Any, ...] = (
            {},
            {"status": "Accepted"},
            {"listVersion": 1},
            {"versionNumber": 1},
        )
        frame = [chance.choice([3, 3, 4, 5, 9]), id_, chance.choice(answers)]
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        if places(frame):
            frame = mutate(frame, chance)
    text = json.dumps(frame, ensure_ascii=chance.random() < 0.5)
    return scratch(text, chance) if chance.random() < 0.4 else text


def messages(protocol: Protocol) -> st.SearchStrategy[str | bytes]:
    """Messages for Hypothesis: made ones, any text, any bytes."""
    made = st.integers(0, 2**48).map(
        lambda seed: make(protocol, random.Random(seed))  # noqa: S311 - a fuzzer's dice
    )
    return st.one_of(made, made, made, made, st.text(max_size=40), st.binary(max_size=40))
