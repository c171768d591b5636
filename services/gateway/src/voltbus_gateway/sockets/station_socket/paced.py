"""What comes in on a WebSocket, within its budget.

What the transport reads is kept as bytes and given to the library in small steps, each followed by
a look at the budgets. Who is over them waits, unread (docs/adr/0013-station-budgets.md).
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode

from voltbus_gateway.connection.budget import Budget
from voltbus_gateway.metrics import OVER_BUDGET

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from websockets.protocol import Event

    from voltbus_gateway.connection.budget import MemoryBudget, ThrottledConnections
    from voltbus_gateway.settings import Settings
    from voltbus_gateway.sockets.station_socket.receiver import Receiver

log = structlog.get_logger(__name__)

_INVALID_DATA = 1007
_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_TRY_AGAIN_LATER = 1013

# So many bytes are parsed at a time: no more than 170 of the smallest frames.
_STEP = 1024
# Deflate makes a thousand bytes of one: no more than half a mebibyte of so many.
_DEFLATED_STEP = 512
# Steps follow one another for so long before the event loop has a turn.
_TURN_S = 0.002
# What a socket that was closed for its misuse still sends is read and dropped at this pace.
_DROP_PAUSE_S = 0.05


class PacedSocket(ServerConnection):
    """A socket that is parsed no faster than its budgets, its receiver and its peer allow.

    Since the last ping: ``held``, reading was paused at some time, so a pong may wait unread;
    ``taken``, so much was written that we waited for the peer to take it, and it did.
    """

    name: str | None = None
    held: bool = False
    taken: bool = False

    def __init__(
        self,
        *args: Any,
        limits: Settings,
        memory: MemoryBudget,
        throttled: ThrottledConnections,
        clock: Callable[[], float],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._memory = memory
        self._throttled = throttled
        self._clock = clock
        self._budget = Budget.of(limits)
        self._control = Budget(
            messages_per_s=limits.control_frames_per_s,
            bytes_per_s=float("inf"),
            loop_share=float("inf"),
            burst_s=limits.control_frames_burst / limits.control_frames_per_s,
        )
        self._close_after_s = limits.close_timeout_s
        self._receiver: Receiver | None = None
        self._step = _STEP
        self._unread = bytearray()  # from the transport, not parsed into frames
        self._partial = bytearray()  # fragments of a message that is not whole
        self._partial_opcode: Opcode | None = None
        self._kept: deque[bytes] = deque()  # whole messages that wait for room
        self._kept_bytes = 0
        self._holding = False  # the process's memory knows that this socket holds bytes
        self._reading = True
        self._scheduled = False  # _pump is going to be called
        self._sleeping: asyncio.TimerHandle | None = None
        self._dropping = False
        self._ending: asyncio.TimerHandle | None = None
        # What the current step brought.
        self._messages = 0
        self._message_bytes = 0
        self._control_frames = 0

    # What comes in.

    def open(self, receiver: Receiver) -> None:
        """Give messages to ``receiver`` from now on, those first that came already."""
        self._receiver = receiver
        if self.protocol.extensions:
            self._step = _DEFLATED_STEP
        self._pump()

    def release(self) -> None:
        """Forget the receiver, or socket and connection would wait for the garbage collector."""
        self._receiver = None

    def data_received(self, data: bytes) -> None:
        """Bytes came: parse them at once when they are few and nothing waits before them."""
        if self._dropping:
            self._drop()
        elif (
            len(data) <= self._step
            and self._reading
            and not (self._scheduled or self._unread or self._kept)
            and (self._receiver is not None or self.request is None)
        ):
            wait_s = self._parse(data)
            if wait_s > 0 or self._kept or self.paused:
                self._pump(wait_s)
            elif self._holding or self._partial or self.protocol.reader.buffer:
                self._account()
        else:
            self._unread += data
            self._pump()

    def _parse(self, data: bytes) -> float:
        """Give a step to the library; seconds until the next one may follow."""
        started = self._clock()
        super().data_received(data)
        now = self._clock()
        if self.close_deadline is not None and self._ending is None:
            # The library leaves it to whoever reads messages to give up waiting for the peer.
            self._ending = self.loop.call_at(self.close_deadline, self.transport.abort)
            if self.protocol.eof_sent:  # it parses nothing any more
                self._deliver_rest()
                self._dropping = True
                self._forget()
                return 0.0
        if self._control_frames:
            over_s = self._control.spend(now, messages=self._control_frames, size=0, busy_s=0.0)
            self._control_frames = 0
            if over_s > 0:
                self._close_for_misuse("control", _POLICY_VIOLATION, "Too many pings")
        wait_s = self._budget.spend(
            now, messages=self._messages, size=self._message_bytes, busy_s=now - started
        )
        self._messages = self._message_bytes = 0
        return wait_s

    def process_event(self, event: Event) -> None:
        """Take a whole message out of the frames; whatever else came is the library's."""
        if not isinstance(event, Frame):
            super().process_event(event)
        elif event.opcode in DATA_OPCODES:
            self._messages += 1
            self._message_bytes += len(event.data)
            if not (self._closing_first or self._dropping):
                self._take_frame(event)
        else:
            self._control_frames += 1
            super().process_event(event)

    def _take_frame(self, frame: Frame) -> None:
        if frame.fin and frame.opcode is not Opcode.CONT:
            self._take_message(bytes(frame.data), frame.opcode)
            return
        if frame.opcode is not Opcode.CONT:
            self._partial_opcode = frame.opcode
        self._partial += frame.data
        if frame.fin and self._partial_opcode is not None:
            message, self._partial = bytes(self._partial), bytearray()
            self._take_message(message, self._partial_opcode)

    def _take_message(self, message: bytes, opcode: Opcode) -> None:
        """Hand over a message, or keep it until there is room: nothing overtakes anything."""
        if opcode is Opcode.TEXT and not message.isascii():
            try:
                message.decode()
            except UnicodeDecodeError:
                self._end(_INVALID_DATA, "The text is no UTF-8")
                return
        if self._kept or self._receiver is None or not self._receiver.admits(message):
            self._kept.append(message)
            self._kept_bytes += len(message)
        else:
            self._deliver(message)

    def _deliver_kept(self) -> None:
        message = self._kept.popleft()
        self._kept_bytes -= len(message)
        self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        assert self._receiver is not None  # noqa: S101 - its callers have looked
        try:
            self._receiver.receive(message)
        except Exception:
            log.exception("connection.broke")
            self._end(_INTERNAL_ERROR, "")

    @property
    def _closing_first(self) -> bool:
        """Whether we began to close. What a peer sends before its own close frame still counts."""
        return self.protocol.close_sent is not None and not self.protocol.close_rcvd_then_sent

    def _deliver_rest(self) -> None:
        """Hand over what came before the peer's close frame, as far as there is room."""
        while self._kept and not self._closing_first:
            if self._receiver is None or not self._receiver.admits(self._kept[0]):
                return
            self._deliver_kept()

    # Turn by turn.

    def _pump(self, wait_s: float = 0.0) -> None:
        """Go on with what waits, as far as the budgets, the receiver and the peer allow."""
        self._scheduled = False
        started = self._clock()
        while wait_s <= 0 and self._may_go_on():
            if self._clock() - started > _TURN_S:
                self._scheduled = True
                self.loop.call_soon(self._pump)
                break
            if self._kept:
                started_at = self._clock()
                self._deliver_kept()
                now = self._clock()
                wait_s = self._budget.spend(now, messages=0, size=0, busy_s=now - started_at)
            else:
                step = bytes(self._unread[: self._step])
                del self._unread[: self._step]
                wait_s = self._parse(step)
        self._settle(wait_s)

    def _may_go_on(self) -> bool:
        """Whether something waits that nothing keeps from going on."""
        if self._dropping or self._sleeping is not None or self.paused:
            return False
        if self._kept and self._closing_first:
            self._kept.clear()
            self._kept_bytes = 0
        if self._kept:
            receiver, message = self._receiver, self._kept[0]
            if receiver is None:
                return False
            if receiver.admits(message):
                return True
            receiver.wait(message)
            return False
        # Frames before the upgrade would be answered before it, to a station that is not admitted.
        return bool(self._unread) and (self._receiver is not None or self.request is None)

    def _settle(self, wait_s: float) -> None:
        """Sleep off a debt, read on or not, and say what is held."""
        if self._dropping:
            return
        if wait_s > 0 and self._sleeping is None:
            OVER_BUDGET.labels("slowed").inc()
            wait_s = self._throttled.fall_asleep(wait_s)
            self._sleeping = self.loop.call_later(wait_s, self._wake_up)
        waits = (
            self._sleeping is not None or self.paused or self._scheduled
            or bool(self._unread) or bool(self._kept)
        )  # fmt: skip
        if waits:
            self.held = True
        if waits is self._reading and not self.transport.is_closing():
            self._reading = not waits
            if waits:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
        self._account()

    def _wake_up(self) -> None:
        self._sleeping = None
        self._throttled.wake_up()
        self._pump()

    def wake(self) -> bool:
        """Continue reading soon; return whether this socket still waits for room."""
        self._go_on_soon()
        return bool(self._kept) and not self._dropping and not self.paused

    def _go_on_soon(self) -> None:
        if not self._scheduled and not self._dropping:
            self._scheduled = True
            self.loop.call_soon(self._pump)

    def notify_change(self) -> bool:
        """Take note that something ended; return whether the next end matters too."""
        if self._dropping:
            return False
        if self._kept:
            self._go_on_soon()
        self._account()
        return self._holding

    def pause_writing(self) -> None:
        """The peer takes less than we write (asyncio calls this): its input waits."""
        super().pause_writing()
        self._settle(0.0)

    def resume_writing(self) -> None:
        """The peer has taken what we wrote (asyncio calls this)."""
        self.taken = True
        super().resume_writing()
        self._go_on_soon()  # not now: this may be called while something is written

    # Memory.

    def _account(self) -> None:
        held = (
            len(self._unread)
            + len(self.protocol.reader.buffer)
            + len(self._partial)
            + self._kept_bytes
            + (self._receiver.waiting_bytes if self._receiver is not None else 0)
            + (self.transport.get_write_buffer_size() if self.paused else 0)
        )
        self._holding = held > 0
        self._memory.hold(self, held, self._clock())

    def cut(self) -> None:
        """Close, for others need the memory."""
        self._holding = False
        unsent = self.paused
        self._close_for_misuse("memory", _TRY_AGAIN_LATER, "Too much in hand, try again later")
        if unsent:
            self.transport.abort()  # it does not read its answers: no close frame gets through

    # The end.

    def leave(self, code: int, reason: str) -> asyncio.Task[None]:
        """Begin the closing handshake; a peer that does not answer or read is cut off."""
        closing = self.loop.create_task(self.close(code, reason))
        self._go_on_soon()  # its close frame may be behind what waits
        if self._ending is None:
            self._ending = self.loop.call_later(self._close_after_s, self.transport.abort)
        return closing

    def _close_for_misuse(self, budget: str, code: int, reason: str) -> None:
        if not self._dropping:
            OVER_BUDGET.labels(budget).inc()
            log.warning("station.over_budget", station=self.name, budget=budget, code=code)
            self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        """Close now, and drop what still comes: its close frame is not waited for."""
        if self._dropping:
            return
        self._dropping = True
        self._forget()
        self.protocol.fail(code, reason)
        with contextlib.suppress(OSError, RuntimeError):  # the peer is gone
            self.send_data()
        if self._ending is None:
            self._ending = self.loop.call_later(self._close_after_s, self.transport.abort)
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()  # else we would not see that it goes

    def _drop(self) -> None:
        self.transport.pause_reading()
        self.loop.call_later(_DROP_PAUSE_S, self._drop_more)

    def _drop_more(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _forget(self) -> None:
        """Hold nothing any more."""
        self._unread.clear()
        self._partial.clear()
        self._kept.clear()
        self._kept_bytes = 0
        if self._sleeping is not None:
            self._sleeping.cancel()
            self._sleeping = None
            self._throttled.wake_up()
        self._memory.hold(self, 0, self._clock())

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone (asyncio calls this)."""
        self._dropping = True
        self._forget()
        if self._ending is not None:
            self._ending.cancel()
        super().connection_lost(exc)
