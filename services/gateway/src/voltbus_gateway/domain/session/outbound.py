"""Our calls to the station: one outstanding, the rest waiting in order of asking (A13)."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.config import CallOutcome, RejectedBy
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.repairs.reading import Facts, read_answer
from voltbus_gateway.domain.session import commands
from voltbus_gateway.domain.session.effects import CommandResult, Effect, Effects, Write
from voltbus_gateway.domain.wire import frames
from voltbus_gateway.domain.wire.errors import DESCRIPTION_LIMIT, CallFailed, ErrorCode, read_code
from voltbus_gateway.domain.wire.limits import check_storable
from voltbus_gateway.domain.wire.schemas import Extras, check_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_gateway.domain.wire.frames import CallError, CallResult, Payload

_CLOSED = "The connection is closed"
_LOST = "The connection was lost before the answer"
# How many timed-out ids are remembered, to tell a late answer from an unknown one.
_REMEMBERED = 8


class _QueuedCall(msgspec.Struct, frozen=True):
    command_id: str
    action: str
    payload: Payload
    timeout: float
    not_after: float


class _OutstandingCall(msgspec.Struct, frozen=True):
    command_id: str
    action: str
    message_id: str
    deadline: float


class OutboundCalls:
    """The half of a session that asks."""

    __slots__ = (
        "_answered",
        "_closed",
        "_counts",
        "_expired",
        "_extras",
        "_facts",
        "_limit",
        "_new_id",
        "_outstanding",
        "_protocol",
        "_queue",
    )

    def __init__(
        self,
        protocol: Protocol,
        counts: Counter[str],
        extras: Extras,
        facts: Facts,
        *,
        new_id: Callable[[], str],
        limit: int,
    ) -> None:
        self._protocol = protocol
        self._counts = counts
        self._extras = extras
        self._facts = facts
        self._new_id = new_id
        self._limit = limit
        self._queue: deque[_QueuedCall] = deque()
        self._outstanding: _OutstandingCall | None = None
        self._expired: deque[str] = deque(maxlen=_REMEMBERED)
        self._answered: str | None = None
        self._closed = False

    @property
    def idle(self) -> bool:
        """Nothing is outstanding and nothing waits."""
        return self._outstanding is None and not self._queue

    @property
    def deadline(self) -> float | None:
        """When the outstanding call times out."""
        return None if self._outstanding is None else self._outstanding.deadline

    def call(
        self,
        command_id: str,
        action: str,
        payload: Payload,
        now: float,
        timeout: float,
        *,
        not_after: float,
    ) -> Effects:
        """Send a call when its turn comes, if that is in time; one that can't be sent ends."""
        if self._closed:
            return (_end_unsent(command_id, _CLOSED),)
        if len(self._queue) >= self._limit:
            return (_end_unsent(command_id, "Too many calls are waiting for this station"),)
        try:
            frames.encode_call("", action, payload)
            commands.check_call(self._protocol, action, payload)
        except CallFailed as failure:
            return (_end_invalid(command_id, failure.code, failure.description),)
        except TypeError:
            return (_end_invalid(command_id, ErrorCode.FORMAT_VIOLATION, "The payload is no JSON"),)
        self._queue.append(_QueuedCall(command_id, action, payload, timeout, not_after))
        return self._send_next(now)

    def receive_result(self, result: CallResult, now: float) -> Effects:
        """Take a CALLRESULT. One against its schema is the station's answer all the same."""
        waiting = self._match(result.id)
        if waiting is None:
            return ()
        try:
            extras = check_response(self._protocol, waiting.action, result.payload, self._extras)
            check_storable(result.payload)
        except CallFailed as failure:
            return self._receive_misfit(waiting, result, failure, now)
        command_result = CommandResult(
            waiting.command_id, CallOutcome.ANSWERED, payload=result.payload, extras=extras
        )
        return self._end(waiting, command_result, now)

    def _receive_misfit(
        self, waiting: _OutstandingCall, result: CallResult, failure: CallFailed, now: float
    ) -> Effects:
        """Keep what can be read of an answer that breaks its schema, with what was wrong."""
        if self._facts is Facts.STRICT:
            return self.receive_unreadable(result.id, failure.description, now, failure.code)
        self._counts["mended_answer"] += 1
        reading = read_answer(self._protocol, waiting.action, result.payload, failure)
        command_result = CommandResult(
            waiting.command_id,
            CallOutcome.ANSWERED,
            payload=reading.payload,
            repairs=reading.repairs,
        )
        return self._end(waiting, command_result, now)

    def receive_error(self, error: CallError, now: float) -> Effects:
        """Take a CALLERROR, in any version's spelling."""
        waiting = self._match(error.id)
        if waiting is None:
            return ()
        command_result = CommandResult(
            waiting.command_id,
            CallOutcome.REJECTED,
            error_code=(read_code(error.code) or error.code),
            error_description=error.description or None,
            rejected_by=RejectedBy.STATION,
        )
        return self._end(waiting, command_result, now)

    def receive_unreadable(
        self,
        message_id: str,
        why: str,
        now: float,
        code: ErrorCode = ErrorCode.FORMAT_VIOLATION,
    ) -> Effects:
        """Take an unreadable answer: the call ends at once, and a 2.1 station gets why (A17).

        The result is that of a timeout: the station may have done what was asked, so it is no
        refusal.
        """
        waiting = self._match(message_id)
        if waiting is None:
            return ()
        self._counts["invalid_answer"] += 1
        reason = f"The station's answer could not be read: {why}"[:DESCRIPTION_LIMIT]
        command_result = CommandResult(
            waiting.command_id, CallOutcome.TIMED_OUT, error_description=reason
        )
        effects = self._end(waiting, command_result, now)
        if self._protocol is Protocol.OCPP21:
            refusal = Write(frames.encode_result_error(message_id, code, why))
            return (refusal, *effects)
        return effects

    def tick(self, now: float) -> Effects:
        """End the outstanding call when it is overdue and send the next one."""
        waiting = self._outstanding
        if waiting is None or now < waiting.deadline:
            return ()
        self._expired.append(waiting.message_id)
        self._outstanding = None
        return (CommandResult(waiting.command_id, CallOutcome.TIMED_OUT), *self._send_next(now))

    def mark_unsent(self, command_id: str) -> Effects:
        """End this call, just begun, and those behind it: the socket accepts nothing any more."""
        waiting = self._outstanding
        if waiting is None or waiting.command_id != command_id:
            return ()
        self._outstanding = None
        return (_end_unsent(command_id, _CLOSED), *self.close())

    def close(self) -> Effects:
        """End everything: what was sent may have been done, what was not can be sent again."""
        self._closed = True
        results = []
        if self._outstanding is not None:
            results.append(
                CommandResult(
                    self._outstanding.command_id,
                    CallOutcome.TIMED_OUT,
                    error_description=_LOST,
                )
            )
            self._outstanding = None
        results += [_end_unsent(queued.command_id, _CLOSED) for queued in self._queue]
        self._queue.clear()
        return tuple(results)

    def _match(self, message_id: str) -> _OutstandingCall | None:
        """Return the call that this id answers; count and drop any other answer."""
        waiting = self._outstanding
        if waiting is not None and waiting.message_id == message_id:
            return waiting
        if message_id in self._expired:
            self._counts["late_answer"] += 1
        elif message_id == self._answered:
            self._counts["duplicate_answer"] += 1
        else:
            self._counts["unknown_answer"] += 1
        return None

    def _end(self, waiting: _OutstandingCall, command_result: CommandResult, now: float) -> Effects:
        self._outstanding = None
        self._answered = waiting.message_id
        return (command_result, *self._send_next(now))

    def _send_next(self, now: float) -> Effects:
        if self._outstanding is not None:
            return ()
        effects: list[Effect] = []
        while self._queue:
            queued = self._queue.popleft()
            if queued.not_after < now:
                # config does not expect it any more, and may have given it up.
                effects.append(_end_late(queued.command_id))
                continue
            message_id = self._new_id()
            self._outstanding = _OutstandingCall(
                queued.command_id, queued.action, message_id, now + queued.timeout
            )
            text = frames.encode_call(message_id, queued.action, queued.payload)
            effects.append(Write(text, queued.command_id))
            break
        return tuple(effects)


def _end_late(command_id: str) -> CommandResult:
    """Report that the call's time ran out before it was sent: config may have given it up."""
    return CommandResult(command_id, CallOutcome.NOT_CONNECTED, late=True)


def _end_unsent(command_id: str, why: str) -> CommandResult:
    """Report that the call was never sent; it may be tried again on another connection."""
    return CommandResult(command_id, CallOutcome.NOT_CONNECTED, error_description=why)


def _end_invalid(command_id: str, code: ErrorCode, description: str) -> CommandResult:
    return CommandResult(
        command_id,
        CallOutcome.INVALID,
        error_code=code.value,
        error_description=description,
        unsent=True,
        rejected_by=RejectedBy.GATEWAY,
    )
