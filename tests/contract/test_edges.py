"""The largest legal input of each edge, translated, fits the next edge (docs/adr/0011-edges.md)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.frames_made import places, sound
from voltbus_agreements.api.bodies import TermsBody
from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.agreement import Policy
from voltbus_agreements.domain.refusals import InvalidTerms
from voltbus_auth.transactions.domain import account
from voltbus_auth.transactions.domain.record import fold, open_record
from voltbus_backbone import bounds
from voltbus_backbone.bounds import RECORD_BYTES, record_bytes
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.agreements import RetrieveAgreementAnswer
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.config import CommandRequested
from voltbus_backbone.contract.stations import StationReported
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain import commands, outgoing, sizes
from voltbus_config.domain.connections import Connection
from voltbus_gateway.domain.translation.fitting import fit, shrink
from voltbus_gateway.domain.translation.route import Context, Mode, make_fact_id
from voltbus_gateway.domain.translation.routes import find_route
from voltbus_gateway.domain.wire.errors import CallFailed
from voltbus_gateway.domain.wire.frames import Call, decode
from voltbus_gateway.domain.wire.schemas import check_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATION = "S" * 48
GATEWAY = "g" * 63
# Headers that an asker adds, and a trace.
_ASKING = envelope.Asking("g" * 90, "voltbus.gateway.inbox" * 3, 99_999, 2**53)

FILLERS: tuple[Any, ...] = (
    1e15,  # five bytes of a frame, eighteen of a record
    "é",
    {"value": "1"},
    {"value": 1},
    {"value": 1e15},
    {"value": "1", "measurand": "Voltage"},
    {"additionalIdToken": "a", "type": "b"},
)


def context(protocol: Protocol) -> Context:
    return Context(STATION, "c" * 26, protocol, NOW)


def text_of(value: Any) -> bytes:
    """JSON as short as a station may write it."""
    return orjson.dumps(value).replace(b"1000000000000000.0", b"1e15")


def frame_of(action: str, payload: Any) -> bytes:
    return text_of([2, "m" * 36, action, payload])


def grown(action: str, payload: Any, holder: Any, key: Any, filler: Any) -> Any:
    """The payload with as much of the filler in a place as one frame holds."""
    room = bounds.FRAME_BYTES - len(frame_of(action, payload)) - 64
    each = len(text_of(filler)) + 1
    held = holder[key]
    if isinstance(held, list):
        same = held[0] if held and not isinstance(filler, dict | float) else filler
        each = len(text_of(same)) + 1
        held.extend([same] * (room // each))
    elif isinstance(held, str):
        holder[key] = held + "é" * (room // 2)
    else:
        payload["customData"] = {"vendorId": "v", "more": [filler] * (room // each)}
    return payload


def facts_of(protocol: Protocol, action: str, payload: Any) -> tuple[Message, list[Any]] | None:
    """What a gateway makes of a frame: the whole message, and the records that take its place."""
    frame = frame_of(action, payload)
    assert len(frame) <= bounds.FRAME_BYTES
    try:
        call = decode(frame, protocol)
        assert isinstance(call, Call)
        check_request(protocol, action, call.payload)
        route = find_route(protocol, action)
        if route.row is None or route.to_contract is None:
            return None
        message = route.to_contract(call.payload, context(protocol))
    except CallFailed:
        return None  # not legal
    name = make_fact_id(context(protocol), call, route, message)
    fact = fit(message) if route.row.fact or route.mode is Mode.ACKNOWLEDGED else None
    messages = [message] if fact is None else [*fact.before, fact.core, *fact.after]
    return message, [record_of(route.row, each, f"{name}/99") for each in messages]


def record_of(row: MessageType[Any], message: Message, name: str) -> tuple[Any, Any]:
    record = envelope.event(
        row,
        message,
        id=name,
        source=f"/voltbus/gateway/{GATEWAY}",
        now=NOW,
        traceparent=b"0" * 55,
    )
    record.headers.extend(envelope.asking_headers(_ASKING))
    assert record_bytes(record.key, record.value, record.headers) <= RECORD_BYTES
    return message, row.decoder.decode(record.value or b"")


def event_fits(message: TransactionMessage) -> None:
    """Auth's event of a message fits too, with all that its record adds."""
    record = fold(open_record(message, wire_id="i" * 36), message, None)
    told = account.snapshot(record, at=message.at, samples=message.samples)
    record_of(registry.TRANSACTION_UPDATED, told, "r" * 64)


@st.composite
def largest_frames(draw: st.DrawFn) -> tuple[Protocol, str, Any]:
    """A golden call of any action, grown in one place to the largest frame."""
    protocol = draw(st.sampled_from(Protocol))
    action, text = draw(st.sampled_from(sound(protocol)))
    payload = orjson.loads(text)
    found = places(payload) or [()]
    place = draw(st.sampled_from([*found, ()]))
    filler = draw(st.sampled_from(FILLERS))
    if not place:
        return protocol, action, grown(action, payload, {"": None}, "", filler)
    holder = payload
    for step in place[:-1]:
        holder = holder[step]
    return protocol, action, grown(action, payload, holder, place[-1], filler)


@settings(max_examples=20, deadline=None)
@given(largest_frames())
def test_the_facts_of_the_largest_frame_fit_records_and_what_is_made_of_them(
    case: tuple[Protocol, str, Any],
) -> None:
    """Whatever legal frame of the largest size comes: Kafka takes what we make of it."""
    found = facts_of(*case)
    if found is None:
        return
    for sent, read in found[1]:
        assert type(read) is type(sent)
        if isinstance(read, TransactionMessage):
            event_fits(read)


AT = "2026-03-01T11:59:58Z"


def stop_16(values: list[int]) -> dict[str, Any]:
    """A 1.6 stop with samples of these values, as short as they can be."""
    samples = [{"value": str(value)} for value in values]
    return {
        "transactionId": 42,
        "timestamp": AT,
        "meterStop": 5000,
        "transactionData": [{"timestamp": AT, "sampledValue": samples}],
    }


def event_2x(kind: str, values: list[int], **fields: Any) -> dict[str, Any]:
    """A 2.x event with samples of these values."""
    samples = [{"value": value, **fields} for value in values]
    return {
        "eventType": kind,
        "timestamp": AT,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": 7,
        "transactionInfo": {"transactionId": "t-1"},
        "meterValue": [{"timestamp": AT, "sampledValue": samples}],
    }


def fill(action: str, make: Callable[[list[int]], Any]) -> Any:
    """With as many samples, each of another value, as one frame holds."""
    first = 100_000
    one, two = (len(frame_of(action, make([first] * count))) for count in (1, 2))
    return make(list(range(first, first + (bounds.FRAME_BYTES - one) // (two - one))))


STOPS = [
    (Protocol.OCPP16, "StopTransaction", stop_16),
    *(
        (
            Protocol.OCPP21,
            "TransactionEvent",
            lambda values, kind=kind, fields=fields: event_2x(kind, values, **fields),
        )
        for kind in ("Started", "Updated", "Ended")
        for fields in ({}, {"context": "Other"})
    ),
]


@pytest.mark.parametrize(("protocol", "action", "make"), STOPS)
def test_a_transaction_s_message_full_of_samples_loses_none_and_keeps_its_core(
    protocol: Protocol, action: str, make: Callable[[list[int]], Any]
) -> None:
    """1.6 StopTransaction of 37,000 samples, a 2.x TransactionEvent: all told, in bounded records.

    The core keeps what only it may say; the other records are updates of the same transaction.
    """
    found = facts_of(protocol, action, fill(action, make))
    assert found is not None
    whole = found[0]
    assert isinstance(whole, TransactionMessage)
    parts = [read for _, read in found[1]]
    assert len(parts) > 1
    core = parts[0] if whole.phase is Phase.STARTED else parts[-1]
    assert msgspec.structs.replace(core, samples=()) == msgspec.structs.replace(whole, samples=())
    assert Counter(s for part in parts for s in part.samples) == Counter(whole.samples)
    assert len({part.samples for part in parts}) == len(parts)
    for part in parts:
        event_fits(part)
        if part is not core:
            assert (part.phase, part.seq_no, part.transaction_id) == (
                Phase.UPDATED,
                None,
                whole.transaction_id,
            )


def test_samples_that_are_the_same_are_told_once() -> None:
    """27,000 times {"value":"1"} at one time: parts that are alike would be taken for a resend."""
    found = facts_of(Protocol.OCPP16, "StopTransaction", stop_16([1] * 27_000))
    assert found is not None
    ((_, told),) = found[1]
    assert (told.phase, told.meter_wh, len(told.samples)) == (Phase.ENDED, 5000, 1)


@pytest.mark.parametrize(
    ("phase", "context", "wanted"),
    [("Started", "Transaction.Begin", 12), ("Ended", "Transaction.End", 99)],
)
def test_the_register_of_a_start_or_stop_stays_with_it(
    phase: str, context: str, wanted: int
) -> None:
    """Among thousands of samples the marked one is the core's, wherever the station put it."""
    payload = fill("TransactionEvent", lambda values: event_2x(phase, values))
    samples = payload["meterValue"][0]["sampledValue"]
    samples[len(samples) // 2 : len(samples) // 2 + 6] = [{"value": wanted, "context": context}]
    found = facts_of(Protocol.OCPP201, "TransactionEvent", payload)
    assert found is not None
    parts = [read for _, read in found[1]]
    core = parts[0] if phase == "Started" else parts[-1]
    assert [s.value for s in core.samples if s.context == context] == [wanted]


def test_the_parts_of_meter_values_are_meter_values() -> None:
    """1.6 MeterValues of the largest frame: several facts of the same kind, nothing lost."""

    def make(values: list[int]) -> dict[str, Any]:
        told = stop_16(values)["transactionData"]
        return {"connectorId": 1, "transactionId": 42, "meterValue": told}

    found = facts_of(Protocol.OCPP16, "MeterValues", fill("MeterValues", make))
    assert found is not None
    whole, parts = found[0], [read for _, read in found[1]]
    assert isinstance(whole, type(parts[0]))
    assert len(parts) > 1
    assert sum(len(part.samples) for part in parts) == len(whole.samples)
    assert {part.transaction_id for part in parts} == {"42"}


def test_a_report_is_told_without_what_does_not_fit() -> None:
    """CustomData of numbers grows fourfold: it is left out, the rest is told, and that is said."""
    payload = {"requestId": 1, "generatedAt": "2026-03-01T11:59:58Z", "seqNo": 0}
    grown("NotifyReport", payload, {"": None}, "", 1e15)
    found = facts_of(Protocol.OCPP201, "NotifyReport", payload)
    assert found is not None
    ((_, told),) = found[1]
    assert isinstance(told, StationReported)
    assert told.payload == {name: payload[name] for name in ("requestId", "generatedAt", "seqNo")}
    assert told.repairs == ("customData: left out, the message is too large",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=9), JSON, max_size=8), st.integers(2, 300))
def test_whatever_is_shrunk_fits_and_says_what_it_lost(payload: dict[str, Any], most: int) -> None:
    """Members are kept as they are, or cut as lists, or left out; never changed otherwise."""
    kept, repairs = shrink(payload, most)
    assert len(msgspec.json.encode(kept)) <= most or kept == payload == {}
    assert bool(repairs) == (kept != payload)
    for name, value in kept.items():
        assert value == payload[name] or repairs


def test_each_edge_leaves_room_for_the_next() -> None:
    """Frame, fact, event, record, topic: each is smaller than what it becomes part of."""
    headers = 4_000
    steps = [
        bounds.FRAME_BYTES,
        bounds.FACT_BYTES - bounds.CORE_BYTES,
        bounds.FACT_BYTES,
        bounds.FACT_BYTES + bounds.CORE_BYTES,
        bounds.RECORD_BYTES - headers,
        bounds.TOPIC_MESSAGE_BYTES - headers,
    ]
    assert all(smaller < larger for smaller, larger in pairwise(steps))
    assert bounds.COMMAND_BODY_BYTES <= bounds.COMMAND_BYTES < bounds.RECORD_BYTES - headers
    assert bounds.RECORD_BYTES - headers > bounds.AGREEMENT_BYTES


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1e15, "é", {"a": "b"}, [1, 2]]), st.integers(1, 300_000))
def test_a_command_that_is_taken_reaches_its_gateway_and_its_station(
    filler: Any, count: int
) -> None:
    """What config lets pass, from REST or Kafka, fits the record to the gateway."""
    request = CommandRequested(
        station_id=STATION,
        action="DataTransfer",
        payload={"vendorId": "v", "data": [filler] * count},
        idempotency_key="k" * bounds.COMMAND_NAME_LENGTH,
        cause="c" * bounds.COMMAND_NAME_LENGTH,
    )
    if sizes.find_problem(request) is not None:
        assert len(msgspec.json.encode(request.payload)) > bounds.COMMAND_BYTES
        return
    command = commands.create_command("cmd-1", request, NOW, timedelta(days=1))
    connection = Connection(
        connection_id="c" * 26,
        gateway_id=GATEWAY,
        gateway_partition=0,
        protocol=Protocol.OCPP21,
        connected_at=NOW,
        ready_at=NOW,
        open=True,
    )
    out = commands.mark_sent(command, connection, NOW, timedelta(seconds=10))
    call = outgoing.build_send_call(out, out.action, out.payload or {}, connection)
    assert call.message is not None
    record_of(call.row, call.message, call.id)
    told = outgoing.build_command_changed(out, NOW)
    assert told.message is not None
    record_of(told.row, told.message, told.id)


def full_terms(length: int) -> TermsBody:
    """Terms with every list as long as the API allows, of texts of this length."""
    texts = ["é" * length] * 1000
    numbered = [f"{number:03}" for number in range(1000)]
    places_of_scope = ("locations", "stations", "groups", "evse_kinds")
    return TermsBody.model_validate(
        {
            "kind": "driver",
            "name": "é" * length,
            "valid_from": "2026-01-01T00:00:00Z",
            "parties": [
                {"id": number + "é" * (length - 3), "role": "customer"} for number in numbered
            ],
            "tokens": [
                {"ref": number + "t" * min(length, 125), "type": "ISO14443"} for number in numbered
            ],
            "scope": dict.fromkeys(places_of_scope, texts),
            "payment_methods": texts,
            "metadata": {f"key{n}": "é" * 500 for n in range(50)},
        }
    )


def test_an_agreement_within_every_limit_of_the_api_can_be_too_large() -> None:
    """1.3 MB and more of short enough texts: refused with the largest member's name, not stored."""
    with pytest.raises(InvalidTerms) as caught:
        lifecycle.create("agr_1", full_terms(255).terms(now=NOW), now=NOW)
    assert [error.field for error in caught.value.errors] == ["scope"]
    assert "é" not in str(caught.value.errors)


@pytest.mark.parametrize("length", [1, 3, 5, 6, 7, 8, 9, 10, 12, 15, 20])
def test_an_agreement_that_is_taken_fits_its_event_and_its_answer(length: int) -> None:
    """Whatever passes is told in one record, as an event and as an answer over Kafka."""
    try:
        change = lifecycle.create("agr_1", full_terms(length).terms(now=NOW), now=NOW)
    except InvalidTerms:
        assert length > 5
        return
    snapshot = change.agreement.snapshot()
    record_of(registry.AGREEMENT_CREATED, snapshot, "agr_1:1")
    assert len(envelope.encode(RetrieveAgreementAnswer(agreement=snapshot))) < RECORD_BYTES // 2


def test_an_agreement_grown_by_patches_is_bounded_too() -> None:
    """Each PATCH is small; what they add up to is measured."""
    change = lifecycle.create("agr_1", full_terms(1).terms(now=NOW), now=NOW)
    with pytest.raises(InvalidTerms):
        lifecycle.amend(change.agreement, full_terms(255).terms(now=NOW), now=NOW, policy=Policy())
