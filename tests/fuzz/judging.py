"""What must hold of a session, whatever it was given: judged after every message."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from itertools import count
from typing import Any

import bson
import msgspec
import orjson

from fuzz.frames_made import PENDING
from relaxed import relaxed_validator
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.session.session import CommandResult, Dispatch, Effects, Session, Write
from voltbus_gateway.domain.translation.route import Context, make_fact_id
from voltbus_gateway.domain.translation.routes import find_route
from voltbus_gateway.domain.translation.translation import translate
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call
from voltbus_gateway.domain.wire.limits import check_storable
from voltbus_gateway.domain.wire.schemas import check_request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME = {"currentTime": "2026-03-01T12:00:00.000Z"}
# What we ask, in turn: every version has them.
OURS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("GetLocalListVersion", {}),
    ("ClearCache", {}),
    ("DataTransfer", {"vendorId": "v"}),
)
TIMEOUT = 30.0
ANSWER_KINDS = {
    Protocol.OCPP16: {3, 4},
    Protocol.OCPP201: {3, 4},
    Protocol.OCPP21: {3, 4, 5},
}


def owed_id(data: str | bytes, protocol: Protocol) -> str | None:
    """The id of a message that is owed an answer in its turn: a CALL, or what can only be one."""
    try:
        parts = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    match parts:
        case [2, str(id_), str(), dict()] if len(id_) <= 36:
            return id_
        case [kind, id_, *_] if _is_called(kind, protocol):
            return _readable(id_, protocol)
    return None


def _is_called(kind: object, protocol: Protocol) -> bool:
    """Whether a broken message of this type gets a CALLERROR."""
    if type(kind) is not int or kind == 2:
        return True
    return protocol is Protocol.OCPP201 and kind not in {3, 4}


def _readable(id_: object, protocol: Protocol) -> str | None:
    """How a broken message is named in its CALLERROR; "-1" names none."""
    longest = 255 if protocol is Protocol.OCPP16 else 36
    if protocol is Protocol.OCPP16 and type(id_) is int:
        return str(id_) if id_ != -1 else None
    return id_ if isinstance(id_, str) and len(id_) <= longest and id_ != "-1" else None


class Judge:
    """A session with a call of ours on its way, and what it has done so far."""

    def __init__(self, protocol: Protocol, session: type[Session] = Session) -> None:
        numbers = count(1)
        self.protocol = protocol
        self.session = session(protocol, new_id=lambda: f"ours-{next(numbers)}")
        self.now = 1.0
        self.asked: list[str] = []
        self.ended: list[CommandResult] = []
        self.sent: set[str] = set()  # ids of our calls that went out
        self.owed: deque[str] = deque()  # ids of the station's calls, in order
        self.unnamed = 0  # errors that may go out and answer no call by its id, also in their turn
        self.codes = {code.spell(protocol) for code in ErrorCode}
        self.ask()
        assert self.sent == {PENDING}

    def give(self, data: str | bytes) -> None:
        """A message comes; what is dispatched is handled until nothing is in flight."""
        self.receive(data)
        self.settle()

    def receive(self, data: str | bytes) -> None:
        """A message comes, and nobody has time for it yet."""
        id_ = owed_id(data, self.protocol)
        if id_ is not None:
            self.owed.append(id_)
        else:
            self.unnamed += 1
        self._follow(self.session.receive(data, self.now))
        if self.session.free:
            self.unnamed = 0

    def ask(self) -> None:
        """The operator wants something of the station."""
        action, payload = OURS[len(self.asked) % len(OURS)]
        self.asked.append(f"command-{len(self.asked)}")
        self._follow(self.session.call(self.asked[-1], action, payload, self.now, TIMEOUT))

    def handle(self) -> None:
        """The handlers come to the call in flight, if there is one."""
        call = self.session.current
        if call is not None:
            self._follow(self._translate_and_answer(call))

    def wait(self) -> None:
        """As long as any call may take; who handled the station's call comes too late."""
        late = self.session.current
        self.now += TIMEOUT
        self._follow(self.session.tick(self.now))
        if late is not None:
            assert self.session.current is not late
            assert self.session.answer(late, TIME, self.now) == ()

    def settle(self) -> None:
        """Everything is handled, and everything is answered."""
        for _ in range(len(self.owed)):
            self.handle()
        assert not self.owed

    def still_works(self) -> None:
        """A sound call is dispatched and answered; our own calls end once, at the latest now."""
        self.settle()
        (effect,) = self.session.receive('[2,"last","Heartbeat",{}]', self.now)
        assert isinstance(effect, Dispatch)
        assert isinstance(effect.call, Call)
        (answer,) = self.session.answer(effect.call, TIME, self.now)
        assert isinstance(answer, Write)
        assert orjson.loads(answer.text) == [3, "last", TIME]
        self._follow(self.session.tick(self.now + 1000.0))
        self._follow(self.session.close())
        assert [result.command_id for result in self.ended] == self.asked

    def _translate_and_answer(self, call: Call) -> Effects:
        """What the handlers do with a call, without Kafka: translate it, then answer or fail."""
        context = Context("CS-1", "c-1", self.protocol, NOW)
        try:
            route = find_route(self.protocol, call.action)
            if route.to_contract is not None:
                translation = translate(
                    route, route.to_contract, call.payload, context, Facts.LENIENT
                )
                message = translation.message
                assert len(make_fact_id(context, call, route, message)) == 32
                told = msgspec.json.encode(message)
                assert msgspec.json.decode(told, type=type(message)) == message
        except CallFailed as failure:
            return self.session.fail(call, failure, self.now)
        if call.action == "Heartbeat":
            return self.session.answer(call, TIME, self.now)
        enough = CallFailed(ErrorCode.INTERNAL_ERROR, "enough")
        return self.session.fail(call, enough, self.now)

    def _follow(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Write):
                frame = orjson.loads(effect.text)
                self._judge_frame(frame)
                if frame[:2] == [4, "-1"] and self.unnamed:
                    self.unnamed -= 1
                elif frame[0] in {3, 4}:
                    assert frame[1] == self.owed.popleft(), "once each, in their order (A13)"
            elif isinstance(effect, Dispatch):
                action, payload = effect.call.action, effect.call.payload
                if effect.repairs:
                    assert relaxed_validator(self.protocol, action).check(payload) == ()
                else:
                    assert check_request(self.protocol, action, payload) == ()
                assert effect.extras == ()
            else:
                assert effect.command_id in self.asked
                assert effect.outcome in CallOutcome
                if effect.payload is not None:
                    check_storable(effect.payload)
                    bson.encode(effect.payload)  # config keeps it
                self.ended.append(effect)
        current = self.session.current
        assert [current.id if current else None] == [*self.owed, None][:1]

    def _judge_frame(self, frame: list[Any]) -> None:
        """Calls that were asked for and answers go out, and each as its version has it."""
        assert isinstance(frame[1], str)
        assert len(frame[1]) <= 255
        if frame[0] == 2:
            assert frame[1] not in self.sent, "an id is used once (A14)"
            assert len(self.sent) == len(self.ended), "one call of ours at a time (A13)"
            self.sent.add(frame[1])
            return
        assert frame[0] in ANSWER_KINDS[self.protocol]
        if frame[0] == 3:
            assert isinstance(frame[2], dict)
            return
        _, _, code, description, details = frame
        assert frame[0] == 4 or frame[1] in self.sent
        assert code in self.codes
        assert len(description) <= 255
        assert details == {}
