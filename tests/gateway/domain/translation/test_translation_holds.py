"""What passes the schema translates: golden messages, damaged in every way, never break us."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.session import Session
from voltbus_gateway.domain.translation.route import Context, make_fact_id
from voltbus_gateway.domain.translation.routes import find_route
from voltbus_gateway.domain.wire.errors import CallFailed
from voltbus_gateway.domain.wire.frames import Call
from voltbus_gateway.domain.wire.schemas import Extras, check_request
from voltbus_gateway.domain.wire.times import parse_time

GOLDEN = Path(__file__).parent / "golden"
NOW = parse_time("2026-03-01T12:00:00Z")
MESSAGES = [
    (Protocol(file.parent.name), file.stem, case["call"])
    for file in sorted(GOLDEN.glob("*/*.json"))
    for case in orjson.loads(file.read_bytes())
]

Path_ = tuple[str | int, ...]

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(
        ["", "0", "-1", "nan", "inf", "1e999", "2026-03-01T12:00:00", "9999-12-31T23:59Z"]
    ),
    st.just([]),
    st.just({}),
)


def places(value: Any, at: Path_ = ()) -> list[Path_]:
    """Where in a payload something stands."""
    found = []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += [(*at, name), *places(inner, (*at, name))]
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += [(*at, index), *places(inner, (*at, index))]
    return found


@st.composite
def damage_payload(draw: st.DrawFn) -> tuple[Protocol, str, dict[str, Any]]:
    """A golden message with up to three things removed, replaced, or added."""
    protocol, action, payload = draw(st.sampled_from(MESSAGES))
    payload = deepcopy(payload)
    for _ in range(draw(st.integers(1, 3))):
        here = places(payload)
        if not here:
            break
        *way, last = draw(st.sampled_from(here))
        parent: Any = payload
        for step in way:
            parent = parent[step]
        match draw(st.sampled_from(["remove", "replace", "add"])):
            case "remove":
                del parent[last]
            case "replace":
                parent[last] = draw(values)
            case _ if isinstance(parent, dict):
                parent[draw(st.sampled_from(["customData", "vendorStuff"]))] = draw(values)
    return protocol, action, payload


@settings(max_examples=200, deadline=None)
@given(damage_payload(), st.sampled_from(list(Extras)))
def test_what_passes_the_schema_translates(
    message: tuple[Protocol, str, dict[str, Any]], extras: Extras
) -> None:
    """Either a CALLERROR, or a contract message that whoever reads it can decode."""
    protocol, action, payload = message
    route = find_route(protocol, action)
    context = Context("CS-1", "c-1", protocol, NOW)
    told = None
    with suppress(CallFailed):
        check_request(protocol, action, payload, extras)
        told = route.to_contract(payload, context) if route.to_contract is not None else None
    if told is not None and route.row is not None:
        assert route.row.decoder.decode(msgspec.json.encode(told)) == told
        assert make_fact_id(context, Call("1", action, payload), route, told)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(list(Protocol)),
    st.lists(
        st.text()
        | st.binary()
        | damage_payload().map(lambda payload: orjson.dumps([2, "1", *payload[1:]]))
    ),
)
def test_no_text_ends_a_session(protocol: Protocol, texts: list[str | bytes]) -> None:
    """Whatever comes, the session answers or is silent, and takes the next call."""
    session = Session(protocol)
    for text in texts:
        session.receive(text, 0.0)
        while session.current is not None:
            session.answer(session.current, {}, 0.0)
    assert session.receive('[2,"1","Heartbeat",{}]', 0.0)
