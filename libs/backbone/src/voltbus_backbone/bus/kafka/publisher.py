"""Producing in order, batched by what comes while the last batch is on its way.

``Publisher`` keeps one produce in flight per partition and gathers what comes meanwhile into the
next: small batches when it is quiet, large ones under load, never a wait per message.

A record that Kafka can never store is refused alone (``Refused``): it is measured before it gets
into a batch, and when the broker refuses a batch, its records go singly until the one at fault is
found. Its neighbours, its partition and all others go on (docs/adr/0011-edges.md).
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from voltbus_backbone.bus.kafka.client import disconnect
from voltbus_backbone.bus.kafka.lanes import Entry, Lane, Waiter, refuse
from voltbus_backbone.bus.kafka.producer import ProduceFailed, Producers
from voltbus_backbone.bus.kafka.verdicts import Verdict, is_legal_topic, verdict_of
from voltbus_backbone.errors import RefusalReason, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.errors import VoltbusError
    from voltbus_backbone.settings import KafkaSettings

log = structlog.get_logger(__name__)

_MOST_TRIES = 2  # of a batch that fails for no fault of its records
_MISSING_S = 10.0  # a topic that was not there is not looked for again so soon
_UNRESOLVED = -1
_COUNTS_S = 5.0  # for what the brokers know of their topics


@lru_cache(maxsize=262_144)
def _hash(key: bytes) -> int:
    # Kafka's own default partitioning, so that other producers agree; cached: it is pure Python.
    return int(murmur2(key)) & 0x7FFFFFFF


class Publisher:
    """Produces records with acks=all and idempotence, in order per partition."""

    def __init__(self, settings: KafkaSettings, prefix: str) -> None:
        self._prefix = prefix
        self._producers = Producers(settings)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._dirty: set[Lane] = set()
        self._flushing = False
        self._partitions: dict[str, int] = {}
        self._missing: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: no broker answers.
        """
        await self._producers.start()

    async def stop(self) -> None:
        """Send what waits, then disconnect."""
        self._producers.stop_renewing()
        await disconnect(self._leave())
        self._producers.forget()

    async def _leave(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._producers.stop()

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Queue records now; the future is done once Kafka has them all.

        The future fails with Unavailable when Kafka did not answer in time: some of the records may
        then be stored all the same, so whoever repeats them needs stable ids. It fails with Refused
        when some can never be stored: these are named, and all the others are stored.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not records:
            future.set_result(None)
            return future
        waiter = Waiter(future, len(records))
        for record in records:
            self._queue((record, waiter))
        return future

    def post(self, record: Record) -> None:
        """Queue one record whose loss its sender would notice by other means (a request)."""
        self._queue((record, None))

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
            found = await self._producers.current().producer.partitions_for(name)
        except KafkaError as error:
            if verdict_of(error) is Verdict.NO_TOPIC:
                self._missing[name] = time.monotonic() + _MISSING_S
            raise Unavailable(f"topic {name} is not there: run 'voltbus topics'") from error
        self._missing.pop(name, None)
        self._partitions[name] = len(found)
        return len(found)

    async def partition_counts(self) -> dict[str, int]:
        """The number of partitions of every topic that is there now, by its full name.

        Raises:
            Unavailable: no broker answers.
        """
        client = self._producers.current().producer.client
        try:
            async with asyncio.timeout(_COUNTS_S):
                cluster = await client.fetch_all_metadata()
        except (KafkaError, TimeoutError) as error:
            raise Unavailable("Kafka does not say which topics there are") from error
        return {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}

    def _name(self, topic: str) -> str:
        return topic if topic.startswith(self._prefix) else self._prefix + topic

    # Queueing.

    def _queue(self, entry: Entry) -> None:
        record = entry[0]
        name = self._name(record.topic)
        count = self._partitions.get(name, 0)
        partition = record.partition
        if count == 0:
            partition = _UNRESOLVED
        elif partition is None:
            partition = _hash(record.key or b"") % count
        elif not 0 <= partition < count:
            partition = _UNRESOLVED  # the topic may have grown since it was looked at
        lane = self._lanes.get((name, partition))
        if lane is None:
            lane = self._lanes[name, partition] = Lane(name, partition)
        lane.waiting.append(entry)
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

    async def _drain(self, lane: Lane) -> None:
        try:
            while lane.waiting:
                if lane.partition == _UNRESOLVED:
                    await self._resolve(lane)
                else:
                    await self._produce(lane)
        finally:
            lane.busy = False
            lane.since = None

    # The first records of a topic, and those for a partition that it does not seem to have.

    async def _resolve(self, lane: Lane) -> None:
        """Wait for the topic's number of partitions; refuse what it has no place for."""
        name = lane.topic
        if not is_legal_topic(name):
            self._refuse_all(lane, "no topic may have this name")
            return
        try:
            if self._missing.get(name, 0.0) > time.monotonic():
                raise Unavailable(f"topic {name} is not there: run 'voltbus topics'")  # noqa: TRY301 - as learn() says it
            count = await self.learn(name)
        except Unavailable as error:
            waiting = list(lane.waiting)
            lane.waiting.clear()
            for entry in waiting:
                self._not_there(entry, error, missing=name in self._missing)
            return
        waiting = list(lane.waiting)
        lane.waiting.clear()
        for entry in waiting:
            partition = entry[0].partition
            if partition is None or 0 <= partition < count:
                self._queue(entry)
            else:
                refuse(entry, RefusalReason.UNDELIVERABLE, "the topic has no such partition")

    @staticmethod
    def _refuse_all(lane: Lane, detail: str) -> None:
        while lane.waiting:
            refuse(lane.waiting.popleft(), RefusalReason.UNDELIVERABLE, detail)

    @staticmethod
    def _not_there(entry: Entry, error: VoltbusError, *, missing: bool) -> None:
        """No topic: an address that somebody gave us is wrong, one of our own is the operator's.

        A record with a partition of its own is for one reader, who named the topic. The others are
        for topics of ours, and are wanted once somebody creates these.
        """
        if missing and entry[0].partition is not None:
            refuse(entry, RefusalReason.UNDELIVERABLE, "the topic is not there or not for us")
        elif entry[1] is not None:
            entry[1].failed(error)

    # Producing.

    async def _produce(self, lane: Lane) -> None:
        try:
            generation = self._producers.current()
        except Unavailable as error:
            _fail(lane.waiting, error)
            lane.waiting.clear()
            return
        batch, taken = lane.fill(generation.create_batch)
        if not taken:
            return
        size = batch.size()
        lane.since = time.monotonic()
        try:
            await generation.store(batch, lane.topic, lane.partition)
        except ProduceFailed as failure:
            log.warning("kafka.produce.failed", topic=lane.topic, error=str(failure))
            verdict = verdict_of(failure.cause)
            self._judge(lane, taken, size, verdict, str(failure))
            if failure.numbered or verdict is not Verdict.NO_TOPIC:
                await self._producers.renew(generation)
        else:
            lane.settled(taken)
            for _, waiter in taken:
                if waiter is not None:
                    waiter.stored()
        finally:
            lane.since = None

    def _judge(
        self, lane: Lane, taken: list[Entry], size: int, verdict: Verdict, cause: str
    ) -> None:
        """What becomes of the records of a batch that was not stored."""
        error = Unavailable(f"Kafka did not store: {cause}")
        if verdict is Verdict.NO_TOPIC:
            lane.settled(taken)
            for entry in taken:
                self._not_there(entry, error, missing=True)
        elif verdict is Verdict.NOT_NOW:
            lane.tries += 1
            if lane.tries < _MOST_TRIES:
                lane.put_back(taken)
            else:
                lane.settled(taken)
                _fail(taken, error)
        elif len(taken) > 1:
            lane.isolate(taken)
            if verdict is Verdict.TOO_LARGE:
                lane.shrink(size)
        else:
            lane.settled(taken)
            reason = (
                RefusalReason.TOO_LARGE if verdict is Verdict.TOO_LARGE else RefusalReason.MALFORMED
            )
            refuse(taken[0], reason, f"the broker refused a record of {size} bytes: {cause}")


def _fail(entries: Iterable[Entry], error: VoltbusError) -> None:
    for _, waiter in entries:
        if waiter is not None:
            waiter.failed(error)
