"""Our calls to the station: one outstanding, the rest waiting in order of asking (A13)."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.config import CallOutcome, RejectedBy
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.repairs.reading import Facts, read_answer
from voltbus_gateway.domain.session import commands
from voltbus_gateway.domain.session.effects import Effect, Effects, Ended, Write
from voltbus_gateway.domain.wire import frames
from voltbus_gateway.domain.wire.errors import DESCRIPTION_LIMIT, CallFailed, ErrorCode, read_code
from voltbus_gateway.domain.wire.limits import storable
from voltbus_gateway.domain.wire.schemas import Extras, check_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_gateway.domain.wire.frames import CallError, CallResult, Payload

_CLOSED = "The connection is closed"
_LOST = "The connection was lost before the answer"
# How many timed-out ids are remembered, to tell a late answer from an unknown one.
_REMEMBERED = 8


class _Wanted(msgspec.Struct, frozen=True):
    command_id: str
    action: str
    payload: Payload
    timeout: float
    not_after: float


class _Outstanding(msgspec.Struct, frozen=True):
    command_id: str
    action: str
    message_id: str
    deadline: float


class Outbound:
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
        "_wanted",
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
        self._wanted: deque[_Wanted] = deque()
        self._outstanding: _Outstanding | None = None
        self._expired: deque[str] = deque(maxlen=_REMEMBERED)
        self._answered: str | None = None
        self._closed = False

    @property
    def idle(self) -> bool:
        """Nothing is outstanding and nothing waits."""
        return self._outstanding is None and not self._wanted

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
            return (_not_sent(command_id, _CLOSED),)
        if len(self._wanted) >= self._limit:
            return (_not_sent(command_id, "Too many calls are waiting for this station"),)
        try:
            frames.encode_call("", action, payload)
            commands.check_call(self._protocol, action, payload)
        except CallFailed as failure:
            return (_invalid(command_id, failure.code, failure.description),)
        except TypeError:
            return (_invalid(command_id, ErrorCode.FORMAT_VIOLATION, "The payload is no JSON"),)
        self._wanted.append(_Wanted(command_id, action, payload, timeout, not_after))
        return self._send_next(now)

    def resulted(self, result: CallResult, now: float) -> Effects:
        """A CALLRESULT came. One against its schema is the station's answer all the same."""
        waiting = self._matching(result.id)
        if waiting is None:
            return ()
        try:
            extras = check_response(self._protocol, waiting.action, result.payload, self._extras)
            storable(result.payload)
        except CallFailed as failure:
            return self._misfit(waiting, result, failure, now)
        ended = Ended(
            waiting.command_id, CallOutcome.ANSWERED, payload=result.payload, extras=extras
        )
        return self._end(waiting, ended, now)

    def _misfit(
        self, waiting: _Outstanding, result: CallResult, failure: CallFailed, now: float
    ) -> Effects:
        """The answer breaks its schema: what can be read of it is kept, with what was wrong."""
        if self._facts is Facts.STRICT:
            return self.unreadable(result.id, failure.description, now, failure.code)
        self._counts["mended_answer"] += 1
        reading = read_answer(self._protocol, waiting.action, result.payload, failure)
        ended = Ended(
            waiting.command_id,
            CallOutcome.ANSWERED,
            payload=reading.payload,
            repairs=reading.repairs,
        )
        return self._end(waiting, ended, now)

    def refused(self, error: CallError, now: float) -> Effects:
        """A CALLERROR came, in whatever spelling."""
        waiting = self._matching(error.id)
        if waiting is None:
            return ()
        ended = Ended(
            waiting.command_id,
            CallOutcome.REJECTED,
            error_code=(read_code(error.code) or error.code),
            error_description=error.description or None,
            rejected_by=RejectedBy.STATION,
        )
        return self._end(waiting, ended, now)

    def unreadable(
        self,
        message_id: str,
        why: str,
        now: float,
        code: ErrorCode = ErrorCode.FORMAT_VIOLATION,
    ) -> Effects:
        """An answer came that says nothing: the call ends at once, and 2.1 is told why (A17).

        It is as if none had come. The station may have done what was asked, so that this is no
        refusal of its.
        """
        waiting = self._matching(message_id)
        if waiting is None:
            return ()
        self._counts["invalid_answer"] += 1
        reason = f"The station's answer could not be read: {why}"[:DESCRIPTION_LIMIT]
        ended = Ended(waiting.command_id, CallOutcome.TIMED_OUT, error_description=reason)
        effects = self._end(waiting, ended, now)
        if self._protocol is Protocol.OCPP21:
            told = Write(frames.encode_result_error(message_id, code, why))
            return (told, *effects)
        return effects

    def tick(self, now: float) -> Effects:
        """End the outstanding call when it is overdue and send the next one."""
        waiting = self._outstanding
        if waiting is None or now < waiting.deadline:
            return ()
        self._expired.append(waiting.message_id)
        self._outstanding = None
        return (Ended(waiting.command_id, CallOutcome.TIMED_OUT), *self._send_next(now))

    def unsent(self, command_id: str) -> Effects:
        """The socket takes nothing any more: neither this call, just begun, nor those behind it."""
        waiting = self._outstanding
        if waiting is None or waiting.command_id != command_id:
            return ()
        self._outstanding = None
        return (_not_sent(command_id, _CLOSED), *self.close())

    def close(self) -> Effects:
        """End everything: what was sent may have been done, what was not can be sent again."""
        self._closed = True
        ended = []
        if self._outstanding is not None:
            ended.append(
                Ended(
                    self._outstanding.command_id,
                    CallOutcome.TIMED_OUT,
                    error_description=_LOST,
                )
            )
            self._outstanding = None
        ended += [_not_sent(one.command_id, _CLOSED) for one in self._wanted]
        self._wanted.clear()
        return tuple(ended)

    def _matching(self, message_id: str) -> _Outstanding | None:
        """The call that this id answers; any other answer is counted by kind and dropped."""
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

    def _end(self, waiting: _Outstanding, ended: Ended, now: float) -> Effects:
        self._outstanding = None
        self._answered = waiting.message_id
        return (ended, *self._send_next(now))

    def _send_next(self, now: float) -> Effects:
        if self._outstanding is not None:
            return ()
        effects: list[Effect] = []
        while self._wanted:
            wanted = self._wanted.popleft()
            if wanted.not_after < now:
                # Who wanted it counts on nothing any more, and may have given it up.
                effects.append(_too_late(wanted.command_id))
                continue
            message_id = self._new_id()
            self._outstanding = _Outstanding(
                wanted.command_id, wanted.action, message_id, now + wanted.timeout
            )
            text = frames.encode_call(message_id, wanted.action, wanted.payload)
            effects.append(Write(text, wanted.command_id))
            break
        return tuple(effects)


def _too_late(command_id: str) -> Ended:
    """The call never left, since who wanted it may have given it up."""
    return Ended(command_id, CallOutcome.NOT_CONNECTED, late=True)


def _not_sent(command_id: str, why: str) -> Ended:
    """The call never left; it may be tried again on another connection."""
    return Ended(command_id, CallOutcome.NOT_CONNECTED, error_description=why)


def _invalid(command_id: str, code: ErrorCode, description: str) -> Ended:
    return Ended(
        command_id,
        CallOutcome.INVALID,
        error_code=code.value,
        error_description=description,
        unsent=True,
        rejected_by=RejectedBy.GATEWAY,
    )
