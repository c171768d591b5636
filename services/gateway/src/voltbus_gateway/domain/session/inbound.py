"""The station's calls: one in flight, the rest waiting in order of arrival (A13)."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from voltbus_gateway.domain.repairs.reading import Facts, read_fact
from voltbus_gateway.domain.session.effects import Dispatch, Effect, Effects, Refusal, Write
from voltbus_gateway.domain.wire import frames
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call, FrameError
from voltbus_gateway.domain.wire.schemas import (
    UNANSWERED,
    Extras,
    actions,
    check_request,
    check_response,
)

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.wire.frames import Payload, Send


class InboundCalls:
    """The half of a session that answers.

    ``current`` is the call in flight, ``deadline`` when it is given up (monotonic seconds),
    ``waiting_bytes`` the size of what waits for its turn: a call is parsed when its turn comes, for
    a parsed one takes some twenty times its bytes. ``refusals``: what was refused is added to it.
    """

    __slots__ = (
        "_counts",
        "_extras",
        "_facts",
        "_protocol",
        "_queue",
        "_refusals",
        "_within",
        "current",
        "deadline",
        "waiting_bytes",
    )

    def __init__(
        self,
        protocol: Protocol,
        counts: Counter[str],
        refusals: list[Refusal],
        extras: Extras,
        facts: Facts,
        *,
        answer_within: float,
    ) -> None:
        self._protocol = protocol
        self._counts = counts
        self._refusals = refusals
        self._extras = extras
        self._facts = facts
        self._within = answer_within
        # What waits for its turn: calls as they came, and errors that are owed in that order.
        self._queue: deque[bytes | Write] = deque()
        self.waiting_bytes = 0
        self.current: Call | None = None
        self.deadline: float | None = None

    @property
    def waiting(self) -> int:
        """How many calls the station has sent ahead."""
        return len(self._queue)

    def keep(self, text: bytes) -> None:
        """Queue a call until it is its turn."""
        self._queue.append(text)
        self.waiting_bytes += len(text)

    def receive_call(self, call: Call, text: bytes, now: float) -> Effects:
        """Take a call: dispatch it, queue it, or answer it with an error in its turn."""
        try:
            dispatch = self._read(call, len(text))
        except CallFailed as failure:
            self._counts["invalid_call"] += 1
            return self.refuse(self._make_error(call, failure))
        if self.current is not None:
            self.keep(text)
            return ()
        assert type(dispatch.call) is Call  # noqa: S101 - made of one
        self.current = dispatch.call
        self.deadline = now + self._within
        return (dispatch,)

    def _read(self, call: Call, size: int) -> Dispatch:
        """Read a call that fits its schema, or a fact after repair.

        Raises:
            CallFailed: it is neither.
        """
        try:
            extras = check_request(self._protocol, call.action, call.payload, self._extras)
        except CallFailed as failure:
            if self._facts is Facts.STRICT:
                raise
            reading = read_fact(self._protocol, call.action, call.payload, failure)
            mended = Call(call.id, call.action, reading.payload)
            return Dispatch(mended, repairs=reading.repairs, size=size)
        if call.action in UNANSWERED:
            raise _make_not_a_call()
        return Dispatch(call, extras, size=size)

    def refuse(self, error: Write) -> Effects:
        """Answer a call with this error, when it is its turn."""
        if self.current is None:
            return (error,)
        self._queue.append(error)
        self.waiting_bytes += len(error.text)
        return ()

    def receive_send(self, message: Send, size: int) -> Effects:
        """Take a SEND (2.1): it waits for nothing and is never answered, even if wrong (A17)."""
        try:
            extras = check_request(self._protocol, message.action, message.payload, self._extras)
            if message.action not in UNANSWERED:
                raise _make_no_send()
        except CallFailed as failure:
            self._counts["invalid_send"] += 1
            self._refusals.append(make_refusal(self._protocol, message.action, failure.code))
            return ()
        return (Dispatch(message, extras, size=size),)

    def answer(self, call: Call, payload: Payload, now: float) -> Effects:
        """Answer the call; ignored when it is no longer in flight."""
        if not self._is_current(call):
            return ()
        try:
            text = frames.encode_result(call.id, payload)
            check_response(self._protocol, call.action, payload)
        except (CallFailed, TypeError):
            # Our fault, never the station's; its engineer must not see our internals.
            self._counts["invalid_own_answer"] += 1
            return self.fail(
                call, CallFailed(ErrorCode.INTERNAL_ERROR, "The answer could not be made"), now
            )
        return (Write(text), *self._start_next(now))

    def fail(self, call: Call, failure: CallFailed, now: float) -> Effects:
        """Answer the call with a CALLERROR; ignored when it is no longer in flight."""
        if not self._is_current(call):
            return ()
        return (self._make_error(call, failure), *self._start_next(now))

    def tick(self, now: float) -> Effects:
        """Give up a call that nobody answered, so that those behind it get their turn."""
        call = self.current
        if call is None or self.deadline is None or now < self.deadline:
            return ()
        self._counts["overdue_own_answer"] += 1
        late = CallFailed(ErrorCode.INTERNAL_ERROR, "No answer in time, try again")
        return self.fail(call, late, now)

    def close(self) -> None:
        """Drop all calls: the connection is gone."""
        self.current = None
        self.deadline = None
        self._queue.clear()
        self.waiting_bytes = 0

    def _is_current(self, call: Call) -> bool:
        if call is self.current:
            return True
        self._counts["late_own_answer"] += 1
        return False

    def _start_next(self, now: float) -> Effects:
        """Answer what waits with an error, then begin the first call that is sound."""
        self.current = None
        self.deadline = None
        if not self._queue:
            return ()
        effects: list[Effect] = []
        while self._queue and self.current is None:
            waiting = self._queue.popleft()
            if isinstance(waiting, Write):
                self.waiting_bytes -= len(waiting.text)
                effects.append(waiting)
            else:
                self.waiting_bytes -= len(waiting)
                effects.extend(self._take_up(waiting, now))
        return tuple(effects)

    def _take_up(self, text: bytes, now: float) -> Effects:
        """Parse a call whose turn has come."""
        try:
            frame = frames.decode(text, self._protocol)
        except FrameError as error:
            self._counts["malformed"] += 1
            if error.answer is None:
                return ()
            self._refusals.append(Refusal("", error.answer.code))
            return (Write(frames.encode_refusal(error.answer)),)
        assert type(frame) is Call  # noqa: S101 - it begins as one
        return self.receive_call(frame, text, now)

    def _make_error(self, call: Call, failure: CallFailed) -> Write:
        # That we could not decide says nothing about the station.
        if failure.code is not ErrorCode.INTERNAL_ERROR:
            self._refusals.append(make_refusal(self._protocol, call.action, failure.code))
        return Write(
            frames.encode_error(call.id, failure.code, failure.description, self._protocol)
        )


def make_refusal(protocol: Protocol, action: str, code: ErrorCode) -> Refusal:
    """Describe a refusal without an unknown action's name, which may be any text."""
    known = action if action in actions(protocol) else ""
    return Refusal(known, code.spell(protocol))


def _make_no_send() -> CallFailed:
    return CallFailed(ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED, "This action is no SEND")


def _make_not_a_call() -> CallFailed:
    return CallFailed(ErrorCode.PROTOCOL_ERROR, "This action is a SEND, not a CALL")
