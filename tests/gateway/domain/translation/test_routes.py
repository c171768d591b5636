"""The route table's edges: unknown actions, silence, the ids of facts, the page of docs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation.route import Context, Mode, make_fact_id
from voltbus_gateway.domain.translation.routes import ROUTES, find_route
from voltbus_gateway.domain.translation.routes_page import page
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call
from voltbus_gateway.domain.wire.schemas import check_request

if TYPE_CHECKING:
    from collections.abc import Callable

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": "2026-03-01T12:00:00Z"}
EVENT: dict[str, Any] = {
    "eventType": "Started",
    "timestamp": "2026-03-01T12:00:00Z",
    "triggerReason": "Authorized",
    "seqNo": 0,
    "transactionInfo": {"transactionId": "0"},
}


def context(protocol: Protocol = V16, **change: Any) -> Context:
    """Where and when a message came."""
    parts: dict[str, Any] = {
        "station_id": "CS-1",
        "connection_id": "c-1",
        "now": NOW,
    }
    return Context(protocol=protocol, **(parts | change))


def identity(action: str, payload: dict[str, Any], where: Context, id_: str = "1") -> str:
    """The ce_id of this message."""
    route = find_route(where.protocol, action)
    assert route.to_contract is not None
    call = Call(id_, action, payload)
    return make_fact_id(where, call, route, route.to_contract(payload, where))


def silence(protocol: Protocol, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What the station hears when no service answers."""
    return find_route(protocol, action).on_silence(payload, context(protocol))


@pytest.mark.parametrize("protocol", list(Protocol))
def test_an_action_that_only_we_send(protocol: Protocol) -> None:
    """It is known but not for us: NotSupported."""
    with pytest.raises(CallFailed) as caught:
        find_route(protocol, "Reset")
    assert caught.value.code is ErrorCode.NOT_SUPPORTED


@pytest.mark.parametrize("protocol", list(Protocol))
def test_an_action_that_nobody_knows(protocol: Protocol) -> None:
    """NotImplemented."""
    with pytest.raises(CallFailed) as caught:
        find_route(protocol, "Dance")
    assert caught.value.code is ErrorCode.NOT_IMPLEMENTED


def test_an_action_of_another_version() -> None:
    """1.6's StartTransaction does not exist in 2.x, nor TransactionEvent in 1.6."""
    for protocol, action in ((V201, "StartTransaction"), (V16, "TransactionEvent")):
        with pytest.raises(CallFailed) as caught:
            find_route(protocol, action)
        assert caught.value.code is ErrorCode.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("protocol", "action"),
    [
        (V16, "Authorize"),
        (V16, "StartTransaction"),
        (V16, "BootNotification"),
        (V201, "Authorize"),
        (V201, "BootNotification"),
        (V21, "Authorize"),
    ],
)
def test_no_decision_is_an_error(protocol: Protocol, action: str) -> None:
    """B: InternalError, never Invalid, which would poison the station's cache [P]."""
    with pytest.raises(CallFailed) as caught:
        silence(protocol, action, {})
    assert caught.value.code is ErrorCode.INTERNAL_ERROR


def test_a_stop_is_confirmed_in_silence() -> None:
    """Kafka has it, and it is always confirmed (1.6 §4.10)."""
    assert silence(V16, "StopTransaction", {}) == {}


@pytest.mark.parametrize("protocol", [V201, V21])
@pytest.mark.parametrize(
    ("kind", "token", "confirmed"),
    [
        ("Started", True, False),
        ("Started", False, True),
        ("Updated", True, True),
        ("Ended", False, True),
    ],
)
def test_a_transaction_event_in_silence(
    protocol: Protocol,
    kind: str,
    token: bool,  # noqa: FBT001 - a row of the table
    confirmed: bool,  # noqa: FBT001 - likewise
) -> None:
    """Only a start that asks for a decision on a token must wait for one."""
    event = EVENT | {"eventType": kind}
    if token:
        event["idToken"] = {"idToken": "TAG", "type": "ISO14443"}
    if confirmed:
        assert silence(protocol, "TransactionEvent", event) == {}
    else:
        with pytest.raises(CallFailed):
            silence(protocol, "TransactionEvent", event)


def test_a_start_resent_is_the_same_fact() -> None:
    """A14, B: new message id, new connection, days later, other zone: the same start."""
    later = context(connection_id="c-9", now=NOW + timedelta(days=2))
    again = START | {"timestamp": "2026-03-01T13:00:00.000+01:00"}
    assert identity("StartTransaction", START, context()) == identity(
        "StartTransaction", again, later, "99"
    )


@pytest.mark.parametrize("change", [{"connectorId": 2}, {"meterStart": 1}])
def test_another_start_is_another_fact(change: dict[str, Any]) -> None:
    """B: the business key of a start."""
    first = identity("StartTransaction", START, context())
    assert first != identity("StartTransaction", START | change, context())
    assert first != identity("StartTransaction", START, context(station_id="CS-2"))


def test_the_token_is_not_in_the_identity() -> None:
    """Privacy: the id of an event must not let anyone try out short UIDs."""
    other = START | {"idTag": "OTHER"}
    assert identity("StartTransaction", START, context()) == identity(
        "StartTransaction", other, context()
    )


def test_reused_transaction_ids_and_sequence_numbers_stay_apart() -> None:
    """Design 9: "0" again after a restart, seqNo 0 for both Started and Ended."""
    seen = {
        identity("TransactionEvent", EVENT | change, context(V201))
        for change in (
            {},
            {"eventType": "Ended"},
            {"timestamp": "2026-03-02T12:00:00Z"},
            {"seqNo": 1},
            {"transactionInfo": {"transactionId": "1"}},
        )
    }
    assert len(seen) == 5


def test_a_resent_event_that_says_it_was_offline_is_the_same() -> None:
    """A station may add the offline flag when it repeats an event from its queue."""
    assert identity("TransactionEvent", EVENT, context(V201)) == identity(
        "TransactionEvent", EVENT | {"offline": True}, context(V201), "2"
    )


def test_messages_without_a_moment_are_facts_of_their_own() -> None:
    """The same status twice is two facts; the same arrival told twice (by a retry) is one."""
    payload = {"status": "Idle"}
    action = "FirmwareStatusNotification"
    first = identity(action, payload, context())
    assert first == identity(action, payload, context())
    assert first != identity(action, payload, context(now=NOW + timedelta(seconds=1)), "2")
    assert first != identity(action, payload, context(connection_id="c-2"))


@pytest.mark.parametrize("value", [2**63, -(2**63), 1e30])
def test_integers_that_no_store_can_keep_are_refused(value: float) -> None:
    """JSON Schema sets no limit; 64 bits are what is kept."""
    route = find_route(V201, "TransactionEvent")
    assert route.to_contract is not None
    with pytest.raises(CallFailed) as caught:
        route.to_contract(EVENT | {"seqNo": value}, context(V201))
    assert caught.value.code is ErrorCode.PROPERTY_CONSTRAINT_VIOLATION


def test_a_whole_number_with_a_point_is_an_integer() -> None:
    """JSON Schema draft 6 says that 3.0 is an integer; the contract gets 3."""
    route = find_route(V201, "TransactionEvent")
    assert route.to_contract is not None
    message: Any = route.to_contract(EVENT | {"seqNo": 3.0}, context(V201))
    assert type(message.seq_no) is int


COST = {
    "totalCost": {"currency": "EUR", "typeOfCost": "NormalCost", "total": {}},
    "totalUsage": {"energy": 1, "chargingTime": 1, "idleTime": 0},
}


def custom(inner: Any) -> dict[str, Any]:
    """An object's customData, which may hold anything."""
    return {"customData": {"vendorId": "x", "inner": inner}}


def nest(levels: int) -> Any:
    """So many lists in each other."""
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        (nest(300), ErrorCode.FORMAT_VIOLATION),
        (2**63, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ({"a\0": 1}, ErrorCode.FORMAT_VIOLATION),
    ],
)
@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("ClearedChargingLimit", lambda inner: {"chargingLimitSource": "EMS"} | custom(inner)),
        ("TransactionEvent", lambda inner: EVENT | {"costDetails": COST | custom(inner)}),
    ],
)
def test_what_nobody_behind_us_could_keep_is_refused(
    action: str,
    payload: Callable[[Any], dict[str, Any]],
    inner: Any,
    code: ErrorCode,
) -> None:
    """The schema lets customData hold anything: too deep or too large gets an error here."""
    route = find_route(V21, action)
    assert route.to_contract is not None
    check_request(V21, action, payload(inner))
    with pytest.raises(CallFailed) as caught:
        route.to_contract(payload(inner), context(V21))
    assert caught.value.code is code
    kept = route.to_contract(payload(nest(20)), context(V21))
    assert msgspec.json.encode(kept)


def test_one_way_rows_are_sends() -> None:
    """A17: only NotifyPeriodicEventStream of 2.1 is a SEND."""
    assert {(route.protocol, route.action) for route in ROUTES if route.one_way} == {
        (V21, "NotifyPeriodicEventStream")
    }


def test_nothing_a_station_may_send_is_refused() -> None:
    """Every action has an answer that makes sense; REFUSED is there for operators' decisions."""
    assert all(route.mode is not Mode.REFUSED for route in ROUTES)


def test_the_page_of_docs_is_up_to_date() -> None:
    """docs/actions.md is what routes_page writes."""
    file = Path(__file__).parents[4] / "docs" / "actions.md"
    assert file.read_text(encoding="utf-8") == page()
