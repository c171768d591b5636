"""Producing in order, batched by what comes while the last batch is on its way.

``Publisher`` keeps one produce in flight per partition and gathers what comes meanwhile into the
next: small batches when it is quiet, large ones under load, never a wait per message.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.kafka.client import client_options, disconnect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus_backbone.envelope import Record
    from voltbus_backbone.settings import KafkaSettings

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = 900_000
_RESTART_PAUSE_S = 0.5


@lru_cache(maxsize=262_144)
def _hash(key: bytes) -> int:
    # Kafka's own default partitioning, so that other producers agree; cached: it is pure Python.
    return int(murmur2(key)) & 0x7FFFFFFF


class _Waiter:
    """One publish() call: its future is done when the last of its records is stored."""

    __slots__ = ("future", "left")

    def __init__(self, future: asyncio.Future[None], left: int) -> None:
        self.future = future
        self.left = left

    def stored(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.future.done():
            self.future.set_result(None)

    def failed(self, error: Unavailable) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Lane:
    """One partition: what waits, and the produce in flight."""

    __slots__ = ("busy", "partition", "since", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[tuple[Record, _Waiter | None]] = deque()
        self.busy = False
        self.since: float | None = None


class Publisher:
    """Produces records with acks=all and idempotence, in order per partition."""

    def __init__(self, settings: KafkaSettings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._dirty: set[_Lane] = set()
        self._flushing = False
        self._partitions: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: no broker answers.
        """
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            max_batch_size=MAX_BATCH_BYTES,
            compression_type=self._settings.compression,
            linger_ms=0,
        )
        try:
            await producer.start()
        except KafkaError as error:
            await disconnect(producer.stop())
            raise Unavailable(f"Kafka does not answer at {self._settings.bootstrap}") from error
        self._producer = producer

    async def stop(self) -> None:
        """Send what waits, then disconnect."""
        await disconnect(self._leave())
        self._producer = None

    async def _leave(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._producer is not None:
            await self._producer.stop()

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Queue records now; the future is done once Kafka has them all.

        The future fails with Unavailable when Kafka refused or did not answer in time: some of the
        records may then be stored all the same, so whoever repeats them needs stable ids.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not records:
            future.set_result(None)
            return future
        waiter = _Waiter(future, len(records))
        for record in records:
            self._queue(record, waiter)
        return future

    def post(self, record: Record) -> None:
        """Queue one record whose loss its sender would notice by other means (a request)."""
        self._queue(record, None)

    def pending_s(self) -> float:
        """How long the oldest produce in flight has been waiting for its acknowledgement."""
        now = time.monotonic()
        return max((now - lane.since for lane in self._lanes.values() if lane.since), default=0.0)

    async def learn(self, topic: str) -> int:
        """Fetch a topic's number of partitions.

        Raises:
            Unavailable: the topic does not exist or no broker answers.
        """
        name = self._name(topic)
        try:
            found = await self._require().partitions_for(name)
        except KafkaError as error:
            raise Unavailable(f"topic {name} is not there: run 'voltbus topics'") from error
        self._partitions[name] = len(found)
        return len(found)

    async def partition_counts(self) -> dict[str, int]:
        """The number of partitions of every topic that is there now, by its full name.

        Raises:
            Unavailable: no broker answers.
        """
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                cluster = await self._require().client.fetch_all_metadata()
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka does not answer at {self._settings.bootstrap}") from error
        return {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}

    def _name(self, topic: str) -> str:
        return topic if topic.startswith(self._prefix) else self._prefix + topic

    def _require(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise Unavailable("the publisher is not connected")
        return self._producer

    def _queue(self, record: Record, waiter: _Waiter | None) -> None:
        name = self._name(record.topic)
        partition = record.partition
        if partition is None:
            count = self._partitions.get(name, 0)
            partition = -1 if count == 0 else _hash(record.key or b"") % count
        lane = self._lanes.get((name, partition))
        if lane is None:
            lane = self._lanes[name, partition] = _Lane(name, partition)
        lane.waiting.append((record, waiter))
        if not lane.busy:
            self._dirty.add(lane)
            if not self._flushing:
                self._flushing = True
                asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        for lane in self._dirty:
            if not lane.busy:
                lane.busy = True
                task = asyncio.get_running_loop().create_task(self._drain(lane))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._dirty.clear()

    async def _drain(self, lane: _Lane) -> None:
        try:
            if lane.partition < 0:
                await self._resolve(lane)
                return
            while lane.waiting:
                await self._produce(lane)
        finally:
            lane.busy = False
            lane.since = None

    async def _resolve(self, lane: _Lane) -> None:
        """The first records of a topic wait here until its number of partitions is known."""
        try:
            await self.learn(lane.topic)
        except Unavailable as error:
            self._fail([waiter for _, waiter in lane.waiting], error)
            lane.waiting.clear()
            return
        while lane.waiting:
            record, waiter = lane.waiting.popleft()
            self._queue(record, waiter)

    async def _produce(self, lane: _Lane) -> None:
        waiters: list[_Waiter | None] = []
        try:
            producer = self._require()
            builder = producer.create_batch()
            while lane.waiting:
                record, waiter = lane.waiting[0]
                # The first record is always taken, so an oversized one fails alone.
                if (
                    builder.append(
                        key=record.key, value=record.value, headers=record.headers, timestamp=None
                    )
                    is None
                ):
                    break
                lane.waiting.popleft()
                waiters.append(waiter)
            lane.since = time.monotonic()
            stored = await producer.send_batch(builder, lane.topic, partition=lane.partition)
            await stored
        except (KafkaError, Unavailable, AssertionError) as error:
            log.warning("kafka.produce.failed", topic=lane.topic, error=type(error).__name__)
            self._fail(waiters, Unavailable(f"Kafka did not store: {type(error).__name__}"))
            await self._mend()
        else:
            for waiter in waiters:
                if waiter is not None:
                    waiter.stored()
        finally:
            lane.since = None

    @staticmethod
    def _fail(waiters: Iterable[_Waiter | None], error: Unavailable) -> None:
        for waiter in waiters:
            if waiter is not None:
                waiter.failed(error)

    async def _mend(self) -> None:
        """A producer whose sender died (lost sequence after an outage) is replaced by a new one."""
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.get_running_loop().create_task(self._restart())
        await asyncio.shield(self._restarting)

    async def _restart(self) -> None:
        producer = self._producer
        await asyncio.sleep(_RESTART_PAUSE_S)
        if producer is None or not producer._sender.sender_task.done():  # noqa: SLF001 - the only place that tells a dead sender
            return
        self._producer = None
        try:
            await disconnect(producer.stop())
        except KafkaError:
            log.info("kafka.producer.stop.failed")
        try:
            await self.start()
        except Unavailable:
            self._producer = producer
        else:
            log.info("kafka.producer.restarted")
