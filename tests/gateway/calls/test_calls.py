"""A station's calls on the socket: answers, facts, silence, garbage (A13-A21, design 4)."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.stage import Stage, gateways_end, soon
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voltbus_backbone.bus.envelope import Event

BOOT_16 = {"chargePointVendor": "Acme", "chargePointModel": "One"}
BOOT_2 = {
    "reason": "PowerUp",
    "chargingStation": {"vendorName": "Acme", "model": "One"},
}
START_16 = {
    "connectorId": 1,
    "idTag": "ABC",
    "meterStart": 100,
    "timestamp": "2026-03-01T10:00:00Z",
}
STOP_16 = {"transactionId": 42, "meterStop": 900, "timestamp": "2026-03-01T11:00:00Z"}
STATUS_16 = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
GARBAGE = [
    "",
    "x",
    "{}",
    "[]",
    "null",
    "12",
    "[2]",
    '[2,"m1"]',
    '["2","m1","Heartbeat",{}]',
    '[2,7,"Heartbeat",{}]',
    '[2,"m1","Heartbeat",[]]',
    '[2,"m1","\\ud800",{}]',
    '[2,"' + "x" * 37 + '","Heartbeat",{}]',
    "[" * 2000,
    '{"a":' * 500,
]


def event_2(kind: str, **more: Any) -> dict[str, Any]:
    """A TransactionEvent."""
    return {
        "eventType": kind,
        "timestamp": "2026-03-01T10:00:00Z",
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "t-1"},
    } | more


@pytest.mark.parametrize(
    ("protocol", "payload"), [("ocpp1.6", BOOT_16), ("ocpp2.0.1", BOOT_2), ("ocpp2.1", BOOT_2)]
)
async def test_boot_is_answered_by_config(
    stage: Stage, protocol: str, payload: dict[str, Any]
) -> None:
    """BootNotification: config's word, our time, its interval, in every version."""
    async with stage.station("CP-1", offers=(protocol,)) as station:
        kind, id_, answer = await station.call("BootNotification", payload)
        assert (kind, id_, answer["status"], answer["interval"]) == (3, "m1", "Accepted", 300)
        assert answer["currentTime"].endswith("Z")
    told = stage.bus.events("config.requests")[0]
    assert told.message.vendor == "Acme"


@pytest.mark.parametrize(
    ("protocol", "payload", "field"),
    [
        ("ocpp1.6", {"idTag": "ABC"}, "idTagInfo"),
        ("ocpp2.0.1", {"idToken": {"idToken": "ABC", "type": "ISO14443"}}, "idTokenInfo"),
        ("ocpp2.1", {"idToken": {"idToken": "ABC", "type": "ISO14443"}}, "idTokenInfo"),
    ],
)
async def test_authorize_is_answered_by_auth(
    stage: Stage, protocol: str, payload: dict[str, Any], field: str
) -> None:
    """Authorize: auth's decision in the version's words."""
    stage.services.tokens["ABC"] = AuthorizationStatus.ACCEPTED
    async with stage.station("CP-1", offers=(protocol,)) as station:
        answer = await station.call("Authorize", payload)
    assert answer[2][field]["status"] == "Accepted"


async def test_authorize_without_a_decision_is_an_internal_error(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Undecided is CALLERROR InternalError, never Invalid, which would poison caches (B)."""
    stage = await start(answer_deadline_s=0.05)
    stage.services.silent.add(registry.AUTHORIZE.name)
    async with stage.station("CP-1") as station:
        answer = await station.call("Authorize", {"idTag": "ABC"})
        assert answer[:3] == [4, "m1", "InternalError"]
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_a_fault_is_an_internal_error_at_once(stage: Stage) -> None:
    """A service that says it cannot decide is not waited for, and not read as a refusal."""
    stage.services.faulty.add(registry.AUTHORIZE.name)
    async with stage.station("CP-1") as station:
        answer = await station.call("Authorize", {"idTag": "ABC"})
    assert answer[2] == "InternalError"


async def test_a_start_is_told_and_asked_at_once(stage: Stage) -> None:
    """StartTransaction.conf carries auth's transaction id and a re-verified status (1.6 §4.8)."""
    stage.services.tokens["ABC"] = AuthorizationStatus.BLOCKED
    async with stage.station("CP-1") as station:
        answer = await station.call("StartTransaction", START_16)
    assert answer[2] == {"transactionId": 42, "idTagInfo": {"status": "Blocked"}}


async def test_a_stop_that_kafka_has_is_confirmed_although_auth_is_silent(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Design 4: MongoDB or a service is down, yet StopTransaction is confirmed (1.6 §4.10)."""
    stage = await start(answer_deadline_s=0.05)
    stage.services.silent.add(registry.TRANSACTION.name)
    async with stage.station("CP-1") as station:
        assert await station.call("StopTransaction", STOP_16) == [3, "m1", {}]
    assert [event.message.meter_wh for event in stage.bus.events("auth.requests")[1:]] == [900]


async def test_a_stop_is_confirmed_after_a_fault(stage: Stage) -> None:
    """As above when the service says that it cannot answer now."""
    stage.services.faulty.add(registry.TRANSACTION.name)
    async with stage.station("CP-1") as station:
        assert await station.call("StopTransaction", STOP_16) == [3, "m1", {}]


async def test_a_start_with_a_token_waits_for_its_decision(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """2.x: a start with a token cannot be confirmed without idTokenInfo, an update can."""
    stage = await start(answer_deadline_s=0.05)
    stage.services.silent.add(registry.TRANSACTION.name)
    token = {"idToken": {"idToken": "ABC", "type": "ISO14443"}}
    async with stage.station("CP-1", offers=("ocpp2.0.1",)) as station:
        started = await station.call("TransactionEvent", event_2("Started", **token))
        updated = await station.call("TransactionEvent", event_2("Updated", seqNo=1))
    assert started[2] == "InternalError"
    assert updated == [3, "m1", {}]


@pytest.mark.parametrize(
    ("action", "payload"), [("StopTransaction", STOP_16), ("StatusNotification", STATUS_16)]
)
async def test_what_kafka_does_not_have_is_never_acknowledged(
    stage: Stage, action: str, payload: dict[str, Any]
) -> None:
    """Design 4: Kafka refuses, so the station hears an error and keeps its message."""
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT_16))[0] == 3
        stage.bus.broken = True
        assert (await station.call(action, payload))[:3] == [4, "m1", "InternalError"]
        stage.bus.broken = False
        assert (await station.call(action, payload))[0] == 3


async def test_a_fact_is_acknowledged_only_after_kafka_has_it(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """While Kafka hangs there is no answer; the error comes before the station's own timeout."""
    stage = await start(answer_deadline_s=1)
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT_16))[0] == 3
        stage.bus.stalled = True
        assert (await station.call("StopTransaction", STOP_16))[2] == "InternalError"
        stage.bus.stalled = False
        assert (await station.call("StopTransaction", STOP_16))[0] == 3


async def test_the_same_fact_has_the_same_event_id(stage: Stage) -> None:
    """A resend with a new message id is the same CloudEvent (A14, design 3)."""
    status = STATUS_16 | {"timestamp": "2026-03-01T10:00:00Z"}
    async with stage.station("CP-1") as station:
        for id_ in ("1", "2"):
            assert await station.call("StatusNotification", status, id_) == [3, id_, {}]
    events = [
        event
        for event in stage.bus.events("stations.events")
        if event.type == registry.STATUS_REPORTED.name
    ]
    assert len(events) == 2
    assert len({(event.source, event.id) for event in events}) == 1


async def test_heartbeats_are_local_and_told_now_and_then(stage: Stage) -> None:
    """Heartbeat needs no service; at most one StationSeen per minute and station."""
    stage.services.silent.update({registry.AUTHORIZE.name, registry.BOOT.name})
    async with stage.station("CP-1") as station:
        for number in range(5):
            answer = await station.call("Heartbeat", {}, str(number))
            assert answer[0] == 3
    seen = [
        event
        for event in stage.bus.events("stations.events")
        if event.type == registry.STATION_SEEN.name
    ]
    assert len(seen) == 1


async def test_pipelined_calls_are_answered_in_order(stage: Stage) -> None:
    """Design 9: stations send ahead; answers come in order, by id, whatever each one waits for."""
    stage.services.tokens["ABC"] = AuthorizationStatus.ACCEPTED
    calls: list[tuple[str, dict[str, Any]]] = [
        ("Authorize", {"idTag": "ABC"}),
        ("Heartbeat", {}),
        ("StartTransaction", START_16),
        ("NoSuchAction", {}),
        ("StatusNotification", STATUS_16),
        ("Heartbeat", {}),
    ]
    async with stage.station("CP-1") as station:
        for number, (action, payload) in enumerate(calls * 20):
            await station.send(2, str(number), action, payload)
        answers = [await station.receive() for _ in range(len(calls) * 20)]
    assert [answer[1] for answer in answers] == [str(number) for number in range(len(calls) * 20)]
    kinds = [answer[0] for answer in answers]
    assert kinds == [3, 3, 3, 4, 3, 3] * 20


@pytest.mark.parametrize("text", GARBAGE)
@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
async def test_garbage_is_answered_and_the_connection_lives(
    stage: Stage, text: str, protocol: str
) -> None:
    """Not JSON, no array, no call: a CALLERROR, and the next call is served."""
    async with stage.station("CP-1", offers=(protocol,)) as station:
        await station.socket.send(text)
        assert (await station.receive())[0] == 4
        assert (await station.call("Heartbeat", {}))[:2] == [3, "m1"]


@pytest.mark.parametrize(
    ("protocol", "action", "payload", "code"),
    [
        ("ocpp1.6", "NoSuchAction", {}, "NotImplemented"),
        ("ocpp2.0.1", "NoSuchAction", {}, "NotImplemented"),
        ("ocpp1.6", "Reset", {"type": "Hard"}, "NotSupported"),
        ("ocpp1.6", "Authorize", {}, "OccurenceConstraintViolation"),
        ("ocpp2.1", "Authorize", {}, "OccurrenceConstraintViolation"),
        ("ocpp1.6", "Authorize", {"idTag": 5}, "TypeConstraintViolation"),
        ("ocpp1.6", "Authorize", {"idTag": "A", "x": 1}, "FormationViolation"),
        ("ocpp2.0.1", "Heartbeat", {"x": 1}, "FormatViolation"),
    ],
)
async def test_a_bad_call_gets_its_code_in_its_versions_spelling(
    stage: Stage, protocol: str, action: str, payload: dict[str, Any], code: str
) -> None:
    """A15: an unknown action, or a payload against the schema; the connection goes on."""
    async with stage.station("CP-1", offers=(protocol,)) as station:
        answer = await station.call(action, payload)
        assert answer[:3] == [4, "m1", code]
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_unknown_properties_pass_by_a_switch(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Some stations add properties of their own: refused, or by a setting let pass."""
    stage = await start(unknown_properties="pass")
    async with stage.station("CP-1") as station:
        assert (await station.call("StatusNotification", STATUS_16 | {"vendor": 1}))[0] == 3


async def test_a_frame_over_the_limit_closes_with_1009(stage: Stage) -> None:
    """A19: the default limit is 512 KiB; others are not disturbed."""
    async with stage.station("CP-1") as station, stage.station("CP-2") as other:
        await station.socket.send('[2,"m1","DataTransfer",{"vendorId":"' + "x" * 524_288 + '"}]')
        assert (await station.wait_closed())[0] == 1009
        assert (await other.call("Heartbeat", {}))[0] == 3


async def test_text_that_is_no_utf8_closes_with_1007(stage: Stage) -> None:
    """A19, RFC 6455 §8.1: a text frame must be UTF-8."""
    async with stage.station("CP-1") as station:
        await station.socket.send(b"\xff\xfe", text=True)
        assert (await station.wait_closed())[0] == 1007


async def test_a_binary_message_with_json_is_read_as_text(stage: Stage) -> None:
    """OCPP-J says text; a station that errs in the opcode only is understood [P]."""
    async with stage.station("CP-1") as station:
        await station.socket.send(b'[2,"m1","Heartbeat",{}]')
        assert (await station.receive())[:2] == [3, "m1"]


async def test_answers_keep_the_order_of_the_calls_whatever_their_shape(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A13: whole, fragmented and binary messages, more at once than may wait, in their order."""
    stage = await start(calls_ahead=4)
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT_16))[0] == 3
        ids = [f"a{number}" for number in range(60)]
        for number, id_ in enumerate(ids):
            text = json.dumps([2, id_, "Authorize", {"idTag": "ABC"}])
            shapes = (text, [text[:9], text[9:20], text[20:]], text.encode(), text)
            await station.socket.send(shapes[number % 7 % len(shapes)])
        assert [(await station.receive())[:2] for _ in ids] == [[3, id_] for id_ in ids]


async def test_what_comes_while_others_wait_for_room_does_not_overtake_them(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A13: room for one more, and two wait for it in the socket: the next one waits behind them."""
    stage = await start(calls_ahead=4)
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT_16))[0] == 3
        stage.services.silent.add(registry.AUTHORIZE.name)
        ask = ("Authorize", {"idTag": "ABC"})
        beat: tuple[str, dict[str, Any]] = ("Heartbeat", {})
        wrong: tuple[str, dict[str, Any]] = ("NoSuchAction", {})
        # One asked, four ahead of it in the session, three in the socket.
        for number, call in enumerate((ask, wrong, ask, beat, beat, beat, beat, beat)):
            await station.send(2, str(number), *call)
        await soon(lambda: not gateways_end(stage).transport.is_reading())
        await release(stage, 1)  # the error goes too: room for two of the three
        assert [(await station.receive())[1] for _ in range(2)] == ["0", "1"]
        await station.send(2, "8", *beat)
        await release(stage, 2)
        assert [(await station.receive())[1] for _ in range(7)] == [str(n) for n in range(2, 9)]


@pytest.mark.parametrize("seed", range(8))
async def test_order_holds_whatever_the_timing(
    start: Callable[..., Awaitable[Stage]], seed: int
) -> None:
    """A13: calls that wait, do not wait or are refused, in bursts; answers come at any time."""
    rng = random.Random(seed)  # noqa: S311 - interleavings, no secret
    stage = await start(calls_ahead=rng.randint(1, 6), max_in_flight=rng.choice((1, 2, 1000)))
    stage.services.turns = lambda: rng.randrange(12)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("Authorize", {"idTag": "ABC"}),
        ("Heartbeat", {}),
        ("NoSuchAction", {}),
        ("StartTransaction", START_16),
    ]
    count = 200
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT_16))[0] == 3

        async def send() -> None:
            for number in range(count):
                text = json.dumps([2, str(number), *rng.choice(calls)])
                pieces = [text[:5], text[5:]]
                await station.socket.send(rng.choice((text, text, text.encode(), pieces)))
                for _ in range(rng.choice((0, 0, 0, 1, 5, 30))):
                    await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        answered = [(await station.receive())[1] for _ in range(count)]
        await sending
    assert answered == [str(number) for number in range(count)]


def count_asked(stage: Stage) -> list[Event]:
    """Every Authorize that auth was asked."""
    events = stage.bus.events("auth.requests")
    return [event for event in events if event.type == registry.AUTHORIZE.name]


async def release(stage: Stage, number: int) -> None:
    """Answer the so many-th Authorize, counted from 1, although auth is silent."""
    await soon(lambda: len(count_asked(stage)) >= number)
    services = replace(stage.services, silent=set())
    await stage.bus.publish(await services.handle(count_asked(stage)[number - 1]))


async def test_a_station_that_never_reads_its_answers_stops_being_read(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Bounded memory: calls that run ahead wait in the socket, not in the gateway."""
    stage = await start(calls_ahead=4, answer_deadline_s=30, grace_s=0.1)
    stage.services.silent.add(registry.AUTHORIZE.name)
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT_16))[0] == 3
        for number in range(200):
            await station.send(2, f"a{number}", "Authorize", {"idTag": "ABC"})
        connection = next(iter(stage.gateway.connections.list_current()))
        await soon(lambda: not connection.wants_input)
        assert len(count_asked(stage)) == 1
        station.socket.transport.abort()  # a close frame would wait behind the calls


async def test_reading_stops_while_the_process_has_too_much_in_hand(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Load beyond capacity: the bound is for all connections together, and it recovers."""
    stage = await start(max_in_flight=2, answer_deadline_s=0.3)
    stage.services.silent.add(registry.AUTHORIZE.name)
    async with (
        stage.station("CP-1") as first,
        stage.station("CP-2") as second,
        stage.station("CP-3") as third,
    ):
        stations = (first, second, third)
        for station in stations:
            assert (await station.call("BootNotification", BOOT_16))[0] == 3
        await asyncio.gather(
            *(station.send(2, "a", "Authorize", {"idTag": "ABC"}) for station in stations)
        )
        for station in stations:
            assert (await station.receive())[2] == "InternalError"
        for station in stations:
            assert (await station.call("Heartbeat", {}))[0] == 3


async def test_two_stations_do_not_wait_for_each_other(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A call that nobody answers holds up its own station only."""
    stage = await start(answer_deadline_s=30)
    stage.services.silent.add(registry.AUTHORIZE.name)
    async with stage.station("CP-1") as first, stage.station("CP-2") as second:
        await first.send(2, "a", "Authorize", {"idTag": "ABC"})
        for number in range(10):
            assert (await second.call("Heartbeat", {}, str(number)))[0] == 3
