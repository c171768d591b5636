"""What must hold of a session, whatever it was given: judged after every message."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import orjson

from fuzz.frames_made import PENDING
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.frames import Call
from voltbus_gateway.domain.limits import storable
from voltbus_gateway.domain.route import Context, fact_id
from voltbus_gateway.domain.routes import route_of
from voltbus_gateway.domain.schemas import check_request
from voltbus_gateway.domain.session import Dispatch, Effects, Ended, Session, Write

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COMMAND = "command-1"
TIME = {"currentTime": "2026-03-01T12:00:00.000Z"}
ANSWER_KINDS = {
    Protocol.OCPP16: {3, 4},
    Protocol.OCPP201: {3, 4},
    Protocol.OCPP21: {3, 4, 5},
}


class Judge:
    """A session with a call of ours on its way, and what it has done so far."""

    def __init__(self, protocol: Protocol) -> None:
        numbers = count(1)
        self.protocol = protocol
        self.session = Session(protocol, new_id=lambda: f"ours-{next(numbers)}")
        self.ended: list[Ended] = []
        self.codes = {code.spelled(protocol) for code in ErrorCode}
        effects = self.session.call(COMMAND, "GetLocalListVersion", {}, 0.0, 30.0)
        assert orjson.loads(effects[0].text)[:2] == [2, PENDING]  # type: ignore[union-attr]

    def give(self, data: str | bytes) -> None:
        """A message comes; what is dispatched is handled until nothing is in flight."""
        self._follow(self.session.receive(data, 1.0))
        for _ in range(3):
            call = self.session.current
            if call is None:
                return
            self._follow(self._handled(call))

    def still_works(self) -> None:
        """A sound call is dispatched and answered; our own call ends once, at the latest now."""
        (effect,) = self.session.receive('[2,"last","Heartbeat",{}]', 2.0)
        assert isinstance(effect, Dispatch)
        assert isinstance(effect.call, Call)
        (answer,) = self.session.answer(effect.call, TIME, 2.0)
        assert isinstance(answer, Write)
        assert orjson.loads(answer.text) == [3, "last", TIME]
        self._follow(self.session.tick(1000.0))
        self._follow(self.session.close())
        assert [one.command_id for one in self.ended] == [COMMAND]

    def _handled(self, call: Call) -> Effects:
        """What the handlers do with a call, without Kafka: translate it, then answer or fail."""
        context = Context("CS-1", "c-1", self.protocol, NOW, "g-1")
        try:
            route = route_of(self.protocol, call.action)
            if route.to_contract is not None:
                message = route.to_contract(call.payload, context)
                assert len(fact_id(context, call, route, message)) == 32
                told = msgspec.json.encode(message)
                assert msgspec.json.decode(told, type=type(message)) == message
        except CallFailed as failure:
            return self.session.fail(call, failure, 1.0)
        return self.session.fail(call, CallFailed(ErrorCode.INTERNAL_ERROR, "enough"), 1.0)

    def _follow(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Write):
                self._judge_frame(orjson.loads(effect.text))
            elif isinstance(effect, Dispatch):
                action, payload = effect.call.action, effect.call.payload
                assert check_request(self.protocol, action, payload) == ()
                assert effect.extras == ()
            else:
                assert effect.command_id == COMMAND
                assert effect.outcome in CallOutcome
                if effect.payload is not None:
                    storable(effect.payload)
                self.ended.append(effect)

    def _judge_frame(self, frame: list[Any]) -> None:
        """Only answers go out by themselves, and each as its version has it."""
        assert frame[0] in ANSWER_KINDS[self.protocol]
        assert isinstance(frame[1], str)
        assert len(frame[1]) <= 255
        if frame[0] == 3:
            assert isinstance(frame[2], dict)
            return
        _, _, code, description, details = frame
        assert code in self.codes
        assert len(description) <= 255
        assert details == {}
