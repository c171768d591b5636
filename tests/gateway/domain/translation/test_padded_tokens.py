"""A reader's blanks and NULs around an identifier, in every version (C01.FR.25: one token)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation.route import Context
from voltbus_gateway.domain.translation.routes import find_route
from voltbus_gateway.domain.wire.times import parse_time

GOLDEN = Path(__file__).parent / "golden"
NAMES = {"idTag", "idToken", "additionalIdToken"}


def pad_tokens(value: Any) -> Any:
    """The payload with every identifier as a careless reader gives it."""
    if isinstance(value, dict):
        return {
            name: f" {inner}\0 " if name in NAMES and isinstance(inner, str) else pad_tokens(inner)
            for name, inner in value.items()
        }
    return [pad_tokens(inner) for inner in value] if isinstance(value, list) else value


MESSAGES = [
    pytest.param(Protocol(file.parent.name), file.stem, case["call"], id=f"{file.parent.name}-{n}")
    for file in sorted(GOLDEN.glob("*/*.json"))
    for n, case in enumerate(orjson.loads(file.read_bytes()), start=1)
    if pad_tokens(case["call"]) != case["call"]
]


@pytest.mark.parametrize(("protocol", "action", "payload"), MESSAGES)
def test_a_padded_identifier_is_told_as_the_plain_one(
    protocol: Protocol, action: str, payload: dict[str, Any]
) -> None:
    """Whichever message carries it: what services are told does not differ."""
    route = find_route(protocol, action)
    if route.to_contract is None:
        return
    context = Context(
        station_id="CS-1",
        connection_id="c",
        protocol=protocol,
        now=parse_time("2026-03-01T12:00:00Z"),
    )
    told = msgspec.json.encode(route.to_contract(pad_tokens(payload), context))
    assert told == msgspec.json.encode(route.to_contract(payload, context))


def test_there_are_such_messages_in_every_version() -> None:
    """Else the test above proves nothing."""
    assert {case.values[0] for case in MESSAGES} == set(Protocol)
