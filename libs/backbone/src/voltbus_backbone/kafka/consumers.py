"""Reading Kafka: as a member of a group, as an instance's inbox, or as an onlooker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from voltbus_backbone.envelope import Event, parse
from voltbus_backbone.errors import InvalidRecord, Unavailable
from voltbus_backbone.kafka.client import client_options, disconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from voltbus_backbone.settings import KafkaSettings

log = structlog.get_logger(__name__)

POLL_MS = 200
# How long the broker may hold a fetch back while there is nothing. aiokafka leaves a partition out
# of a fetch as long as it has records of it in hand; what comes to it then waits for the fetch to
# end. Where nobody waits, five times fewer empty fetches are worth that.
_AWAITED_MS = 100
_FOLLOWING_MS = 500


class _Revoked(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        self._before = before

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if revoked:
            await self._before()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        log.debug("kafka.assigned", partitions=len(assigned))


Offsets = dict[tuple[str, int], int]


class GroupConsumer:
    """A member of a consumer group that commits what its owner says is done."""

    def __init__(
        self, settings: KafkaSettings, prefix: str, group: str, *, awaited: bool = True
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._group = group
        self._max_wait_ms = _AWAITED_MS if awaited else _FOLLOWING_MS
        self._consumer: AIOKafkaConsumer | None = None

    async def start(
        self, wanted: Sequence[str], before_revoke: Callable[[], Awaitable[None]]
    ) -> None:
        """Join the group; ``before_revoke`` finishes and commits before partitions move away."""
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            group_id=self._prefix + self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_000,
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=self._max_wait_ms,
            rebalance_timeout_ms=20_000,
        )
        consumer.subscribe(
            [self._prefix + topic for topic in wanted], listener=_Revoked(before_revoke)
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await disconnect(consumer.stop())
            raise Unavailable(f"Kafka does not answer at {self._settings.bootstrap}") from error
        self._consumer = consumer

    async def take(self, most: int) -> list[Any]:
        """The next records of all partitions, in order per partition; empty after a short wait."""
        assert self._consumer is not None  # noqa: S101 - start() comes first
        try:
            found = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=most)
        except KafkaError as error:
            log.warning("kafka.fetch.failed", error=type(error).__name__)
            return []
        return [record for records in found.values() for record in records]

    async def commit(self, offsets: Offsets) -> None:
        """Commit; a failure is only logged, since the records would merely be handled again."""
        if not offsets or self._consumer is None:
            return
        assigned = self._consumer.assignment()
        wanted = {
            TopicPartition(topic, partition): offset
            for (topic, partition), offset in offsets.items()
            if TopicPartition(topic, partition) in assigned
        }
        if not wanted:
            return
        try:
            await self._consumer.commit(wanted)
        except KafkaError as error:
            log.warning("kafka.commit.failed", error=type(error).__name__)

    def assigned(self) -> bool:
        """Whether the group gave us partitions, or has been joined at all."""
        return self._consumer is not None and bool(self._consumer.assignment())

    async def stop(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await disconnect(self._consumer.stop())


class PartitionReader:
    """Reads one partition from its end, without a group: an instance's inbox."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._settings = settings
        self._tp = TopicPartition(topic, partition)
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Assign, and be at the end before this returns, so that no reply can be missed."""
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            consumer.assign([self._tp])
            await consumer.seek_to_end(self._tp)
            await consumer.position(self._tp)
        except KafkaError as error:
            await disconnect(consumer.stop())
            raise Unavailable(f"the inbox {self._tp.topic} cannot be read") from error
        self._consumer = consumer

    async def take(self) -> list[Any]:
        """What has come; empty after a short wait."""
        assert self._consumer is not None  # noqa: S101 - start() comes first
        try:
            found = await self._consumer.getmany(self._tp, timeout_ms=POLL_MS)
        except KafkaError as error:
            log.warning("kafka.inbox.failed", error=type(error).__name__)
            return []
        return found.get(self._tp, [])  # type: ignore[no-any-return]  # aiokafka publishes no types

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await disconnect(self._consumer.stop())


class Tail:
    """Follows topics as an onlooker: no group, nothing committed."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics_: Sequence[str],
        *,
        prefix: str = "voltbus.",
        from_beginning: bool = False,
    ) -> None:
        self._settings = settings
        self._names = [prefix + topic for topic in topics_]
        self._reset = "earliest" if from_beginning else "latest"
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        """Be in position before this returns: what is published afterwards is seen."""
        # Without a group id the consumer takes every partition of its topics by itself.
        consumer = AIOKafkaConsumer(
            *self._names,
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset=self._reset,
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            everything = consumer.assignment()
            if self._reset == "latest":
                await consumer.seek_to_end(*everything)
            else:
                await consumer.seek_to_beginning(*everything)
            for partition in everything:
                await consumer.position(partition)
        except (KafkaError, AssertionError) as error:
            await disconnect(consumer.stop())
            raise Unavailable(
                f"Kafka does not answer at {self._settings.bootstrap}, or has no Voltbus topics"
            ) from error
        self._consumer = consumer
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await disconnect(self._consumer.stop())

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Every CloudEvent as it comes; records that are none are passed over."""
        async for record in self.records():
            event = event_of(record)
            if event is not None:
                yield event

    async def records(self) -> AsyncIterator[Any]:
        """Every record as it comes, CloudEvent or not."""
        assert self._consumer is not None  # noqa: S101 - __aenter__ comes first
        async for record in self._consumer:
            yield record


async def read_all(settings: KafkaSettings, topic: str) -> list[Any]:
    """Every record that a topic (with its prefix) holds now, in the order of their times."""
    async with _reader(settings, topic) as consumer:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                got = await consumer.getmany(partition, timeout_ms=POLL_MS)
                found.extend(got.get(partition, []))
    return sorted(found, key=lambda record: record.timestamp)


async def read_one(settings: KafkaSettings, topic: str, partition: int, offset: int) -> Any | None:
    """The record at a place, or None when the topic does not keep it any more."""
    async with _reader(settings, topic) as consumer:
        place = TopicPartition(topic, partition)
        first = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if not first <= offset < end:
            return None
        consumer.seek(place, offset)
        record = await consumer.getone(place)
    return record if record.offset == offset else None


@asynccontextmanager
async def _reader(settings: KafkaSettings, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic, **client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        yield consumer
    except KafkaError as error:
        raise Unavailable(
            f"Kafka does not answer at {settings.bootstrap}, or has no topic {topic}"
        ) from error
    finally:
        await disconnect(consumer.stop())


def event_of(record: Any) -> Event | None:
    """A consumed record as an Event, or None where it is no CloudEvent."""
    try:
        return parse(
            record.headers,
            record.value,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
        )
    except InvalidRecord:
        return None
