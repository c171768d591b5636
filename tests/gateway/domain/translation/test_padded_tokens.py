"""A reader's blanks and NULs around an identifier, in every version (C01.FR.25: one token)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation.route import Context
from voltbus_gateway.domain.translation.routes import route_of
from voltbus_gateway.domain.wire.times import parse_time

GOLDEN = Path(__file__).parent / "golden"
NAMES = {"idTag", "idToken", "additionalIdToken"}


def padded(value: Any) -> Any:
    """The payload with every identifier as a careless reader gives it."""
    if isinstance(value, dict):
        return {
            name: f" {inner}\0 " if name in NAMES and isinstance(inner, str) else padded(inner)
            for name, inner in value.items()
        }
    return [padded(inner) for inner in value] if isinstance(value, list) else value


MESSAGES = [
    pytest.param(Protocol(file.parent.name), file.stem, case["call"], id=f"{file.parent.name}-{n}")
    for file in sorted(GOLDEN.glob("*/*.json"))
    for n, case in enumerate(orjson.loads(file.read_bytes()), start=1)
    if padded(case["call"]) != case["call"]
]


@pytest.mark.parametrize(("protocol", "action", "payload"), MESSAGES)
def test_a_padded_identifier_is_told_as_the_plain_one(
    protocol: Protocol, action: str, payload: dict[str, Any]
) -> None:
    """Whichever message carries it: what services are told does not differ."""
    route = route_of(protocol, action)
    if route.to_contract is None:
        return
    context = Context(
        station_id="CS-1",
        connection_id="c",
        protocol=protocol,
        now=parse_time("2026-03-01T12:00:00Z"),
        gateway_id="g",
    )
    told = msgspec.json.encode(route.to_contract(padded(payload), context))
    assert told == msgspec.json.encode(route.to_contract(payload, context))


def test_there_are_such_messages_in_every_version() -> None:
    """Else the test above proves nothing."""
    assert {case.values[0] for case in MESSAGES} == set(Protocol)
