"""The state machine of one station's connection: texts and answers in, effects out.

One CALL in flight per direction, the directions independent (OCPP-J 1.6 §4.1.1, 2.x Part 4
§4.1.1). What the station sends ahead waits in order of arrival; what we want to send waits in order
of asking. Nothing here reads a clock, a socket or a random number: ``now`` is monotonic seconds.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain import commands, frames
from voltbus_gateway.domain.errors import DESCRIPTION_LIMIT, CallFailed, ErrorCode
from voltbus_gateway.domain.frames import (
    Call,
    CallError,
    CallResult,
    Frame,
    FrameError,
    Payload,
    Send,
)
from voltbus_gateway.domain.schemas import Extras, check_request, check_response

if TYPE_CHECKING:
    from collections.abc import Callable


class Write(msgspec.Struct, frozen=True):
    """Send this as one WebSocket text message (UTF-8 already encoded)."""

    text: bytes


class Dispatch(msgspec.Struct, frozen=True):
    """Handle this valid message of the station; answer a ``Call`` once, never a ``Send``.

    ``extras`` are the places of unknown properties that the policy let pass, for the log.
    """

    call: Call | Send
    extras: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """What became of a command, exactly once for each ``Session.call``.

    ANSWERED with ``payload``; REJECTED with the station's code, or with ours when its answer
    breaks the schema; TIMED_OUT when it was sent and no answer came (also when the connection
    closed meanwhile: the station may have done it); NOT_CONNECTED when it was never sent; INVALID
    when it can't be sent.
    """

    command_id: str
    outcome: CallOutcome
    payload: Payload | None = None
    error_code: str | None = None
    error_description: str | None = None


Effect = Write | Dispatch | Ended
Effects = tuple[Effect, ...]


class _Waiting(msgspec.Struct, frozen=True):
    """A call of the station whose turn has not come, or an error it is owed in that order."""

    call: Call
    extras: tuple[str, ...] = ()
    failure: CallFailed | None = None


class _Wanted(msgspec.Struct, frozen=True):
    command_id: str
    action: str
    payload: Payload
    timeout: float


class _Outstanding(msgspec.Struct, frozen=True):
    command_id: str
    action: str
    message_id: str
    deadline: float


def _fresh_id() -> str:
    # A14: an outbound message id is never used twice, not even after a restart.
    return str(uuid4())


class Session:
    """One connection, from its upgrade to its end.

    ``wants_input`` false: stop reading the socket until it is true again. ``deadline`` is when
    ``tick`` should be called next. ``counts`` tells what was dropped and why, by name.
    """

    __slots__ = (
        "_answer_within",
        "_call_deadline",
        "_closed",
        "_command_limit",
        "_current",
        "_expired",
        "_extras",
        "_last_answered",
        "_new_id",
        "_outstanding",
        "_queue",
        "_queue_limit",
        "_wanted",
        "counts",
        "protocol",
    )

    def __init__(
        self,
        protocol: Protocol,
        *,
        new_id: Callable[[], str] = _fresh_id,
        extras: Extras = Extras.REFUSE,
        queue_limit: int = 16,
        command_limit: int = 64,
        answer_within: float = 25.0,
    ) -> None:
        self.protocol = protocol
        self.counts: Counter[str] = Counter()
        self._new_id = new_id
        self._extras = extras
        self._queue_limit = queue_limit
        self._command_limit = command_limit
        self._answer_within = answer_within
        self._current: Call | None = None
        self._call_deadline = 0.0
        self._queue: deque[_Waiting] = deque()
        self._wanted: deque[_Wanted] = deque()
        self._outstanding: _Outstanding | None = None
        self._expired: deque[str] = deque(maxlen=8)
        self._last_answered: str | None = None
        self._closed = False

    @property
    def wants_input(self) -> bool:
        """False while the station has sent too far ahead."""
        return len(self._queue) < self._queue_limit

    @property
    def current(self) -> Call | None:
        """The station's call that is being handled."""
        return self._current

    @property
    def idle(self) -> bool:
        """Nothing is in flight in either direction: the moment to close without losing a call."""
        return (
            self._current is None
            and self._outstanding is None
            and not self._queue
            and not self._wanted
        )

    @property
    def deadline(self) -> float | None:
        """When ``tick`` is due (monotonic seconds), or None."""
        ours = self._outstanding.deadline if self._outstanding is not None else None
        theirs = self._call_deadline if self._current is not None else None
        if ours is None or theirs is None:
            return ours if theirs is None else theirs
        return min(ours, theirs)

    def receive(self, data: str | bytes, now: float) -> Effects:
        """A text message came from the station."""
        if self._closed:
            return ()
        try:
            frame = frames.decode(data, self.protocol)
        except FrameError as error:
            return self._malformed(error, now)
        if type(frame) is Call:
            return self._called(frame, now)
        return self._others(frame, now)

    def answer(self, call: Call, payload: Payload, now: float) -> Effects:
        """The station's call was handled. Ignored when it is no longer in flight (too late)."""
        if call is not self._current:
            self.counts["late_own_answer"] += 1
            return ()
        try:
            check_response(self.protocol, call.action, payload)
            text = frames.encode_result(call.id, payload)
        except (CallFailed, TypeError) as error:
            # Our fault, never the station's; its engineer must not see our internals.
            self.counts["invalid_own_answer"] += 1
            failed = CallFailed(ErrorCode.INTERNAL_ERROR, "The answer could not be made")
            failed.__cause__ = error
            return self.fail(call, failed, now)
        self._current = None
        if not self._queue:
            return (Write(text),)
        return (Write(text), *self._next(now))

    def fail(self, call: Call, failure: CallFailed, now: float) -> Effects:
        """The station's call gets a CALLERROR. Ignored when it is no longer in flight."""
        if call is not self._current:
            self.counts["late_own_answer"] += 1
            return ()
        self._current = None
        return (self._error(call, failure), *self._next(now))

    def call(
        self, command_id: str, action: str, payload: Payload, now: float, timeout: float
    ) -> Effects:
        """Send a call to the station when its turn comes; ``timeout`` seconds from sending."""
        if self._closed or len(self._wanted) >= self._command_limit:
            why = "the connection is closed" if self._closed else "too many calls are waiting"
            return (
                Ended(command_id, CallOutcome.NOT_CONNECTED, error_description=why.capitalize()),
            )
        try:
            commands.check_call(self.protocol, action, payload)
            frames.encode_call("", action, payload)
        except CallFailed as failure:
            return (_invalid(command_id, failure.code, failure.description),)
        except TypeError:
            return (_invalid(command_id, ErrorCode.FORMAT_VIOLATION, "The payload is no JSON"),)
        self._wanted.append(_Wanted(command_id, action, payload, timeout))
        return self._send_next(now)

    def send(self, action: str, payload: Payload) -> Effects:
        """Send a message that is never answered (2.1 SEND); it may overlap a call (A17).

        Raises:
            CallFailed: the version has no SEND, or the payload breaks the schema.
        """
        if self.protocol is not Protocol.OCPP21:
            raise CallFailed(ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED, "This version has no SEND")
        check_request(self.protocol, action, payload)
        return (Write(frames.encode_send(self._new_id(), action, payload)),)

    def tick(self, now: float) -> Effects:
        """Time has passed: end what is overdue, in both directions."""
        effects: list[Effect] = []
        waiting = self._outstanding
        if waiting is not None and now >= waiting.deadline:
            self._expired.append(waiting.message_id)
            self._outstanding = None
            effects.append(Ended(waiting.command_id, CallOutcome.TIMED_OUT))
            effects += self._send_next(now)
        call = self._current
        if call is not None and now >= self._call_deadline:
            self.counts["overdue_own_answer"] += 1
            late = CallFailed(ErrorCode.INTERNAL_ERROR, "No answer in time, try again")
            effects += self.fail(call, late, now)
        return tuple(effects)

    def close(self) -> Effects:
        """The connection is gone: every command ends, nothing is dispatched any more."""
        if self._closed:
            return ()
        self._closed = True
        self._current = None
        self._queue.clear()
        effects: list[Effect] = []
        if self._outstanding is not None:
            effects.append(
                Ended(
                    self._outstanding.command_id,
                    CallOutcome.TIMED_OUT,
                    error_description="The connection closed before the answer",
                )
            )
            self._outstanding = None
        effects += (Ended(one.command_id, CallOutcome.NOT_CONNECTED) for one in self._wanted)
        self._wanted.clear()
        return tuple(effects)

    # The station's calls.

    def _called(self, call: Call, now: float) -> Effects:
        try:
            extras = check_request(self.protocol, call.action, call.payload, self._extras)
        except CallFailed as failure:
            self.counts["invalid_call"] += 1
            if self._current is None:
                return (self._error(call, failure),)
            self._queue.append(_Waiting(call, failure=failure))
            return ()
        if self._current is not None:
            self._queue.append(_Waiting(call, extras))
            return ()
        return (self._begin(call, extras, now),)

    def _begin(self, call: Call, extras: tuple[str, ...], now: float) -> Dispatch:
        self._current = call
        self._call_deadline = now + self._answer_within
        return Dispatch(call, extras)

    def _next(self, now: float) -> Effects:
        """Answer what waits with an error, then begin the first call that is sound."""
        effects: list[Effect] = []
        while self._queue:
            waiting = self._queue.popleft()
            if waiting.failure is None:
                effects.append(self._begin(waiting.call, waiting.extras, now))
                break
            effects.append(self._error(waiting.call, waiting.failure))
        return tuple(effects)

    def _error(self, call: Call, failure: CallFailed) -> Write:
        text = frames.encode_error(call.id, failure.code, failure.description, self.protocol)
        return Write(text)

    def _sent(self, message: Send) -> Effects:
        try:
            extras = check_request(self.protocol, message.action, message.payload, self._extras)
        except CallFailed:
            # A SEND is never answered, not even with an error (A17).
            self.counts["invalid_send"] += 1
            return ()
        return (Dispatch(message, extras),)

    def _malformed(self, error: FrameError, now: float) -> Effects:
        self.counts["malformed"] += 1
        if error.answered_id is not None:
            return self._unreadable_answer(
                error.answered_id, ErrorCode.FORMAT_VIOLATION, error.reason.capitalize(), now
            )
        if error.answer is None:
            return ()
        return (Write(frames.encode_refusal(error.answer)),)

    # The answers to our calls.

    def _others(self, frame: Frame, now: float) -> Effects:
        match frame:
            case CallResult():
                return self._resulted(frame, now)
            case CallError():
                return self._refused(frame, now)
            case Send():
                return self._sent(frame)
            case _:
                # CALLRESULTERROR: the station could not read our answer; it won't get a better one.
                self.counts["our_answer_refused"] += 1
                return ()

    def _resulted(self, result: CallResult, now: float) -> Effects:
        waiting = self._taken(result.id)
        if waiting is None:
            return ()
        try:
            check_response(self.protocol, waiting.action, result.payload, self._extras)
        except CallFailed as failure:
            self._outstanding = waiting
            return self._unreadable_answer(result.id, failure.code, failure.description, now)
        ended = Ended(waiting.command_id, CallOutcome.ANSWERED, payload=result.payload)
        return (ended, *self._send_next(now))

    def _refused(self, error: CallError, now: float) -> Effects:
        waiting = self._taken(error.id)
        if waiting is None:
            return ()
        ended = Ended(
            waiting.command_id,
            CallOutcome.REJECTED,
            error_code=error.code,
            error_description=error.description or None,
        )
        return (ended, *self._send_next(now))

    def _unreadable_answer(
        self, message_id: str, code: ErrorCode, description: str, now: float
    ) -> Effects:
        waiting = self._taken(message_id)
        if waiting is None:
            return ()
        self.counts["invalid_answer"] += 1
        effects: list[Effect] = []
        if self.protocol is Protocol.OCPP21:
            effects.append(Write(frames.encode_result_error(message_id, code, description)))
        why = f"The station's answer is invalid: {description}"[:DESCRIPTION_LIMIT]
        effects.append(
            Ended(
                waiting.command_id,
                CallOutcome.REJECTED,
                error_code=code.value,
                error_description=why,
            )
        )
        return (*effects, *self._send_next(now))

    def _taken(self, message_id: str) -> _Outstanding | None:
        """The call that this id answers; otherwise it is counted by kind and dropped."""
        waiting = self._outstanding
        if waiting is not None and waiting.message_id == message_id:
            self._outstanding = None
            self._last_answered = message_id
            return waiting
        if message_id in self._expired:
            self.counts["late_answer"] += 1
        elif message_id == self._last_answered:
            self.counts["duplicate_answer"] += 1
        else:
            self.counts["unknown_answer"] += 1
        return None

    def _send_next(self, now: float) -> Effects:
        if self._outstanding is not None or not self._wanted:
            return ()
        wanted = self._wanted.popleft()
        message_id = self._new_id()
        self._outstanding = _Outstanding(
            wanted.command_id, wanted.action, message_id, now + wanted.timeout
        )
        return (Write(frames.encode_call(message_id, wanted.action, wanted.payload)),)


def _invalid(command_id: str, code: ErrorCode, description: str) -> Ended:
    return Ended(
        command_id,
        CallOutcome.INVALID,
        error_code=code.value,
        error_description=description,
    )
