"""The state machine of one station's connection: texts and answers in, effects out.

One CALL in flight per direction, the directions independent (OCPP-J 1.6 §4.1.1, 2.x Part 4
§4.1.1): ``inbound`` answers the station, ``outbound`` asks it. Nothing here reads a clock, a socket
or a random number: ``now`` is monotonic seconds, and message ids come from ``new_id``.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING
from uuid import uuid4

from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.session.effects import (
    CommandResult,
    Dispatch,
    Effect,
    Effects,
    Refusal,
    Write,
)
from voltbus_gateway.domain.session.inbound import InboundCalls, make_refusal
from voltbus_gateway.domain.session.outbound import OutboundCalls
from voltbus_gateway.domain.wire import frames
from voltbus_gateway.domain.wire.frames import (
    UNREADABLE_ID,
    Call,
    CallError,
    CallResult,
    FrameError,
    Payload,
    Send,
)
from voltbus_gateway.domain.wire.schemas import Extras

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.wire.errors import CallFailed
    from voltbus_gateway.domain.wire.frames import Frame

__all__ = ["CommandResult", "Dispatch", "Effect", "Effects", "Session", "Write"]


def _make_id() -> str:
    # A14: an outbound message id is never used twice, not even after a restart.
    return str(uuid4())


class Session:
    """One connection, from its upgrade to its end.

    ``queue_limit``: how many calls the station may send ahead before ``wants_input`` is false.
    ``command_limit``: how many of our calls may wait. ``answer_within``: seconds after which a call
    of the station that nobody answered gets InternalError. ``counts`` tells what was dropped, by
    name, for metrics; ``refusals`` collects what the station was refused, until it is published.
    """

    __slots__ = (
        "_closed",
        "_inbound",
        "_outbound",
        "_queue_limit",
        "counts",
        "protocol",
        "refusals",
    )

    def __init__(
        self,
        protocol: Protocol,
        *,
        new_id: Callable[[], str] = _make_id,
        extras: Extras = Extras.REFUSE,
        facts: Facts = Facts.LENIENT,
        queue_limit: int = 16,
        command_limit: int = 64,
        answer_within: float = 25.0,
    ) -> None:
        self.protocol = protocol
        self.counts: Counter[str] = Counter()
        self._queue_limit = queue_limit
        self.refusals: list[Refusal] = []
        self._inbound = InboundCalls(
            protocol, self.counts, self.refusals, extras, facts, answer_within=answer_within
        )
        self._outbound = OutboundCalls(
            protocol, self.counts, extras, facts, new_id=new_id, limit=command_limit
        )
        self._closed = False

    @property
    def wants_input(self) -> bool:
        """False while the station has sent too far ahead: stop reading its socket until then."""
        return self._inbound.waiting < self._queue_limit

    @property
    def free(self) -> bool:
        """Nothing of the station is in hand: what it sends now has its turn at once."""
        return self._inbound.current is None and not self._inbound.waiting

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the station's calls that wait for their turn."""
        return self._inbound.waiting_bytes

    @property
    def current(self) -> Call | None:
        """The station's call that is being handled."""
        return self._inbound.current

    @property
    def idle(self) -> bool:
        """Nothing is in flight in either direction: the moment to close without losing a call."""
        return self._inbound.current is None and self._outbound.idle

    @property
    def deadline(self) -> float | None:
        """When ``tick`` is due (monotonic seconds), or None."""
        ours, theirs = self._outbound.deadline, self._inbound.deadline
        if ours is None or theirs is None:
            return ours if theirs is None else theirs
        return min(ours, theirs)

    def receive(self, data: str | bytes, now: float) -> Effects:
        """Take a text message of the station."""
        if self._closed:
            return ()
        if isinstance(data, str):
            data = data.encode(errors="replace")
        if self._inbound.current is not None and frames.may_wait(data):
            self._inbound.keep(data)
            return ()
        try:
            frame = frames.decode(data, self.protocol)
        except FrameError as error:
            return self._receive_malformed(error, now)
        if type(frame) is Call:
            return self._inbound.receive_call(frame, data, now)
        return self._receive_other(frame, len(data), now)

    def answer(self, call: Call, payload: Payload, now: float) -> Effects:
        """Answer the station's call. Ignored when it is no longer in flight (too late).

        A payload that breaks the schema is our fault: the station gets InternalError.
        """
        return self._inbound.answer(call, payload, now)

    def fail(self, call: Call, failure: CallFailed, now: float) -> Effects:
        """Answer the station's call with a CALLERROR. Ignored when it is no longer in flight."""
        return self._inbound.fail(call, failure, now)

    def call(
        self,
        command_id: str,
        action: str,
        payload: Payload,
        now: float,
        timeout: float,
        *,
        not_after: float = inf,
    ) -> Effects:
        """Send a call to the station when its turn comes; ``timeout`` seconds from sending.

        ``not_after``: one whose turn comes later is not sent (monotonic seconds).
        """
        return self._outbound.call(command_id, action, payload, now, timeout, not_after=not_after)

    def mark_unsent(self, command_id: str) -> Effects:
        """End the call that the socket did not accept: the socket is closing."""
        return self._outbound.mark_unsent(command_id)

    def end_calls(self) -> Effects:
        """End all our calls: our side closes the socket."""
        return self._outbound.close()

    def drop(self, message: Send, failure: CallFailed) -> None:
        """Count and report a SEND (2.1) that was refused."""
        self.counts["refused_send"] += 1
        self.refusals.append(make_refusal(self.protocol, message.action, failure.code))

    def tick(self, now: float) -> Effects:
        """End what is overdue, in both directions."""
        return (*self._outbound.tick(now), *self._inbound.tick(now))

    def close(self) -> Effects:
        """End every command and dispatch nothing any more: the connection is gone."""
        if self._closed:
            return ()
        self._closed = True
        self._inbound.close()
        return self._outbound.close()

    def _receive_other(self, frame: Frame, size: int, now: float) -> Effects:
        match frame:
            case CallResult():
                return self._outbound.receive_result(frame, now)
            case CallError():
                return self._outbound.receive_error(frame, now)
            case Send():
                return self._inbound.receive_send(frame, size)
            case _:
                # CALLRESULTERROR: the station could not read our answer; it won't get a better one.
                self.counts["our_answer_refused"] += 1
                return ()

    def _receive_malformed(self, error: FrameError, now: float) -> Effects:
        self.counts["malformed"] += 1
        if error.answered_id is not None:
            return self._outbound.receive_unreadable(error.answered_id, error.reason, now)
        if error.answer is None:
            return ()
        self.refusals.append(Refusal("", error.answer.code))
        owed = Write(frames.encode_refusal(error.answer))
        if error.answer.id == UNREADABLE_ID:
            return (owed,)
        return self._inbound.refuse(owed)
