"""The session of one connection, situation by situation (A13-A17, design 9)."""

from __future__ import annotations

from itertools import count
from typing import Any

import orjson
import pytest

from voltbus_backbone.contract.config import CallOutcome, RejectedBy
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.session import CommandResult, Dispatch, Effects, Session, Write
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call, Send
from voltbus_gateway.domain.wire.schemas import Extras

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21
TIME = {"currentTime": "2026-03-01T12:00:00.000Z"}
REFUSED = CallFailed(ErrorCode.SECURITY_ERROR, "no")
STREAM = {"id": 1, "pending": 0, "basetime": "2026-03-01T12:00:00Z", "data": [{"t": 0, "v": "1"}]}


def make_session(protocol: Protocol = V16, **options: Any) -> Session:
    """A session whose message ids are m0, m1, ..."""
    numbers = count()
    return Session(protocol, new_id=lambda: f"m{next(numbers)}", **options)


def heartbeat(id_: str) -> bytes:
    """A station's Heartbeat."""
    return b'[2,"%s","Heartbeat",{}]' % id_.encode()


def dispatched_call(effects: Effects) -> Call:
    """The one call that these effects dispatch."""
    (call,) = (effect.call for effect in effects if isinstance(effect, Dispatch))
    assert isinstance(call, Call)
    return call


def waits(session: Session) -> bool:
    """Whether the station has sent too far ahead."""
    return not session.wants_input


def list_written(effects: Effects) -> list[Any]:
    """The frames that these effects write."""
    return [orjson.loads(effect.text) for effect in effects if isinstance(effect, Write)]


def results(effects: Effects) -> list[CommandResult]:
    """The commands that these effects end."""
    return [effect for effect in effects if isinstance(effect, CommandResult)]


class TestCallsOfTheStation:
    """One in flight, the rest in order of arrival."""

    def test_a_call_is_dispatched_and_answered(self) -> None:
        """The plain way."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        assert call == Call("1", "Heartbeat", {})
        assert not session.idle
        assert list_written(session.answer(call, TIME, 0.1)) == [[3, "1", TIME]]
        assert session.idle

    def test_a_call_may_fail(self) -> None:
        """The CALLERROR is in the version's spelling."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        failure = CallFailed(ErrorCode.FORMAT_VIOLATION, "why")
        assert list_written(session.fail(call, failure, 0.1)) == [
            [4, "1", "FormationViolation", "why", {}]
        ]

    def test_pipelined_calls_are_answered_in_order(self) -> None:
        """Design 9: several calls without waiting; each is dispatched after the one before."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        assert session.receive(heartbeat("2"), 0.0) == ()
        assert session.receive(heartbeat("3"), 0.0) == ()
        for id_ in ("1", "2"):
            assert call.id == id_
            effects = session.answer(call, TIME, 0.1)
            assert list_written(effects) == [[3, id_, TIME]]
            call = dispatched_call(effects)
        assert call.id == "3"
        assert len(session.answer(call, TIME, 0.1)) == 1

    def test_an_error_waits_for_its_turn(self) -> None:
        """An invalid call behind a sound one is refused after that one's answer."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        assert session.receive('[2,"2","Dance",{}]', 0.0) == ()
        assert session.receive('[2,"3","Authorize",{}]', 0.0) == ()
        session.receive(heartbeat("4"), 0.0)
        effects = session.answer(call, TIME, 0.1)
        assert [frame[:3] for frame in list_written(effects)] == [
            [3, "1", TIME],
            [4, "2", "NotImplemented"],
            [4, "3", "OccurenceConstraintViolation"],
        ]
        assert dispatched_call(effects).id == "4"

    @pytest.mark.parametrize("broken", ['[2,"2"]', '[2,"2","Heartbeat",[]]', '[2,"2",5,{}]'])
    def test_what_is_no_call_is_refused_in_its_turn(self, broken: str) -> None:
        """A13: its id is readable, so its CALLERROR doesn't overtake the answer before it."""
        session = make_session(V201)
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        assert session.receive(broken, 0.0) == ()
        assert [frame[1] for frame in list_written(session.answer(call, TIME, 0.1))] == ["1", "2"]

    def test_an_invalid_call_alone_is_refused_at_once(self) -> None:
        """Nobody is before it."""
        session = make_session(V201)
        effects = session.receive('[2,"1","Heartbeat",{"x":1}]', 0.0)
        assert list_written(effects) == [
            [4, "1", "FormatViolation", "payload: unknown property: x", {}]
        ]
        assert session.counts["invalid_call"] == 1
        assert session.idle

    def test_unknown_properties_pass_by_policy(self) -> None:
        """The places are told, for the log."""
        session = make_session(extras=Extras.PASS)
        (effect,) = session.receive('[2,"1","Heartbeat",{"x":1}]', 0.0)
        assert isinstance(effect, Dispatch)
        assert effect.extras == ("payload: unknown property: x",)

    def test_the_same_message_id_twice_is_answered_twice(self) -> None:
        """A14: stations reuse ids; a message id alone never makes a duplicate."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        session.receive(heartbeat("1"), 0.0)
        effects = session.answer(call, TIME, 0.1)
        assert list_written(effects) == [[3, "1", TIME]]
        assert list_written(session.answer(dispatched_call(effects), TIME, 0.1)) == [[3, "1", TIME]]

    def test_who_sends_too_far_ahead_is_not_read(self) -> None:
        """Bounded memory: the shell stops reading until a call was answered."""
        session = make_session(queue_limit=2)
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        session.receive(heartbeat("2"), 0.0)
        assert not waits(session)
        session.receive(heartbeat("3"), 0.0)
        assert waits(session)
        session.answer(call, TIME, 0.1)
        assert not waits(session)

    def test_a_call_that_nobody_answers_gets_an_error_and_the_next_its_turn(self) -> None:
        """Before the station's own timeout; the late answer is dropped and counted."""
        session = make_session(answer_within=20.0)
        call = dispatched_call(session.receive(heartbeat("1"), 100.0))
        session.receive(heartbeat("2"), 101.0)
        assert session.deadline == 120.0
        assert session.tick(119.9) == ()
        effects = session.tick(120.0)
        assert list_written(effects)[0][:3] == [4, "1", "InternalError"]
        assert dispatched_call(effects).id == "2"
        assert session.deadline == 140.0
        assert session.answer(call, TIME, 121.0) == ()
        assert session.fail(call, REFUSED, 121.0) == ()
        assert session.counts["late_own_answer"] == 2

    @pytest.mark.parametrize("payload", [{"currentTime": 5}, {}, {"currentTime": object()}])
    def test_our_own_invalid_answer_is_our_error(self, payload: dict[str, Any]) -> None:
        """Validation both ways: the station hears InternalError and none of our internals."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        assert list_written(session.answer(call, payload, 0.1)) == [
            [4, "1", "InternalError", "The answer could not be made", {}]
        ]
        assert session.counts["invalid_own_answer"] == 1


class TestOurCalls:
    """One outstanding, the rest in order of asking."""

    def test_a_call_is_sent_and_answered(self) -> None:
        """The plain way."""
        session = make_session()
        assert list_written(session.call("k", "Reset", {"type": "Soft"}, 0.0, 30.0)) == [
            [2, "m0", "Reset", {"type": "Soft"}]
        ]
        assert session.receive('[3,"m0",{"status":"Accepted"}]', 1.0) == (
            CommandResult("k", CallOutcome.ANSWERED, payload={"status": "Accepted"}),
        )
        assert session.idle

    def test_calls_wait_for_each_other(self) -> None:
        """A13: one CALL in flight; the timeout counts from sending."""
        session = make_session()
        session.call("a", "ClearCache", {}, 0.0, 30.0)
        assert session.call("b", "ClearCache", {}, 1.0, 5.0) == ()
        assert session.deadline == 30.0
        effects = session.receive('[3,"m0",{"status":"Accepted"}]', 20.0)
        assert [end.command_id for end in results(effects)] == ["a"]
        assert list_written(effects) == [[2, "m1", "ClearCache", {}]]
        assert session.deadline == 25.0

    def test_the_directions_are_independent(self) -> None:
        """A13: the station's call is dispatched and answered while ours waits, and crosswise."""
        session = make_session()
        session.call("k", "ClearCache", {}, 0.0, 30.0)
        call = dispatched_call(session.receive(heartbeat("1"), 1.0))
        assert list_written(session.answer(call, TIME, 1.0)) == [[3, "1", TIME]]
        call = dispatched_call(session.receive(heartbeat("2"), 2.0))
        assert len(results(session.receive('[3,"m0",{"status":"Accepted"}]', 3.0))) == 1
        assert list_written(session.answer(call, TIME, 4.0)) == [[3, "2", TIME]]

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("NotSupported", "NotSupported"),
            ("FormationViolation", "FormatViolation"),
            ("OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
            ("VendorError", "VendorError"),
        ],
    )
    def test_a_refused_call(self, code: str, told: str) -> None:
        """A15: every spelling is read; an invented code is told as it is."""
        session = make_session(V201)
        session.call("k", "ClearCache", {}, 0.0, 30.0)
        (end,) = session.receive(f'[4,"m0","{code}","because",{{}}]', 1.0)
        assert end == CommandResult(
            "k",
            CallOutcome.REJECTED,
            error_code=told,
            error_description="because",
            rejected_by=RejectedBy.STATION,
        )

    def test_a_call_times_out_and_the_next_is_sent(self) -> None:
        """The late answer is dropped and counted, and doesn't answer the next call."""
        session = make_session()
        session.call("a", "ClearCache", {}, 0.0, 30.0)
        session.call("b", "ClearCache", {}, 0.0, 30.0)
        effects = session.tick(30.0)
        assert results(effects) == [CommandResult("a", CallOutcome.TIMED_OUT)]
        assert list_written(effects) == [[2, "m1", "ClearCache", {}]]
        assert session.receive('[3,"m0",{"status":"Accepted"}]', 31.0) == ()
        assert session.counts["late_answer"] == 1
        assert not session.idle

    @pytest.mark.parametrize("frame", ['[3,"m0",{"status":"Accepted"}]', '[4,"m0","X","",{}]'])
    def test_a_second_answer_is_dropped(self, frame: str) -> None:
        """Duplicate answers are counted."""
        session = make_session()
        session.call("k", "ClearCache", {}, 0.0, 30.0)
        session.receive('[3,"m0",{"status":"Accepted"}]', 1.0)
        assert session.receive(frame, 2.0) == ()
        assert session.counts["duplicate_answer"] == 1

    @pytest.mark.parametrize("frame", ['[3,"z",{}]', '[4,"z","X","",{}]', '[3,"z",null]'])
    def test_an_answer_to_nothing_is_dropped(self, frame: str) -> None:
        """Unknown ids are counted; an outstanding call still waits for its own."""
        session = make_session()
        session.call("k", "ClearCache", {}, 0.0, 30.0)
        assert session.receive(frame, 1.0) == ()
        assert session.counts["unknown_answer"] == 1
        assert not session.idle

    @pytest.mark.parametrize(
        "frame",
        [
            '[3,"m0"]',
            '[3,"m0",null]',
            '[3,"m0","x"]',
            '[3,"m0",{"status":"Accepted"},5]',
            '[3,"m0",{"status":',
            ' [ 3 , "m0" , {"status":"Accepted"}',
            '[4,"m0","GenericError',
        ],
    )
    def test_an_unreadable_answer_ends_the_call_at_once(self, frame: str) -> None:
        """Its id says which call it answers: nobody waits on, and the station refused nothing.

        It may have done what was asked, as where no answer comes at all.
        """
        session = make_session(V201)
        session.call("a", "ClearCache", {}, 0.0, 30.0)
        session.call("b", "ClearCache", {}, 0.0, 30.0)
        effects = session.receive(frame, 1.0)
        (end,) = results(effects)
        assert (end.command_id, end.outcome, end.payload) == ("a", CallOutcome.TIMED_OUT, None)
        assert end.error_code is None
        assert (end.error_description or "").startswith("The station's answer could not be read: ")
        assert [frame[1] for frame in list_written(effects)] == ["m1"]
        assert session.counts["invalid_answer"] == 1

    @pytest.mark.parametrize(
        ("answer", "kept"),
        [
            ('{"status":"Accepted","transactionId":5}', {"status": "Accepted", "transactionId": 5}),
            ('{"status":"Accepted","info":"ok"}', {"status": "Accepted", "info": "ok"}),
            ('{"status":"accepted"}', {"status": "Accepted"}),
            ('{"status":"Sure"}', {"status": "Sure"}),
            ("{}", {}),
        ],
    )
    def test_an_answer_against_its_schema_is_the_stations_word(
        self, answer: str, kept: dict[str, Any]
    ) -> None:
        """Our schema is not the station's word: it is kept, and what was wrong is told."""
        session = make_session(V16)
        session.call("k", "RemoteStartTransaction", {"idTag": "A"}, 0.0, 30.0)
        (end,) = results(session.receive(f'[3,"m0",{answer}]', 1.0))
        assert (end.outcome, end.payload) == (CallOutcome.ANSWERED, kept)
        assert end.error_code is None
        assert end.repairs
        assert session.counts["mended_answer"] == 1

    def test_one_odd_value_loses_no_configuration(self) -> None:
        """1.6 §5.8: a value too long, null or a number, a flag as 0: all keys are read."""
        session = make_session(V16)
        session.call("k", "GetConfiguration", {}, 0.0, 30.0)
        keys: list[Any] = [
            {"key": "a", "readonly": False, "value": "x" * 551},
            {"key": "b", "readonly": 0, "value": "1"},
            {"key": "c", "readonly": True, "value": None},
            {"key": "d", "readonly": True, "value": 7},
            None,
            {"key": "e", "readonly": True, "value": "1"},
        ]
        (end,) = results(session.receive(orjson.dumps([3, "m0", {"configurationKey": keys}]), 1.0))
        assert end.outcome is CallOutcome.ANSWERED
        assert (end.payload or {})["configurationKey"] == [
            {"key": "a", "readonly": False, "value": "x" * 551},
            {"key": "b", "readonly": False, "value": "1"},
            {"key": "c", "readonly": True},
            {"key": "d", "readonly": True, "value": "7"},
            {"key": "e", "readonly": True, "value": "1"},
        ]

    @pytest.mark.parametrize("value", ["9223372036854775808", '{"a\\u0000": 1}'])
    def test_what_nobody_can_store_is_left_out_of_an_answer(self, value: str) -> None:
        """JSON allows it and a store can't hold it: the station's status is not lost with it."""
        session = make_session(V201)
        payload = {"vendorId": "acme"}
        session.call("c", "DataTransfer", payload, 0.0, 5.0)
        answer = f'[3,"m0",{{"status":"Accepted","data":{value}}}]'
        (end,) = results(session.receive(answer, 1.0))
        assert (end.outcome, end.payload) == (CallOutcome.ANSWERED, {"status": "Accepted"})
        assert session.idle

    def test_21_is_told_that_its_answer_is_unreadable(self) -> None:
        """A17: CALLRESULTERROR reuses the id of the CALLRESULT."""
        session = make_session(V21)
        session.call("k", "ClearCache", {}, 0.0, 30.0)
        effects = session.receive('[3,"m0",null]', 1.0)
        assert list_written(effects)[0][:3] == [5, "m0", "FormatViolation"]
        assert len(results(effects)) == 1

    @pytest.mark.parametrize(
        ("action", "payload"),
        [
            ("Reset", {}),
            ("GetVariables", {}),
            ("Heartbeat", {}),
            ("DataTransfer", {"vendorId": "x", "data": object()}),
            ("GetLocalListVersion", {"when": 2**70}),
        ],
    )
    def test_a_call_that_breaks_the_schema_is_not_sent(
        self, action: str, payload: dict[str, Any]
    ) -> None:
        """Issue 4.3: checked before it leaves; it disturbs nobody in the queue."""
        session = make_session()
        (end,) = session.call("k", action, payload, 0.0, 30.0)
        assert isinstance(end, CommandResult)
        assert end.outcome is CallOutcome.INVALID
        assert end.error_code
        assert session.idle

    def test_a_call_whose_turn_comes_too_late_is_not_sent(self) -> None:
        """Who asked for it has given it up by then; the next one is sent instead."""
        session = make_session()
        session.call("a", "ClearCache", {}, 0.0, 30.0)
        session.call("b", "ClearCache", {}, 0.0, 30.0, not_after=8.0)
        session.call("c", "ClearCache", {}, 0.0, 30.0)
        effects = session.receive('[3,"m0",{"status":"Accepted"}]', 9.0)
        assert [(end.command_id, end.outcome) for end in results(effects)] == [
            ("a", CallOutcome.ANSWERED),
            ("b", CallOutcome.NOT_CONNECTED),
        ]
        assert [end.late for end in results(effects)] == [False, True]
        assert [effect.command_id for effect in effects if isinstance(effect, Write)] == ["c"]

    def test_too_many_calls(self) -> None:
        """Bounded memory: the one that finds no room was never sent."""
        session = make_session(command_limit=1)
        session.call("a", "ClearCache", {}, 0.0, 30.0)
        session.call("b", "ClearCache", {}, 0.0, 30.0)
        (end,) = session.call("c", "ClearCache", {}, 0.0, 30.0)
        assert isinstance(end, CommandResult)
        assert end.outcome is CallOutcome.NOT_CONNECTED


class TestTheEnd:
    """Closing: every command ends exactly once."""

    def test_what_was_sent_timed_out_and_what_waited_was_not_connected(self) -> None:
        """A sent call may have been done: it must not be sent again as if it had not."""
        session = make_session()
        session.call("a", "ClearCache", {}, 0.0, 30.0)
        session.call("b", "ClearCache", {}, 0.0, 30.0)
        assert [(end.command_id, end.outcome) for end in results(session.close())] == [
            ("a", CallOutcome.TIMED_OUT),
            ("b", CallOutcome.NOT_CONNECTED),
        ]
        assert session.idle
        assert session.deadline is None
        assert session.close() == ()

    def test_what_the_socket_did_not_take_was_not_sent(self) -> None:
        """The other side closes: this call and those behind it can be sent on its next socket."""
        session = make_session()
        (write,) = session.call("a", "ClearCache", {}, 0.0, 5.0)
        assert isinstance(write, Write)
        assert write.command_id == "a"
        session.call("b", "ClearCache", {}, 0.0, 5.0)
        ends = results(session.mark_unsent("a"))
        assert [(end.command_id, end.outcome) for end in ends] == [
            ("a", CallOutcome.NOT_CONNECTED),
            ("b", CallOutcome.NOT_CONNECTED),
        ]

    def test_nothing_happens_afterwards(self) -> None:
        """Neither texts nor answers nor time; a new command ends at once."""
        session = make_session()
        call = dispatched_call(session.receive(heartbeat("1"), 0.0))
        session.receive(heartbeat("2"), 0.0)
        session.close()
        assert session.receive(heartbeat("3"), 1.0) == ()
        assert session.answer(call, TIME, 1.0) == ()
        assert session.tick(1e9) == ()
        (end,) = session.call("k", "ClearCache", {}, 1.0, 30.0)
        assert isinstance(end, CommandResult)
        assert end.outcome is CallOutcome.NOT_CONNECTED


class TestBrokenTexts:
    """Nothing a station sends ends its session."""

    def test_a_broken_text_is_answered_and_counted(self) -> None:
        """Issue 3: not JSON gets its answer, and the connection goes on."""
        session = make_session(V201)
        assert list_written(session.receive("{", 0.0)) == [
            [4, "-1", "RpcFrameworkError", "The message is no JSON", {}]
        ]
        assert session.counts["malformed"] == 1
        assert dispatched_call(session.receive(heartbeat("1"), 0.0)).id == "1"

    def test_an_unknown_message_type_is_ignored_where_it_must_be(self) -> None:
        """A16."""
        assert make_session(V16).receive('[9,"1"]', 0.0) == ()
        assert make_session(V21).receive('[9,"1"]', 0.0) == ()
        assert (
            list_written(make_session(V201).receive('[9,"1"]', 0.0))[0][2]
            == "MessageTypeNotSupported"
        )


class TestSend:
    """2.1's message that is never answered (A17)."""

    def test_a_send_overlaps_a_call(self) -> None:
        """It waits for nothing and is nobody's turn."""
        session = make_session(V21)
        dispatched_call(session.receive(heartbeat("1"), 0.0))
        text = orjson.dumps([6, "s", "NotifyPeriodicEventStream", STREAM])
        (effect,) = session.receive(text, 0.0)
        assert isinstance(effect, Dispatch)
        assert effect.call == Send("s", "NotifyPeriodicEventStream", STREAM)

    @pytest.mark.parametrize("text", ['[6,"s","NotifyPeriodicEventStream",{}]', '[6,"s","X",{}]'])
    def test_an_invalid_send_is_dropped(self, text: str) -> None:
        """Not even an error is answered."""
        session = make_session(V21)
        assert session.receive(text, 0.0) == ()
        assert session.counts["invalid_send"] == 1

    def test_a_send_that_must_be_a_call_is_dropped(self) -> None:
        """Only an action that has no response may come as SEND; others would stay unanswered."""
        session = make_session(V21)
        assert session.receive('[6,"s","Heartbeat",{}]', 0.0) == ()
        assert session.counts["invalid_send"] == 1

    def test_a_call_that_must_be_a_send_is_refused(self) -> None:
        """There is no response to give it."""
        session = make_session(V21)
        text = orjson.dumps([2, "1", "NotifyPeriodicEventStream", STREAM])
        assert list_written(session.receive(text, 0.0))[0][:3] == [4, "1", "ProtocolError"]

    def test_our_answer_was_not_understood(self) -> None:
        """A CALLRESULTERROR is counted; there is no better answer to give."""
        session = make_session(V21)
        assert session.receive('[5,"1","FormatViolation","",{}]', 0.0) == ()
        assert session.counts["our_answer_refused"] == 1


def test_message_ids_are_fresh_uuids_by_default() -> None:
    """A14: outbound always a fresh UUID of 36 characters."""
    ids = set()
    for _ in range(3):
        (frame,) = list_written(Session(V16).call("k", "ClearCache", {}, 0.0, 30.0))
        ids.add(frame[1])
        assert len(frame[1]) == 36
    assert len(ids) == 3
