"""Asking over Kafka: a request with a deadline, its answer on the asker's own partition.

An instance reads one partition of its service's inbox by assignment, chosen by hashing its id: no
group, so no rebalance when replicas come and go (docs/adr/0001-reply-partitions.md).
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone import dead_letters, envelope
from voltbus_backbone.contract.registry import FAULT, TYPES
from voltbus_backbone.errors import DeadlineExceeded, InvalidRecord, Unavailable
from voltbus_backbone.observability import REPLIES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voltbus_backbone.bus import Inbox, Publishing
    from voltbus_backbone.contract.registry import MessageType, Topic
    from voltbus_backbone.contract.values import Message
    from voltbus_backbone.envelope import Event, Record

log = structlog.get_logger(__name__)

_LOOK_S = 0.01
_ANSWERED = REPLIES.labels("answered")
_DEADLINE = REPLIES.labels("deadline")
_INVALID = REPLIES.labels("invalid")
_LATE = REPLIES.labels("late")


def inbox_partition(instance_id: str, partitions: int) -> int:
    """The partition of the inbox that an instance reads."""
    return zlib.crc32(instance_id.encode()) % partitions


class _Deadlines:
    """One timer for all that wait: questions with the same budget end in the order of asking."""

    def __init__(self, expire: Callable[[str], None]) -> None:
        self._expire = expire
        self._lines: dict[float, deque[tuple[float, str]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop, budget_s: float, correlation: str) -> None:
        """Call ``expire`` with this id when its budget is used up, answered or not."""
        line = self._lines.get(budget_s)
        if line is None:
            line = self._lines[budget_s] = deque()
        due = loop.time() + budget_s
        line.append((due, correlation))
        if self._timer is None:
            self._timer = loop.call_at(due, self._look, loop)
        elif due < self._timer.when():
            self._timer.cancel()
            self._timer = loop.call_at(due, self._look, loop)

    def stop(self) -> None:
        """Let everything wait for ever."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._lines.clear()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for line in self._lines.values():
            while line and line[0][0] <= now:
                self._expire(line.popleft()[1])
        self._timer = None
        heads = [line[0][0] for line in self._lines.values() if line]
        if heads:
            # Not for each one singly: a hundredth of a second more or less matters to nobody.
            self._timer = loop.call_at(max(min(heads), now + _LOOK_S), self._look, loop)


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
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._deadlines = _Deadlines(self._expire)
        self._reading: asyncio.Task[None] | None = None
        self._inbox: Inbox | None = None
        self.partition = 0

    async def start(self, open_inbox: Callable[[str, int], Inbox], partitions: int) -> None:
        """Read our partition from its end; only then may anything be asked."""
        self.partition = inbox_partition(self._instance_id, partitions)
        self._reply_partition = b"%d" % self.partition
        self._inbox = open_inbox(self._inbox_topic, self.partition)
        await self._inbox.start()
        self._reading = asyncio.get_running_loop().create_task(self._read(self._inbox))

    async def stop(self) -> None:
        """Stop reading; whoever still waits gets Unavailable."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._inbox is not None:
            await self._inbox.stop()
        self._deadlines.stop()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable("this process is stopping"))
        self._waiting.clear()

    def ask(
        self,
        row: MessageType[Any],
        message: Message,
        *,
        id: str | None = None,  # noqa: A002 - CloudEvents' own name
        deadline_s: float,
        topic: Topic | None = None,
        key: bytes | None = None,
        traceparent: bytes | None = None,
    ) -> asyncio.Future[Message]:
        """Send a request; the future gives the answer's message.

        It fails with DeadlineExceeded when none came in time, or Unavailable when the service says
        that it cannot decide now. ``id`` is the request's CloudEvents id (default: its correlation
        id, for a request that no station could resend).
        """
        record, future = self._prepare(
            row, message, id_=id, deadline_s=deadline_s, topic=topic, key=key, trace=traceparent
        )
        self._publisher.post(record)
        return future

    def tell_and_ask(
        self,
        row: MessageType[Any],
        message: Message,
        *,
        id: str,  # noqa: A002 - CloudEvents' own name
        deadline_s: float,
        key: bytes | None = None,
        traceparent: bytes | None = None,
    ) -> tuple[asyncio.Future[None], asyncio.Future[Message]]:
        """Send a fact that wants an answer: (Kafka has it, the answer). Either may fail alone."""
        record, future = self._prepare(
            row, message, id_=id, deadline_s=deadline_s, topic=None, key=key, trace=traceparent
        )
        return self._publisher.publish([record]), future

    def _prepare(
        self,
        row: MessageType[Any],
        message: Message,
        *,
        id_: str | None,
        deadline_s: float,
        topic: Topic | None,
        key: bytes | None,
        trace: bytes | None,
    ) -> tuple[Record, asyncio.Future[Message]]:
        loop = asyncio.get_running_loop()
        now = self._now()
        self._count += 1
        correlation = f"{self._mine}{self._count}"
        record = envelope.event(
            row,
            message,
            id=id_ or correlation,
            source=self._source,
            now=now,
            key=key,
            traceparent=trace,
            topic=str(topic) if topic else None,
        )
        record.headers.extend(
            (
                ("correlation-id", correlation.encode()),
                ("reply-topic", self._reply_topic),
                ("reply-partition", self._reply_partition),
                ("deadline", b"%d" % int((now.timestamp() + deadline_s) * 1000)),
            )
        )
        future: asyncio.Future[Message] = loop.create_future()
        self._waiting[correlation] = future
        self._deadlines.watch(loop, deadline_s, correlation)
        return record, future

    def _expire(self, correlation: str) -> None:
        future = self._waiting.pop(correlation, None)
        if future is not None and not future.done():
            _DEADLINE.inc()
            future.set_exception(DeadlineExceeded("no answer within the deadline"))

    async def _read(self, inbox: Inbox) -> None:
        while True:
            for record in await inbox.take():
                correlation = envelope.header(record.headers, "correlation-id")
                if correlation is None:
                    await self._receive(record)
                elif correlation.startswith(self._mine_bytes):
                    self._answer(correlation.decode(), record)

    async def _receive(self, record: Any) -> None:
        """A record of our partition that answers nobody: a message to us, or to a neighbour."""
        if self._on_message is None:
            return
        if envelope.header(record.headers, "ce_subject") != self._instance_id.encode():
            return
        try:
            event = envelope.parse(record.headers, record.value, key=record.key)
            event.decode()
        except InvalidRecord as error:
            log.warning("inbox.invalid", reason=error.reason)
            if self._dead_letters is not None:
                letter = dead_letters.written(record, error.reason, self._dead_letters, self._now())
                self._publisher.post(letter)
            return
        await self._on_message(event)

    def _answer(self, correlation: str, record: Any) -> None:
        future = self._waiting.pop(correlation, None)
        if future is None or future.done():
            _LATE.inc()
            return
        kind = envelope.header(record.headers, "ce_type")
        row = TYPES.get(kind.decode()) if kind is not None else None
        if row is None or record.value is None:
            future.set_exception(Unavailable("the answer is of an unknown type"))
            return
        try:
            message = row.decoder.decode(record.value)
        except ValueError:
            _INVALID.inc()
            future.set_exception(Unavailable("the answer does not match its schema"))
            return
        _ANSWERED.inc()
        if row is FAULT:
            future.set_exception(Unavailable(message.detail))
        else:
            future.set_result(message)
