"""A bus in memory, for fast tests. The suite in tests/backbone runs it and the real one alike."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus_backbone.bounds import RECORD_BYTES, record_bytes
from voltbus_backbone.bus.envelope import parse
from voltbus_backbone.bus.replies import ReplyAddresses, reply_topics
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import Refusal, RefusalReason, Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus.envelope import Event, Headers, Record


PARTITIONS = 12


@dataclass(frozen=True)
class MemoryRecord:
    """A stored record, shaped as a Kafka consumer would hand it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def event(self) -> Event:
        """The record as an Event, decoded."""
        event = parse(
            self.headers,
            self.value,
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            key=self.key,
        )
        if event.data is not None:
            event.decode()
        return event


class MemoryBus:
    """Topics as lists. One partition per topic, except where a record names its own.

    ``broken`` makes every publish fail, ``stalled`` makes it hang until it is false again: Kafka
    away, seen from a producer. What is for a partition of an ``absent`` topic (by its whole name)
    is refused, as is a record of more than ``largest`` bytes.
    """

    def __init__(self, prefix: str = "voltbus.") -> None:
        self.prefix = prefix
        self.logs: dict[tuple[str, int], list[MemoryRecord]] = {}
        self.broken = False
        self.absent: set[str] = set()
        self.largest = RECORD_BYTES
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._changed = asyncio.Condition()
        self._tasks: dict[asyncio.Task[None], float] = {}  # since when it is stored

    @property
    def stalled(self) -> bool:
        """Whether publishing hangs."""
        return not self._flowing.is_set()

    @stalled.setter
    def stalled(self, value: bool) -> None:
        if value:
            self._flowing.clear()
        else:
            self._flowing.set()

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Store records; see Publishing."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._start(list(records), future)
        return future

    def post(self, record: Record) -> None:
        """Store one record without telling."""
        self._start([record], None)

    def pending_s(self) -> float:
        """How long the oldest publish has been hanging."""
        now = time.monotonic()
        return max((now - since for since in self._tasks.values()), default=0.0)

    async def partition_counts(self) -> dict[str, int]:
        """As many as anybody needs, of every topic of the contract."""
        return {self.prefix + topic: PARTITIONS for topic in Topic}

    def addresses(self) -> ReplyAddresses:
        """Where replies may go on this bus: to our inboxes."""
        return ReplyAddresses(reply_topics(self.prefix, None), self.partition_counts)

    def records(self, topic: str) -> list[MemoryRecord]:
        """Everything stored on a topic so far."""
        name = self._name(topic)
        return [
            record
            for (log_topic, _), log in sorted(self.logs.items())
            if log_topic == name
            for record in log
        ]

    def events(self, topic: str) -> list[Event]:
        """The same, as decoded events."""
        return [record.event() for record in self.records(topic)]

    async def wait_for(
        self, topic: str, condition: Callable[[Event], bool], deadline_s: float = 5.0
    ) -> Event:
        """The first event on a topic that fulfils a condition, now or soon."""

        def find() -> Event | None:
            return next((event for event in self.events(topic) if condition(event)), None)

        async with asyncio.timeout(deadline_s), self._changed:
            await self._changed.wait_for(lambda: find() is not None)
        found = find()
        assert found is not None  # noqa: S101 - the condition just held
        return found

    async def wait_for_records(self, topic: str, count: int, deadline_s: float = 30.0) -> None:
        """Wait until a topic has so many records, readable or not."""
        async with asyncio.timeout(deadline_s):
            await self.changed(lambda: len(self.records(topic)) >= count)

    def inbox(self, topic: str, partition: int) -> MemoryInbox:
        """A reader of one partition, from its end."""
        return MemoryInbox(self, topic, partition)

    async def serve(
        self, topic: str, handle: Callable[[Event], Awaitable[Sequence[Record]]]
    ) -> None:
        """Play a service: hand each record of a topic to ``handle``, store what it returns."""
        name = self._name(topic)
        seen = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self.records(name)) > seen)  # noqa: B023 - evaluated at once
                fresh = self.records(name)[seen:]
            seen += len(fresh)
            for record in fresh:
                outgoing = await handle(record.event())
                if outgoing:
                    await self.publish(outgoing)

    async def changed(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the logs holds."""
        async with self._changed:
            await self._changed.wait_for(condition)

    def _name(self, topic: str) -> str:
        return topic if topic.startswith(self.prefix) else self.prefix + topic

    def _start(self, records: list[Record], future: asyncio.Future[None] | None) -> None:
        task = asyncio.get_running_loop().create_task(self._store(records, future))
        self._tasks[task] = time.monotonic()
        task.add_done_callback(self._tasks.pop)

    async def _store(self, records: list[Record], future: asyncio.Future[None] | None) -> None:
        await self._flowing.wait()
        if self.broken:
            if future is not None and not future.done():
                future.set_exception(Unavailable("the memory bus is broken on purpose"))
            return
        refusals: list[Refusal] = []
        async with self._changed:
            for record in records:
                place = (self._name(record.topic), record.partition or 0)
                refusal = self._refusal(record, place)
                if refusal is not None:
                    refusals.append(refusal)
                    continue
                log = self.logs.setdefault(place, [])
                log.append(
                    MemoryRecord(*place, len(log), record.key, record.value, list(record.headers))
                )
            self._changed.notify_all()
        if future is None or future.done():
            return
        if refusals:
            future.set_exception(Refused(refusals))
        else:
            future.set_result(None)

    def _refusal(self, record: Record, place: tuple[str, int]) -> Refusal | None:
        size = record_bytes(record.key, record.value, record.headers)
        if size > self.largest:
            detail = f"a record takes {size} bytes, {self.largest} are allowed"
            return Refusal(record, RefusalReason.TOO_LARGE, detail)
        if place[1] < 0 or (record.partition is not None and place[0] in self.absent):
            return Refusal(record, RefusalReason.UNDELIVERABLE, "the topic has no such partition")
        return None


class MemoryInbox:
    """One partition of a MemoryBus, read from its end."""

    def __init__(self, bus: MemoryBus, topic: str, partition: int) -> None:
        self._bus = bus
        self._place = (topic if topic.startswith(bus.prefix) else bus.prefix + topic, partition)
        self._next: int | None = None

    async def start(self) -> None:
        """Be at the end; started again, where reading stopped."""
        if self._next is None:
            self._next = len(self._log())

    async def take(self) -> list[Any]:
        """What has come."""
        at = self._next or 0
        await self._bus.changed(lambda: len(self._log()) > at)
        fresh = self._log()[at:]
        self._next = at + len(fresh)
        return list(fresh)

    def silent_s(self) -> float:
        """It answers always."""
        return 0.0

    async def stop(self) -> None:
        """Nothing to release."""

    def _log(self) -> list[MemoryRecord]:
        return self._bus.logs.get(self._place, [])


class MemoryConsumer:
    """A group with one member on a MemoryBus: reads from the last commit, as after a restart."""

    def __init__(self, bus: MemoryBus, committed: dict[tuple[str, int], int] | None = None) -> None:
        self._bus = bus
        self.committed = committed if committed is not None else {}
        self._position: dict[tuple[str, int], int] = {}
        self._names: list[str] = []
        self._joined = False

    async def start(
        self, wanted: Sequence[str], before_revoke: Callable[[], Awaitable[None]]
    ) -> None:
        """Join; nothing is ever revoked here."""
        del before_revoke
        self._names = [self._bus.prefix + topic for topic in wanted]
        self._position = dict(self.committed)
        self._joined = True

    async def take(self, most: int) -> list[Any]:
        """The next records, or none after a moment."""
        try:
            async with asyncio.timeout(0.05):
                await self._bus.changed(lambda: bool(self._fresh(1)))
        except TimeoutError:
            return []
        fresh = self._fresh(most)
        for record in fresh:
            self._position[record.topic, record.partition] = record.offset + 1
        return list(fresh)

    async def commit(self, offsets: dict[tuple[str, int], int]) -> bool:
        """Remember."""
        self.committed.update(offsets)
        return True

    def silent_s(self) -> float:
        """It answers always."""
        return 0.0

    def assigned(self) -> bool:
        """Whether we joined."""
        return self._joined

    async def stop(self) -> None:
        """Leave."""
        self._joined = False

    def _fresh(self, most: int) -> list[MemoryRecord]:
        result: list[MemoryRecord] = []
        for place, log in self._bus.logs.items():
            if place[0] in self._names:
                result.extend(log[self._position.get(place, 0) :])
        return result[:most]
