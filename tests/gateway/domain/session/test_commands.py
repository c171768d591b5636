"""Calls towards stations: every action of each version, checked before it leaves."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.domain.station_actions import list_station_actions
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.values.actions import BOTH_WAYS
from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.session.commands import check_call, to_stations
from voltbus_gateway.domain.session.session import CommandResult, Session, Write
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.limits import check_storable
from voltbus_gateway.domain.wire.schemas import actions

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21


@pytest.mark.parametrize("protocol", list(Protocol))
def test_every_action_has_a_direction(protocol: Protocol) -> None:
    """What the schemas know is sent by stations or by us, DataTransfer by both."""
    assert list_station_actions(protocol) | to_stations(protocol) == actions(protocol)
    assert list_station_actions(protocol) & to_stations(protocol) == BOTH_WAYS


@pytest.mark.parametrize(("protocol", "to", "of"), [(V16, 26, 14), (V201, 40, 25), (V21, 55, 37)])
def test_how_many_there_are(protocol: Protocol, to: int, of: int) -> None:
    """A new release of the schemas shows here before it shows in production."""
    assert (len(to_stations(protocol)), len(list_station_actions(protocol))) == (to, of)


def test_a_sound_call() -> None:
    """It raises nothing."""
    check_call(V16, "Reset", {"type": "Hard"})
    check_call(V201, "Reset", {"type": "OnIdle"})
    check_call(V21, "UsePriorityCharging", {"transactionId": "t", "activate": True})


@pytest.mark.parametrize(
    ("protocol", "action", "payload", "code"),
    [
        (V16, "GetVariables", {}, ErrorCode.NOT_IMPLEMENTED),
        (V201, "ChangeConfiguration", {}, ErrorCode.NOT_IMPLEMENTED),
        (V201, "Authorize", {}, ErrorCode.NOT_IMPLEMENTED),
        (V21, "Dance", {}, ErrorCode.NOT_IMPLEMENTED),
        (V16, "Reset", {"type": "Gentle"}, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        (V16, "Reset", {}, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION),
        (V16, "Reset", {"type": "Hard", "now": True}, ErrorCode.FORMAT_VIOLATION),
    ],
)
def test_an_unsound_call(
    protocol: Protocol, action: str, payload: dict[str, object], code: ErrorCode
) -> None:
    """An action of another version or direction, or a payload against the schema."""
    with pytest.raises(CallFailed) as caught:
        check_call(protocol, action, payload)
    assert caught.value.code is code


def deep(levels: int) -> Any:
    """So many objects in each other."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"versionNumber": 2**63}, {}),
        ({"customData": {"vendorId": "v", "a\0": 1}}, {"versionNumber": 1}),
        ({"customData": {"vendorId": "v", "a": deep(100)}}, {"versionNumber": 1}),
    ],
)
def test_an_answer_that_nobody_behind_us_could_keep(
    answer: dict[str, Any], kept: dict[str, Any]
) -> None:
    """The schema allows it, no store does: that field is left out, the rest is the answer."""
    session = Session(V21, new_id=lambda: "ours")
    session.call("command", "GetLocalListVersion", {}, 0.0, 30.0)
    (end,) = session.receive(orjson.dumps([3, "ours", {"versionNumber": 1} | answer]), 1.0)
    assert isinstance(end, CommandResult)
    found = {name: value for name, value in (end.payload or {}).items() if name != "customData"}
    assert (end.outcome, found) == (CallOutcome.ANSWERED, kept)
    check_storable(end.payload or {})
    assert end.repairs
    assert session.idle


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"versionNumber": 2**63}, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ({"customData": {"vendorId": "v", "a\0": 1}}, ErrorCode.FORMAT_VIOLATION),
    ],
)
def test_where_strictness_is_asked_for_such_an_answer_is_none(
    answer: dict[str, Any], code: ErrorCode
) -> None:
    """A17: 2.1 is told why; the call ends as unanswered, for the station refused nothing."""
    session = Session(V21, new_id=lambda: "ours", facts=Facts.STRICT)
    session.call("command", "GetLocalListVersion", {}, 0.0, 30.0)
    told, end = session.receive(orjson.dumps([3, "ours", {"versionNumber": 1} | answer]), 1.0)
    assert isinstance(told, Write)
    assert orjson.loads(told.text)[:3] == [5, "ours", code]
    assert isinstance(end, CommandResult)
    assert (end.outcome, end.error_code, end.payload) == (CallOutcome.TIMED_OUT, None, None)
    assert (end.error_description or "").startswith("The station's answer could not be read: ")
    assert session.idle
    assert check_storable({"customData": {"vendorId": "v", "a": deep(50)}})
