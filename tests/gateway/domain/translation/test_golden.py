"""Golden messages: one file per version and action under ``golden/``.

``call`` is what the station sends, ``told`` the contract's message made of it, ``answer`` what the
service says (where one is asked), ``response`` what the station gets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from gateway.domain.station_actions import list_station_actions
from voltbus_backbone.contract.registry import FAULT, TYPES
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation.route import Context, Mode, make_fact_id
from voltbus_gateway.domain.translation.routes import ROUTES, find_route
from voltbus_gateway.domain.wire.frames import Call
from voltbus_gateway.domain.wire.schemas import check_request, check_response

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 3, 1, 12, 0, 0, 500000, tzinfo=UTC)

Case = dict[str, Any]


def context(protocol: Protocol) -> Context:
    """Where and when the golden messages came."""
    return Context("CS-1", "c-1", protocol, NOW)


def cases() -> list[Any]:
    """Every golden message, with an id that names it."""
    return [
        pytest.param(
            Protocol(file.parent.name), file.stem, case, id=f"{file.stem}: {case['title']}"
        )
        for file in sorted(GOLDEN.glob("*/*.json"))
        for case in orjson.loads(file.read_bytes())
    ]


@pytest.mark.parametrize("protocol", list(Protocol))
def test_every_action_from_a_station_has_a_route_and_a_golden_message(protocol: Protocol) -> None:
    """No action of the version's schemas that a station may send is without a row or an example."""
    actions = list_station_actions(protocol)
    assert {route.action for route in ROUTES if route.protocol is protocol} == actions
    assert {file.stem for file in (GOLDEN / protocol.value).iterdir()} == actions


@pytest.mark.parametrize(("protocol", "action", "case"), cases())
def test_a_call_becomes_what_the_contract_says(protocol: Protocol, action: str, case: Case) -> None:
    """The message on Kafka is the golden one, and whoever reads it gets the same back."""
    check_request(protocol, action, case["call"])
    route = find_route(protocol, action)
    if "told" not in case:
        assert route.row is None
        return
    assert route.row is not None
    assert route.to_contract is not None
    told = route.to_contract(case["call"], context(protocol))
    wire = msgspec.json.encode(told)
    assert orjson.loads(wire) == case["told"]
    assert route.row.decoder.decode(wire) == told


@pytest.mark.parametrize(("protocol", "action", "case"), cases())
def test_an_answer_becomes_what_the_station_gets(
    protocol: Protocol, action: str, case: Case
) -> None:
    """The CALLRESULT is the golden one and keeps to the version's schema."""
    route = find_route(protocol, action)
    if route.one_way:
        assert "response" not in case
        return
    answer = None
    if "answer" in case:
        assert route.mode is Mode.ANSWERED
        assert route.row is not None
        answer = msgspec.convert(case["answer"], TYPES[route.row.answer or ""].body)
    response = route.to_ocpp(answer, case["call"], context(protocol))
    assert response == case["response"]
    check_response(protocol, action, response)


@pytest.mark.parametrize(("protocol", "action", "case"), cases())
def test_no_token_reaches_an_event(protocol: Protocol, action: str, case: Case) -> None:
    """Only request topics carry identifiers: no golden token or secret is in a public event."""
    route = find_route(protocol, action)
    if route.row is None or route.row.topic != "stations.events":
        return
    wire = orjson.dumps(case["told"])
    for sensitive in (b"04A2B3C4", b"hunter2", b'1234"', b"A. Person", b"AAAA"):
        assert sensitive not in wire


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.protocol}-{route.action}")
def test_rows_are_whole(route: Any) -> None:
    """A row that asks names its answer; one that tells nobody says why."""
    if route.mode is Mode.ANSWERED:
        assert route.row.answer in TYPES
        assert route.row.topic in {
            "auth.requests",
            "auth.certificate-requests",
            "config.requests",
        }
    if route.mode is Mode.ACKNOWLEDGED:
        assert route.row.topic == "stations.events"
    if route.row is None:
        assert route.reason
    assert (route.row is None) == (route.to_contract is None)
    assert route.row is not FAULT


@pytest.mark.parametrize(
    "action",
    ["FirmwareStatusNotification", "LogStatusNotification", "SecurityEventNotification"],
)
def test_facts_that_differ_by_version_only_are_the_same_event(action: str) -> None:
    """The same words of a station of any version make the same event but for its protocol."""
    payloads: dict[str, Case] = {
        "FirmwareStatusNotification": {"status": "Installed"},
        "LogStatusNotification": {"status": "Uploaded", "requestId": 1},
        "SecurityEventNotification": {"type": "Reset", "timestamp": "2026-03-01T12:00:00Z"},
    }
    payload = payloads[action]
    told = []
    for protocol in Protocol:
        route = find_route(protocol, action)
        assert route.to_contract is not None
        message = msgspec.structs.asdict(route.to_contract(payload, context(protocol)))
        assert message.pop("protocol") is protocol
        told.append((route.row, message))
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize(("protocol", "action", "case"), cases())
def test_a_resend_with_a_new_message_id_is_the_same_fact(
    protocol: Protocol, action: str, case: Case
) -> None:
    """A14: what has a moment of its own gets the same id whenever and however it comes again."""
    route = find_route(protocol, action)
    if route.to_contract is None:
        return
    now = context(protocol)
    later = Context("CS-1", "c-2", protocol, NOW.replace(hour=18))
    first = route.to_contract(case["call"], now)
    again = route.to_contract(case["call"], later)
    same = make_fact_id(now, Call("1", action, case["call"]), route, first) == make_fact_id(
        later, Call("77", action, case["call"]), route, again
    )
    assert same == (first == again)
