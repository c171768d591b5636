"""Asking over Kafka: a request with a deadline, its answer on the asker's own partition.

An instance reads one partition of its service's inbox by assignment, chosen by hashing its id: no
group, so no rebalance when replicas come and go (docs/adr/0001-reply-partitions.md).
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone.bus import dead_letters, envelope
from voltbus_backbone.contract.registry import Fault
from voltbus_backbone.errors import (
    DeadlineExceeded,
    InvalidRecord,
    Unavailable,
    VoltbusError,
)
from voltbus_backbone.observability import REPLIES
from voltbus_backbone.supervision import Supervised
from voltbus_backbone.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.bus.ports import Inbox, Publishing
    from voltbus_backbone.contract.registry import MessageType, Topic
    from voltbus_backbone.contract.values import Message

    Done = Callable[[Message | VoltbusError], None]

log = structlog.get_logger(__name__)

_LOOK_S = 0.01
# After so many answers other work has a turn: what they made others ask goes out, and is decided
# while the rest is handed out. All at once, gateway and services would wait for each other.
_AT_ONCE = 100
_ANSWERED = REPLIES.labels("answered")
_DEADLINE = REPLIES.labels("deadline")
_INVALID = REPLIES.labels("invalid")
_LATE = REPLIES.labels("late")


def inbox_partition(instance_id: str, partitions: int) -> int:
    """The partition of the inbox that an instance reads."""
    return zlib.crc32(instance_id.encode()) % partitions


class _Deadlines:
    """One timer for all that wait: questions with the same budget end in the order of asking."""

    def __init__(self, expire: Callable[[bytes], None]) -> None:
        self._expire = expire
        self._lines: dict[float, deque[tuple[float, bytes]]] = {}
        self._timer = Timer()

    def watch(self, loop: asyncio.AbstractEventLoop, budget_s: float, correlation: bytes) -> None:
        """Call ``expire`` with this id when its budget is used up, answered or not."""
        line = self._lines.get(budget_s)
        if line is None:
            line = self._lines[budget_s] = deque()
        due = loop.time() + budget_s
        line.append((due, correlation))
        self._timer.set(due, self._look)

    def stop(self) -> None:
        """Let everything wait for ever."""
        self._timer.cancel()
        self._lines.clear()

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for line in self._lines.values():
            while line and line[0][0] <= now:
                self._expire(line.popleft()[1])
        heads = [line[0][0] for line in self._lines.values() if line]
        if heads:
            # Not for each one singly: a hundredth of a second more or less matters to nobody.
            self._timer.set(max(min(heads), now + _LOOK_S), self._look)


class Requester:
    """Asks, and hands out what else comes to this instance's inbox (commands to a gateway).

    ``source`` is the CloudEvents source of this instance. ``now`` gives aware UTC times.
    ``start_mark`` tells this process's life from an earlier one under the same instance id.
    """

    def __init__(
        self,
        *,
        instance_id: str,
        source: str,
        inbox_topic: str,
        publisher: Publishing,
        start_mark: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_message: Callable[[Event], Awaitable[None]] | None = None,
        dead_letters_to: Topic | None = None,
    ) -> None:
        self._instance_id = instance_id
        self._source = source
        self._inbox_topic = inbox_topic
        self._reply_topic = inbox_topic.encode()
        self._reply_partition = b"0"
        self._publisher = publisher
        self._now = now
        self._on_message = on_message
        self._dead_letters = dead_letters_to
        self._mine = f"{instance_id}/{start_mark}/"
        self._mine_bytes = self._mine.encode()
        self._count = 0
        self._waiting: dict[bytes, Done] = {}
        self._deadlines = _Deadlines(self._expire)
        self._reading: asyncio.Task[None] | None = None
        self._inbox: Inbox | None = None
        self._supervised = Supervised("inbox", self._read)
        self._opened = False
        self._taken_at = float("-inf")
        self.partition = 0

    async def start(self, open_inbox: Callable[[str, int], Inbox], partitions: int) -> None:
        """Read our partition from its end; only then may anything be asked."""
        self.partition = inbox_partition(self._instance_id, partitions)
        self._reply_partition = b"%d" % self.partition
        self._inbox = open_inbox(self._inbox_topic, self.partition)
        await self._inbox.start()
        self._opened = True
        loop = asyncio.get_running_loop()
        self._taken_at = loop.time()
        self._reading = loop.create_task(self._supervised.run())

    def hearing(self, within_s: float) -> bool:
        """Whether the inbox is read: it is asked for what has come, and answers."""
        if self._inbox is None or not self._supervised.ready():
            return False
        asked = asyncio.get_running_loop().time() - self._taken_at < within_s
        return asked and self._inbox.silent_s() < within_s

    async def stop(self) -> None:
        """Stop reading; whoever still waits gets Unavailable."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._inbox is not None:
            await self._inbox.stop()
        self._deadlines.stop()
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            _call(done, Unavailable("this process is stopping"))

    def ask(
        self, row: MessageType[Any], message: Message, *, deadline_s: float
    ) -> asyncio.Future[Message]:
        """Send a request; the future gives the answer's message.

        It fails with DeadlineExceeded when none came in time, or Unavailable when the service says
        that it cannot decide now. The request's CloudEvents id is its correlation id: no station
        could resend it.
        """
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.ask_then(row, message, partial(_settle, future), deadline_s=deadline_s)
        return future

    def ask_then(
        self, row: MessageType[Any], message: Message, done: Done, *, deadline_s: float
    ) -> None:
        """As ``ask``, for the hot path: ``done`` is called once, with the message or the error.

        It is called where the answer is read, a turn of the event loop earlier than whoever waits
        for a future, and must return at once.
        """
        self._publisher.post(self._prepare(row, message, done, deadline_s, None))

    def tell_and_ask(
        self,
        row: MessageType[Any],
        message: Message,
        *,
        id: str,  # noqa: A002 - CloudEvents' own name
        deadline_s: float,
        before: Sequence[Record] = (),
        after: Sequence[Record] = (),
    ) -> tuple[asyncio.Future[None], asyncio.Future[Message]]:
        """Send a fact that wants an answer: (Kafka has it, the answer). Either may fail alone.

        ``before`` and ``after``: records of the same fact, which Kafka must have too.
        """
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        record = self._prepare(row, message, partial(_settle, future), deadline_s, id)
        return self._publisher.publish([*before, record, *after]), future

    def _prepare(
        self,
        row: MessageType[Any],
        message: Message,
        done: Done,
        deadline_s: float,
        event_id: str | None,
    ) -> Record:
        now = self._now()
        self._count += 1
        correlation = f"{self._mine}{self._count}"
        name = correlation.encode()
        record = envelope.event(
            row, message, id=event_id or correlation, source=self._source, now=now
        )
        record.headers.extend(
            (
                ("correlation-id", name),
                ("reply-topic", self._reply_topic),
                ("reply-partition", self._reply_partition),
                ("deadline", b"%d" % int((now.timestamp() + deadline_s) * 1000)),
            )
        )
        self._waiting[name] = done
        self._deadlines.watch(asyncio.get_running_loop(), deadline_s, name)
        return record

    def _expire(self, correlation: bytes) -> None:
        done = self._waiting.pop(correlation, None)
        if done is not None:
            _DEADLINE.inc()
            _call(done, DeadlineExceeded("no answer within the deadline"))

    async def _read(self) -> None:
        """Read until cancelled; after it broke, again from where it stopped."""
        inbox = self._inbox
        assert inbox is not None  # noqa: S101 - start() comes first
        if not self._opened:
            await inbox.start()
        try:
            while True:
                self._taken_at = asyncio.get_running_loop().time()
                await self._hand_out(await inbox.take())
        except Exception:
            self._opened = False
            await inbox.stop()
            raise

    async def _hand_out(self, records: list[Any]) -> None:
        answered = 0
        for record in records:
            try:
                correlation = envelope.header(record.headers, "correlation-id")
                if correlation is None:
                    await self._receive(record)
                elif correlation.startswith(self._mine_bytes):
                    answered += self._answer(correlation, record)
            except Exception:
                log.exception("inbox.record.broke", offset=record.offset)
            if answered >= _AT_ONCE:
                _ANSWERED.inc(answered)
                answered = 0
                await asyncio.sleep(0)
        _ANSWERED.inc(answered)

    async def _receive(self, record: Any) -> None:
        """A record of our partition that answers nobody: a message to us, or to a neighbour."""
        if self._on_message is None:
            return
        if envelope.header(record.headers, "ce_subject") != self._instance_id.encode():
            return
        try:
            event = envelope.parse_record(record)
            event.decode()
        except InvalidRecord as error:
            self._give_up(record, error.reason)
            return
        try:
            await self._on_message(event)
        except Exception as error:
            log.exception("inbox.message.broke", type=event.type)
            self._give_up(record, f"handler failed: {type(error).__name__}")

    def _give_up(self, record: Any, reason: str) -> None:
        log.warning("inbox.invalid", reason=reason)
        if self._dead_letters is not None:
            letter = dead_letters.written(record, reason, self._dead_letters, self._now())
            self._publisher.post(letter)

    def _answer(self, correlation: bytes, record: Any) -> bool:
        """Hand an answer out; whether somebody waited for it."""
        done = self._waiting.pop(correlation, None)
        if done is None:
            _LATE.inc()
            return False
        _call(done, _read_answer(record))
        return True


def _read_answer(record: Any) -> Message | VoltbusError:
    try:
        message: Message = envelope.decode_value(record)
    except InvalidRecord as error:
        _INVALID.inc()
        return Unavailable(f"the answer cannot be read: {error.reason}")
    return Unavailable(message.detail) if isinstance(message, Fault) else message


def _settle(future: asyncio.Future[Message], answer: Message | VoltbusError) -> None:
    if future.done():
        return  # whoever asked waits no more
    if isinstance(answer, VoltbusError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _call(done: Done, answer: Message | VoltbusError) -> None:
    """One that breaks must not keep the others from their answers."""
    try:
        done(answer)
    except Exception:
        log.exception("answer.broke")
