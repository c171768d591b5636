"""No side field whatever costs a core fact: sound messages, damaged in every way (ADR 0012)."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.repairs.leniently import NOW, translate_call
from gateway.domain.translation.test_nothing_left_out import Full, schema_of
from gateway.domain.translation.test_translation_holds import MESSAGES, places
from relaxed import relaxed_validator
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.repairs.fields import join
from voltbus_gateway.domain.repairs.mending import mend
from voltbus_gateway.domain.repairs.reading import read_answer, read_fact
from voltbus_gateway.domain.repairs.table import find_fact_rules
from voltbus_gateway.domain.session.commands import to_stations
from voltbus_gateway.domain.session.session import CommandResult, Session
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.limits import check_storable
from voltbus_gateway.domain.wire.schemas import Kind, actions, check_request, load_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_gateway.domain.wire.frames import Payload

    Draw = Callable[[st.SearchStrategy[Any]], Any]

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21

# What each message is about: the places that no damage is done to, and where they are read.
_Places = dict[str, str | None]
_SESSION_2: _Places = {
    "eventType": "phase",
    "timestamp": "at",
    "seqNo": "seq_no",
    "transactionInfo": None,
    "transactionInfo.transactionId": "transaction_id",
}
_CONNECTOR_2: _Places = {
    "evseId": "evse_id",
    "connectorId": "connector_id",
    "connectorStatus": "status",
    "timestamp": "at",
}
_PROGRESS: _Places = {"status": "status"}
_ANY: dict[str, _Places] = {
    "FirmwareStatusNotification": _PROGRESS,
    "LogStatusNotification": _PROGRESS,
    "SecurityEventNotification": {"type": "type", "timestamp": "at"},
}
_ANY_2: dict[str, _Places] = _ANY | {
    "TransactionEvent": _SESSION_2,
    "StatusNotification": _CONNECTOR_2,
    "MeterValues": {"evseId": "evse_id"},
    "BootNotification": {"chargingStation": None, "chargingStation.model": "model"},
}
CORE: dict[Protocol, dict[str, _Places]] = {
    V16: _ANY
    | {
        "StartTransaction": {
            "connectorId": "connector_id",
            "idTag": "id_token",
            "meterStart": "meter_wh",
            "timestamp": "at",
        },
        "StopTransaction": {
            "transactionId": "transaction_id",
            "meterStop": "meter_wh",
            "timestamp": "at",
        },
        "MeterValues": {"connectorId": "connector_id"},
        "StatusNotification": {
            "connectorId": "connector_id",
            "status": "status",
            "timestamp": "at",
        },
        "BootNotification": {"chargePointModel": "model"},
        "DiagnosticsStatusNotification": _PROGRESS,
        "SignedFirmwareStatusNotification": _PROGRESS,
    },
    V201: _ANY_2,
    V21: _ANY_2,
}
FACTS = [
    pytest.param(protocol, action, id=f"{protocol.value} {action}")
    for protocol in CORE
    for action in CORE[protocol]
]

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=30),
        st.sampled_from(
            ["", " ", "0", "1.5", "1e999", "NaN", "local", "L1 ", "x" * 300, "y" * 40_000]
        ),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def damage(draw: Draw, payload: Payload, spared: frozenset[str]) -> Payload:
    """Up to five things removed, replaced or added, none of them at a place that is spared."""
    payload = deepcopy(payload)
    for _ in range(draw(st.integers(1, 5))):
        way = draw(st.sampled_from([(), *places(payload)]))
        found: Any = payload
        for step in way:
            found = found[step]
        name = ".".join(step for step in way if isinstance(step, str))
        kinds = ["remove", "replace"] if way and name not in spared else []
        kinds += ["add"] if isinstance(found, dict | list) else []
        if not kinds:
            continue
        kind = draw(st.sampled_from(kinds))
        if kind == "add" and isinstance(found, list):
            found.append(draw(values))
        elif kind == "add":
            added = draw(st.sampled_from(["customData", "vendorStuff"]) | st.text(max_size=8))
            if f"{name}.{added}".lstrip(".") not in spared:
                found[added] = draw(values)
        else:
            holder: Any = payload
            for step in way[:-1]:
                holder = holder[step]
            if kind == "remove":
                del holder[way[-1]]
            else:
                holder[way[-1]] = draw(values)
    return payload


@cache
def sound(protocol: Protocol, action: str) -> list[Payload]:
    """Golden messages of an action, and one with every property of its schema."""
    golden = [
        payload for version, name, payload in MESSAGES if (version, name) == (protocol, action)
    ]
    return [*golden, Full(schema_of(protocol, action)).payload]


@st.composite
def damage_payload(draw: st.DrawFn, protocol: Protocol, action: str) -> tuple[Payload, Payload]:
    """A sound message, and the same with its side fields damaged."""
    payload = draw(st.sampled_from(sound(protocol, action)))
    return payload, damage(draw, payload, frozenset(CORE[protocol][action]))


def test_every_fact_of_the_table_is_tried() -> None:
    """A message that is read leniently states here what must not be lost."""
    assert {protocol: set(CORE[protocol]) for protocol in Protocol} == {
        protocol: {action for action in actions(protocol) if find_fact_rules(protocol, action)}
        for protocol in Protocol
    }


@pytest.mark.parametrize(("protocol", "action"), FACTS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_side_field_costs_a_core_fact(
    protocol: Protocol, action: str, data: st.DataObject
) -> None:
    """1.6 §4.10 and its like: what the message is about is told as if nothing else were in it."""
    payload, odd = data.draw(damage_payload(protocol, action))
    whole, message = (
        translate_call(protocol, action, payload),
        translate_call(protocol, action, odd),
    )
    for place, name in CORE[protocol][action].items():
        if name is not None and (name != "at" or place in payload):
            assert getattr(message, name) == getattr(whole, name), place
    assert message.at is not None


@pytest.mark.parametrize(("protocol", "action"), FACTS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_mended_fits(protocol: Protocol, action: str, data: st.DataObject) -> None:
    """The schema with its stated relaxations; mending it once more changes nothing."""
    payload = data.draw(st.sampled_from(sound(protocol, action)))
    odd = damage(data.draw, payload, frozenset())
    try:
        check_request(protocol, action, odd)
    except CallFailed as failure:
        try:
            reading = read_fact(protocol, action, odd, failure)
        except CallFailed:
            return
        assert relaxed_validator(protocol, action).check(reading.payload) == ()
        rules, schema = (
            find_fact_rules(protocol, action),
            load_schema(protocol, action, Kind.REQUEST),
        )
        assert rules is not None
        assert schema is not None
        assert mend(reading.payload, join(schema, rules))[0] == reading.payload
        assert 0 < len(reading.repairs) <= 20


@pytest.mark.parametrize(("protocol", "action"), FACTS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_note_repeats_a_value(protocol: Protocol, action: str, data: st.DataObject) -> None:
    """A value may be an id token; notes are public. Also a name may be one."""
    secret = "5413330089010483"
    payload = deepcopy(data.draw(st.sampled_from(sound(protocol, action))))
    way = data.draw(st.sampled_from([(), *places(payload)]))
    holder: Any = payload
    for step in way[:-1]:
        holder = holder[step]
    odd = data.draw(
        st.sampled_from([secret, {secret: secret}, [secret], int(secret), f"x{secret}y" * 40])
    )
    if way:
        holder[way[-1]] = odd
    else:
        payload[secret] = odd
    try:
        check_request(protocol, action, payload)
    except CallFailed as failure:
        try:
            reading = read_fact(protocol, action, payload, failure)
        except CallFailed as refused:
            notes = str(refused)
        else:
            notes = "".join(map(str, reading.repairs))
        assert secret not in notes


CALLS = [pytest.param(protocol, id=protocol.value) for protocol in Protocol]


@pytest.mark.parametrize("protocol", CALLS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_answer_is_the_stations_word(protocol: Protocol, data: st.DataObject) -> None:
    """Whatever it holds, it ends its call as an answer that a store can keep; a status is read."""
    action = data.draw(st.sampled_from(sorted(to_stations(protocol))))
    schema = load_schema(protocol, action, Kind.RESPONSE)
    assert schema is not None
    full = Full(schema).payload
    odd = damage(data.draw, full, frozenset({"status"}))
    unfit = CallFailed(ErrorCode.FORMAT_VIOLATION, "payload: unfit")
    reading = read_answer(protocol, action, odd, unfit)
    check_storable(reading.payload)
    assert reading.payload.get("status") == full.get("status")
    assert read_answer(protocol, action, reading.payload, unfit).payload == reading.payload


@pytest.mark.parametrize("protocol", CALLS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_call_ends_with_its_answer_whatever_that_is(
    protocol: Protocol, data: st.DataObject
) -> None:
    """C14's situation, through the session: ANSWERED, once, and the next call may go."""
    payload = {"vendorId": "v"}
    session = Session(protocol, new_id=lambda: "m")
    session.call("k", "DataTransfer", payload, 0.0, 30.0)
    odd = damage(data.draw, {"status": "Accepted", "data": "x"}, frozenset({"status"}))
    effects = session.receive(orjson.dumps([3, "m", odd]), 1.0)
    (end,) = (effect for effect in effects if isinstance(effect, CommandResult))
    assert (end.outcome, (end.payload or {})["status"]) == (CallOutcome.ANSWERED, "Accepted")
    assert msgspec.json.decode(msgspec.json.encode(end.payload)) == end.payload
    assert session.idle


def test_arrival_is_the_tests_own_time() -> None:
    """What stands in for a missing time is the context's, never a clock's."""
    message = translate_call(V16, "StopTransaction", {"transactionId": 1, "meterStop": 1})
    assert message.at == NOW
