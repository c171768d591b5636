"""The session as a state machine: whatever happens in whatever order, its promises hold.

A model beside it knows only lists: what the station has sent and not had answered, and what we
were asked to send and has not ended.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.session import CommandResult, Dispatch, Effects, Session, Write
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call

TIME = {"currentTime": "2026-03-01T12:00:00.000Z"}
ANSWER_WITHIN = 20.0
QUEUE_LIMIT = 3
COMMAND_LIMIT = 4
garbage = st.sampled_from(
    ["", "{}", "[]", "[2]", "[2,null]", "[3]", '[3,"nobody",{}]', '[4,"nobody"]', "[9]", "[[]]"]
)
# What is no call, but says which call it was meant to be.
broken_calls = st.sampled_from(
    ['[2,"%s"]', '[2,"%s","Heartbeat",[]]', '[2,"%s",1,{}]', '["2","%s"]']
)


class SessionMachine(RuleBasedStateMachine):
    """A station and a central system that do as they please."""

    @initialize(protocol=st.sampled_from(list(Protocol)))
    def connect(self, protocol: Protocol) -> None:
        """A new connection."""
        ids = count()
        self.session = Session(
            protocol,
            new_id=lambda: f"m{next(ids)}",
            queue_limit=QUEUE_LIMIT,
            command_limit=COMMAND_LIMIT,
            answer_within=ANSWER_WITHIN,
        )
        self.protocol = protocol
        self.now = 0.0
        self.numbers = count()
        self.closed = False
        # The station's calls without an answer yet: (message id, whether it is sound).
        self.unanswered: deque[tuple[str, bool]] = deque()
        self.current: Call | None = None
        # Our commands that have not ended, in order; the message ids on the wire, oldest first.
        self.commands: deque[str] = deque()
        self.outstanding: str | None = None
        self.old_ids: list[str] = []
        self.sent: set[str] = set()
        self.not_after: dict[str, float] = {}
        # The socket takes nothing any more; our calls are over.
        self.deaf = False
        self.calls_over = False

    def take(self, effects: Effects) -> None:
        """Check each effect against the model, and follow it."""
        for effect in effects:
            if isinstance(effect, Write) and self.deaf and effect.command_id is not None:
                self.calls_over = True
                self.take(self.session.mark_unsent(effect.command_id))
                assert not self.commands, "what was not sent can be sent elsewhere, at once"
            elif isinstance(effect, Write):
                self.take_frame(orjson.loads(effect.text), effect.command_id)
            elif isinstance(effect, Dispatch):
                self.take_dispatch(effect)
            else:
                self.take_end(effect)

    def take_frame(self, frame: list[Any], command_id: str | None) -> None:
        """A text goes out: a call of ours, an answer to the station, or a word about garbage."""
        kind, id_ = frame[0], frame[1]
        if kind == 2:
            assert self.outstanding is None, "one CALL of ours in flight (A13)"
            assert id_ not in self.sent, "message ids are fresh (A14)"
            assert command_id == self.commands[0], "in the order of asking"
            assert self.now <= self.not_after[command_id], "nothing leaves too late"
            self.sent.add(id_)
            self.outstanding = id_
        elif id_ != "-1" and kind in {3, 4}:
            expected, sound = self.unanswered.popleft()
            assert id_ == expected, "answers in order of arrival"
            assert sound or kind == 4
            if self.current is not None and self.current.id == id_:
                self.current = None

    def take_dispatch(self, effect: Dispatch) -> None:
        """A call is to be handled: it must be the oldest that has no answer."""
        assert isinstance(effect.call, Call)
        assert self.current is None, "one call of the station in flight (A13)"
        assert (effect.call.id, True) == self.unanswered[0]
        self.current = effect.call

    def take_end(self, end: CommandResult) -> None:
        """A command ends: in order, once."""
        if end.outcome in {CallOutcome.ANSWERED, CallOutcome.REJECTED, CallOutcome.TIMED_OUT}:
            assert self.outstanding is not None
            self.old_ids.append(self.outstanding)
            self.outstanding = None
        if end.late:
            assert self.outstanding is None
            assert self.now > self.not_after[end.command_id]
        assert self.commands.popleft() == end.command_id

    @precondition(lambda self: self.session.wants_input)
    @rule(sound=st.booleans())
    def station_calls(self, sound: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        """The station sends a call, whether or not it may."""
        id_ = f"s{next(self.numbers)}"
        action = "Heartbeat" if sound else "Dance"
        if not self.closed:
            self.unanswered.append((id_, sound))
        self.take(self.session.receive(orjson.dumps([2, id_, action, {}]), self.now))

    @precondition(lambda self: self.session.wants_input)
    @rule(text=broken_calls)
    def station_calls_brokenly(self, text: str) -> None:
        """What can be told from its id is refused in its turn."""
        id_ = f"s{next(self.numbers)}"
        if not self.closed:
            self.unanswered.append((id_, False))
        self.take(self.session.receive(text % id_, self.now))

    @rule(text=garbage)
    def station_talks_nonsense(self, text: str) -> None:
        """Nonsense never ends a command or a call."""
        commands = len(self.commands)
        self.take(self.session.receive(text, self.now))
        assert len(self.commands) == commands

    @precondition(lambda self: self.current is not None)
    @rule(how=st.sampled_from(["answer", "fail", "nonsense"]))
    def we_answer(self, how: str) -> None:
        """The call in flight is handled."""
        assert self.current is not None
        if how == "fail":
            failure = CallFailed(ErrorCode.INTERNAL_ERROR, "no")
            self.take(self.session.fail(self.current, failure, self.now))
        else:
            payload = TIME if how == "answer" else {"currentTime": 5}
            self.take(self.session.answer(self.current, payload, self.now))

    @rule()
    def we_answer_what_nobody_asked(self) -> None:
        """An answer to a call that is not in flight does nothing."""
        assert self.session.answer(Call("s0", "Heartbeat", {}), TIME, self.now) == ()

    @rule(timeout=st.floats(1, 30), patience=st.floats(-1, 40))
    def we_call(self, timeout: float, patience: float) -> None:
        """Somebody wants a call sent, and not too late."""
        command = f"k{next(self.numbers)}"
        until = self.not_after[command] = self.now + patience
        effects = self.session.call(command, "ClearCache", {}, self.now, timeout, not_after=until)
        full = len(self.commands) - (self.outstanding is not None) >= COMMAND_LIMIT
        if full or self.calls_over:
            (end,) = effects
            assert isinstance(end, CommandResult)
            assert (end.command_id, end.outcome) == (command, CallOutcome.NOT_CONNECTED)
            return
        self.commands.append(command)
        self.take(effects)

    @rule()
    def we_call_wrongly(self) -> None:
        """A call against the schema ends at once and sends nothing."""
        effects = self.session.call("wrong", "ClearCache", {"x": 1}, self.now, 5)
        assert [type(effect) for effect in effects] == [CommandResult]

    @precondition(lambda self: self.outstanding is not None)
    @rule(how=st.sampled_from(["result", "error", "invalid", "broken"]))
    def station_answers(self, how: str) -> None:
        """The station answers our call, well or badly: the command ends in any case."""
        frames: dict[str, list[Any]] = {
            "result": [3, self.outstanding, {"status": "Accepted"}],
            "error": [4, self.outstanding, "NotSupported", "", {}],
            "invalid": [3, self.outstanding, {"status": "Perhaps"}],
            "broken": [3, self.outstanding, None],
        }
        frame = frames[how]
        command = self.commands[0]
        self.take(self.session.receive(orjson.dumps(frame), self.now))
        assert command not in self.commands

    @precondition(lambda self: bool(self.old_ids))
    @rule(data=st.data())
    def station_answers_again(self, data: st.DataObject) -> None:
        """A late or second answer does nothing."""
        id_ = data.draw(st.sampled_from(self.old_ids))
        answer = orjson.dumps([3, id_, {"status": "Accepted"}])
        assert self.session.receive(answer, self.now) == ()

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        """After a tick nothing is overdue."""
        self.now += seconds
        self.take(self.session.tick(self.now))
        deadline = self.session.deadline
        assert deadline is None or deadline > self.now

    @rule()
    def socket_closes(self) -> None:
        """The other side is closing: writing does nothing from now on."""
        self.deaf = True

    @rule()
    def we_close(self) -> None:
        """We are closing: our calls are over, the station's may still be answered."""
        self.take(self.session.end_calls())
        self.calls_over = True
        assert not self.commands

    @rule()
    def connection_ends(self) -> None:
        """Every command ends, the sent one as timed out; the station's calls are forgotten."""
        self.take(self.session.close())
        self.closed = self.calls_over = True
        assert not self.commands
        self.unanswered.clear()
        self.current = None

    @invariant()
    def promises_hold(self) -> None:
        """What the session says of itself is what the model knows."""
        assert self.session.current is self.current
        assert self.session.idle == (self.current is None and not self.commands)
        assert (self.session.deadline is None) == self.session.idle
        assert self.session.wants_input == (len(self.unanswered) <= QUEUE_LIMIT)
        if self.commands and not self.closed:
            assert self.outstanding is not None, "nobody waits while the line is free"
        if self.unanswered:
            assert self.current is not None, "no call waits while none is handled"


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
