"""The RPC framework: frames, ids, codes, order and timeouts (OCPP-J 1.6 4, 2.x Part 4 4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

from conformance.acting import carried_out, command, ended, every_version, order
from conformance.by_hand import BOOT_2, by_hand

if TYPE_CHECKING:
    from conformance.acting import Ready
    from conformance.by_hand import Frame, Raw
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


def status_notification(protocol: Protocol, **more: Any) -> dict[str, Any]:
    """A sound StatusNotification, and what is to be wrong with it."""
    if protocol == "1.6":
        return {"connectorId": 1, "errorCode": "NoError", "status": "Available", **more}
    return {
        "timestamp": "2026-01-01T00:00:00Z",
        "connectorStatus": "Available",
        "evseId": 1,
        "connectorId": 1,
        **more,
    }


async def beats(raw: Raw) -> bool:
    """Whether the next frame is the answer to a heartbeat: nothing else was said meanwhile."""
    await raw.send(2, "beat", "Heartbeat", {})
    answer = await raw.frame()
    return answer[:2] == [3, "beat"]


# ---- what a station sends ----


@every_version
@pytest.mark.parametrize("id_", ["1", "0", "a" * 36, "…"])
async def test_a14_any_string_is_a_message_id(
    operator: Operator, protocol: Protocol, id_: str
) -> None:
    """A14: an id is a string of at most 36 characters, and comes back as it is."""
    async with by_hand(operator, protocol, boot=False) as raw:
        assert (await raw.call("NoSuchAction", {}, id_))[:2] == [4, id_]


@every_version
@pytest.mark.parametrize("id_", [7, None, "a" * 37, ["x"]])
async def test_a15_an_id_that_is_none(operator: Operator, protocol: Protocol, id_: Any) -> None:
    """A15: an unreadable id is answered under "-1"; 1.6 gets a number or a long id back."""
    async with by_hand(operator, protocol, boot=False) as raw:
        await raw.send(2, id_, "Heartbeat", {})
        answer = await raw.frame()
        readable = protocol == "1.6" and isinstance(id_, int | str)
        assert answer[:2] == [4, str(id_) if readable else "-1"]
        expected = "FormationViolation" if protocol == "1.6" else "RpcFrameworkError"
        assert answer[2] == expected


@every_version
async def test_a16_an_unknown_message_type(ready: Ready, protocol: Protocol) -> None:
    """A16: ignored in 1.6 and 2.1; MessageTypeNotSupported in 2.0.1."""
    async with ready.raw(protocol) as raw:
        await raw.send(9, "x", "Heartbeat", {})
        if protocol == "2.0.1":
            assert (await raw.frame())[:3] == [4, "x", "MessageTypeNotSupported"]
        assert await beats(raw)


def authorize(protocol: Protocol) -> dict[str, Any]:
    """A sound question: it is refused when it can't be read, which facts are not (ADR 12)."""
    if protocol == "1.6":
        return {"idTag": "AA01"}
    return {"idToken": {"idToken": "AA01", "type": "ISO14443"}}


TOKEN = {"1.6": "idTag", "2.0.1": "idToken", "2.1": "idToken"}
LONG: dict[str, Any] = {
    "1.6": "A" * 21,
    "2.0.1": {"idToken": "A" * 256, "type": "ISO14443"},
    "2.1": {"idToken": "A" * 256, "type": "ISO14443"},
}
CODES = [
    "FormatViolation",
    "OccurrenceConstraintViolation",
    "TypeConstraintViolation",
    "PropertyConstraintViolation",
]
IN_16 = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
}


@every_version
@pytest.mark.parametrize("code", CODES)
async def test_a15_each_fault_has_its_code(ready: Ready, protocol: Protocol, code: str) -> None:
    """A15: a payload against the schema gets the code of its fault, as the version spells it."""
    token = TOKEN[protocol]
    wrong: dict[str, Any] = {
        "FormatViolation": {**authorize(protocol), "unknownProperty": 1},
        "OccurrenceConstraintViolation": {},
        "TypeConstraintViolation": {token: 5},
        "PropertyConstraintViolation": {token: LONG[protocol]},
    }
    async with ready.raw(protocol) as raw:
        answer = await raw.call("Authorize", wrong[code])
        assert (answer[0], answer[2]) == (4, IN_16.get(code, code) if protocol == "1.6" else code)
        assert 0 < len(answer[3]) <= 255
        assert await beats(raw)


@every_version
@pytest.mark.parametrize(
    ("action", "code"),
    [("MakeCoffee", "NotImplemented"), ("Reset", "NotSupported"), ("authorize", "NotImplemented")],
)
async def test_actions_that_a_station_has_not(
    ready: Ready, protocol: Protocol, action: str, code: str
) -> None:
    """Part 4 table of codes: NotImplemented where unknown, NotSupported where only we may."""
    kinds = {"1.6": "Hard"}
    async with ready.raw(protocol) as raw:
        payload = {"type": kinds.get(protocol, "Immediate")} if action == "Reset" else {}
        assert (await raw.call(action, payload))[2] == code


@every_version
async def test_a13_pipelined_calls_are_answered_in_order(ready: Ready, protocol: Protocol) -> None:
    """A13: a station may send ahead; each call gets its answer, in the order of the calls."""
    async with ready.raw(protocol) as raw:
        for number in range(20):
            action = "StatusNotification" if number % 3 else "NoSuchAction"
            payload = status_notification(protocol) if number % 3 else {}
            await raw.send(2, f"p{number}", action, payload)
        frames = [await raw.frame() for _ in range(20)]
        assert [frame[1] for frame in frames] == [f"p{number}" for number in range(20)]
        assert [frame[0] for frame in frames] == [3 if number % 3 else 4 for number in range(20)]


async def test_a17_a_send_is_never_answered(ready: Ready) -> None:
    """A17 (2.1): a SEND gets no answer, whether it is sound, wrong, or no SEND at all."""
    stream = {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": []}
    stream["data"] = [{"t": 0, "v": "1"}]
    async with ready.raw("2.1") as raw:
        await raw.send(6, "s1", "NotifyPeriodicEventStream", stream)
        await raw.send(6, "s2", "NotifyPeriodicEventStream", {})
        await raw.send(6, "s3", "Heartbeat", {})
        assert await beats(raw)


async def test_a17_our_answer_was_refused(ready: Ready) -> None:
    """A17 (2.1): a CALLRESULTERROR to one of our answers disturbs nothing."""
    async with ready.raw("2.1") as raw:
        answer = await raw.call("BootNotification", BOOT_2)
        await raw.send(5, answer[1], "FormatViolation", "", {})
        assert await beats(raw)


@every_version
async def test_a19_a_text_that_is_no_utf_8_closes_with_1007(
    ready: Ready, protocol: Protocol
) -> None:
    """RFC 6455 8.1: a text frame that is no UTF-8 ends the connection with 1007."""
    async with ready.raw(protocol) as raw:
        await raw.socket.send(b'[2,"1","Heartbeat",{"x":"\xff"}]', text=True)
        assert await raw.closed() == 1007


@every_version
async def test_a19_a_message_over_the_limit_closes_with_1009(
    ready: Ready, protocol: Protocol
) -> None:
    """A19: more than 512 KiB in one message ends the connection with 1009."""
    async with ready.raw(protocol) as raw:
        with pytest.raises(ConnectionClosed) as closed:
            await raw.call("Heartbeat", {"x": "y" * (513 * 1024)})
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


# ---- what we send ----

ASKED = {"1.6": "GetLocalListVersion", "2.0.1": "GetLocalListVersion", "2.1": "GetLocalListVersion"}
GOOD = {
    "1.6": {"listVersion": 1},
    "2.0.1": {"versionNumber": 1},
    "2.1": {"versionNumber": 1},
}


async def asked(operator: Operator, raw: Raw, **rest: Any) -> tuple[str, Frame]:
    """Order a call; the command's id, and the CALL as it came."""
    made = await order(operator, raw.name, ASKED[raw.protocol], **rest)
    return made, await raw.asked(ASKED[raw.protocol])


@every_version
async def test_a13_calls_may_cross(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """A13: a station's own calls are answered while a call to it waits for its answer."""
    async with ready.raw(protocol) as raw:
        made, call = await asked(operator, raw)
        for _ in range(3):
            assert await beats(raw)
        assert (await command(operator, made))["status"] == "sent"
        await raw.send(3, call[1], GOOD[protocol])
        assert (await ended(operator, made))["answer"] == GOOD[protocol]


@every_version
async def test_a13_one_call_at_a_time(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """A13: the second call goes out when the first was answered; ids are new and short (A14)."""
    async with ready.raw(protocol) as raw:
        first, call = await asked(operator, raw)
        second = await order(operator, raw.name, ASKED[protocol])
        assert await beats(raw)
        assert (await command(operator, second))["status"] == "queued"
        await raw.send(3, call[1], GOOD[protocol])
        other = await raw.asked(ASKED[protocol])
        await raw.send(3, other[1], GOOD[protocol])
        assert len({call[1], other[1]}) == 2
        assert max(len(call[1]), len(other[1])) <= 36
        for made in (first, second):
            assert (await ended(operator, made))["status"] == "answered"


@every_version
@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("FormationViolation", "FormatViolation"),
        ("FormatViolation", "FormatViolation"),
        ("OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
        ("OccurrenceConstraintViolation", "OccurrenceConstraintViolation"),
        ("NotSupported", "NotSupported"),
        ("VendorSpecificFailure", "VendorSpecificFailure"),
        ("", "GenericError"),
    ],
)
async def test_a15_every_spelling_is_understood(
    operator: Operator, ready: Ready, protocol: Protocol, said: str, understood: str
) -> None:
    """A15: a station's CALLERROR ends the command, in either spelling, also with unknown codes."""
    async with ready.raw(protocol) as raw:
        made, call = await asked(operator, raw)
        await raw.send(4, call[1], said, "no", {})
        found = await ended(operator, made)
        assert (found["status"], found["error_code"]) == ("rejected", understood)


@every_version
@pytest.mark.parametrize("parts", [[4], [4, "Oops"], [4, 7, None, 3]])
async def test_a_mutilated_callerror_is_one(
    operator: Operator, ready: Ready, protocol: Protocol, parts: list[Any]
) -> None:
    """A15: whatever else is missing, the station told that the call failed."""
    async with ready.raw(protocol) as raw:
        made, call = await asked(operator, raw)
        await raw.send(parts[0], call[1], *parts[1:])
        assert (await ended(operator, made))["status"] == "rejected"
        assert await beats(raw)


@every_version
@pytest.mark.parametrize("answer", [{}, {"listVersion": "x", "versionNumber": "x"}])
async def test_an_answer_against_its_schema_is_the_stations_word(
    operator: Operator, ready: Ready, protocol: Protocol, answer: dict[str, Any]
) -> None:
    """The schema is not the station's word: the command is answered, and says what was odd."""
    async with ready.raw(protocol) as raw:
        made, call = await asked(operator, raw)
        await raw.send(3, call[1], answer)
        found = await ended(operator, made)
        assert (found["status"], found["error_code"]) == ("answered", None)
        assert found["repairs"]
        assert await beats(raw)


@every_version
@pytest.mark.parametrize("rest", [[], [None], ["text"], [{}, {}]])
async def test_an_unreadable_answer_ends_the_command_at_once(
    operator: Operator, ready: Ready, protocol: Protocol, rest: list[Any]
) -> None:
    """A17: nobody waits for what has come; it is no rejection of the station's. 2.1 is told why."""
    async with ready.raw(protocol) as raw:
        made, call = await asked(operator, raw, timeout_s=300)
        await raw.send(3, call[1], *rest)
        found = await ended(operator, made)
        assert (found["status"], found["answer"]) == ("timed_out", None)
        assert found["error_description"].startswith("The station's answer could not be read")
        if protocol == "2.1":
            told = await raw.frame(lambda frame: frame[0] == 5)
            assert told[1:3] == [call[1], "FormatViolation"]
        assert await beats(raw)


@every_version
async def test_no_answer_and_a_late_one(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """Part 4 4.1.3: no answer in time: timed out; a late answer is dropped."""
    async with ready.raw(protocol) as raw:
        made, call = await asked(operator, raw, timeout_s=0.2)
        assert (await ended(operator, made))["status"] == "timed_out"
        await raw.send(3, call[1], GOOD[protocol])
        after, next_call = await asked(operator, raw)
        await raw.send(3, next_call[1], GOOD[protocol])
        assert (await ended(operator, after))["status"] == "answered"
        assert (await command(operator, made))["status"] == "timed_out"


@every_version
async def test_answers_to_nothing(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """A13: answers that nobody waits for, and the second of two, change nothing."""
    async with ready.raw(protocol) as raw:
        await raw.send(3, "nobody", {})
        await raw.send(4, "nobody", "GenericError", "", {})
        made, call = await asked(operator, raw)
        await raw.send(3, "nobody", {})
        await raw.send(3, call[1], GOOD[protocol])
        await raw.send(4, call[1], "GenericError", "", {})
        assert (await ended(operator, made))["status"] == "answered"
        assert await beats(raw)


@every_version
async def test_a_command_against_the_schema_never_leaves(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """A payload is checked before it leaves: the command is rejected, the station hears nothing.

    What no station can be told, in any version, is not even queued.
    """
    async with ready.raw(protocol) as raw:
        found = await carried_out(operator, raw.name, "Reset", {"type": "Sideways"})
        assert found["status"] == "rejected"
        assert found["rejected_by"] == "gateway"
        assert found["sent_at"] is None
        assert found["error_code"]
        for action in ("BootNotification", "MakeCoffee"):
            path = f"/v1/stations/{raw.name}/commands"
            refused = await operator.send("POST", "config", path, json={"action": action})
            assert refused.status_code == 422
            assert refused.json()["errors"][0]["field"] == "action"
        assert await beats(raw)


@every_version
async def test_a_connection_that_ends_before_the_answer(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """Design 3: what was sent may have been done: it is not sent again, and has one end."""
    async with ready.raw(protocol) as raw:
        made, _ = await asked(operator, raw)
    assert (await ended(operator, made))["status"] == "timed_out"


@every_version
async def test_a18_no_empty_optionals(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """A18: what is not given is left out: no null, no empty object, no empty list."""
    async with ready.raw(protocol) as raw:
        for action, payload in (
            ("reset", {"type": "on_idle"}),
            ("trigger", {"message": "heartbeat"}),
            ("change_availability", {"operative": True}),
            ("remote_start", {"id_token": "AA01"}),
        ):
            made = await order(operator, raw.name, action, payload)
            call = await raw.frame(lambda frame: frame[0] == 2)
            assert "null" not in json.dumps(call)
            assert not [value for value in call[3].values() if value in ({}, [])]
            await raw.send(4, call[1], "NotSupported", "", {})
            assert (await ended(operator, made))["status"] == "rejected"
