"""Reading Kafka: as a member of a group, or as an instance's inbox."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from voltbus_backbone.bus.kafka.batches import Allowance, install
from voltbus_backbone.bus.kafka.client import client_options, disconnect
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.settings import KafkaSettings

log = structlog.get_logger(__name__)

POLL_MS = 200
# How long the broker may hold a fetch back while there is nothing. aiokafka leaves a partition out
# of a fetch as long as it has records of it in hand; what comes to it then waits for the fetch to
# end. Where nobody waits, five times fewer empty fetches are worth that.
_AWAITED_MS = 100
_FOLLOWING_MS = 500
# No fetch answered for so long, while we wait for one: another consumer may do better.
_DEAF_S = 60.0

install()


class _Revoked(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        self._before = before

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if revoked:
            await self._before()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        log.debug("kafka.assigned", partitions=len(assigned))


Offsets = dict[tuple[str, int], int]


class Reading:
    """A consumer of aiokafka, what one take of it may unpack, and whether it is deaf.

    Raises:
        Unavailable: from ``take``, when no fetch was answered for a minute.
    """

    def __init__(self, *topics: str, **options: Any) -> None:
        self._allowance = Allowance()
        self.consumer = AIOKafkaConsumer(
            *topics, **options, value_deserializer=self._allowance, enable_auto_commit=False
        )
        self._answers: dict[TopicPartition, tuple[int | None, float]] = {}

    async def take(
        self, *partitions: TopicPartition, most: int | None = None
    ) -> dict[TopicPartition, list[Any]]:
        """What has come, by partition; empty after a short wait."""
        self._allowance.renew()
        try:
            found = await self.consumer.getmany(*partitions, timeout_ms=POLL_MS, max_records=most)
        except KafkaError as error:
            log.warning("kafka.fetch.failed", error=type(error).__name__)
            found = {}
        if not found and self.silent_s() > _DEAF_S:
            raise Unavailable("Kafka has answered no fetch for a minute")
        return found  # type: ignore[no-any-return]  # aiokafka publishes no types

    def silent_s(self) -> float:
        """How long no fetch was answered of the partition that waits longest.

        A partition of which records are in hand is not fetched, so this is only worth something
        while takes are made and find nothing. aiokafka notes answers by the wall clock, which may
        jump: we note when its note changed.
        """
        now = time.monotonic()
        answers: dict[TopicPartition, tuple[int | None, float]] = {}
        for partition in self.consumer.assignment():
            noted = self.consumer.last_poll_timestamp(partition)
            before = self._answers.get(partition)
            answers[partition] = before if before and before[0] == noted else (noted, now)
        self._answers = answers
        return now - min((since for _, since in answers.values()), default=now)


class GroupConsumer:
    """A member of a consumer group that commits what its owner says is done."""

    def __init__(
        self, settings: KafkaSettings, prefix: str, group: str, *, awaited: bool = True
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._group = group
        self._max_wait_ms = _AWAITED_MS if awaited else _FOLLOWING_MS
        self._reading: Reading | None = None
        self._empty = True  # the last take found nothing

    async def start(
        self, wanted: Sequence[str], before_revoke: Callable[[], Awaitable[None]]
    ) -> None:
        """Join the group; ``before_revoke`` finishes and commits before partitions move away."""
        reading = Reading(
            **client_options(self._settings),
            group_id=self._prefix + self._group,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_000,
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=self._max_wait_ms,
            rebalance_timeout_ms=20_000,
        )
        reading.consumer.subscribe(
            [self._prefix + topic for topic in wanted], listener=_Revoked(before_revoke)
        )
        try:
            await reading.consumer.start()
        except KafkaError as error:
            await disconnect(reading.consumer.stop())
            raise Unavailable(f"Kafka does not answer at {self._settings.bootstrap}") from error
        self._reading = reading

    async def take(self, most: int) -> list[Any]:
        """The next records of all partitions, in order per partition; empty after a short wait."""
        assert self._reading is not None  # noqa: S101 - start() comes first
        found = await self._reading.take(most=most)
        self._empty = not found
        return [record for records in found.values() for record in records]

    async def commit(self, offsets: Offsets) -> bool:
        """Commit; False when that failed, which is logged: the records may be handled again."""
        if not offsets or self._reading is None:
            return True
        assigned = self._reading.consumer.assignment()
        wanted = {
            TopicPartition(topic, partition): offset
            for (topic, partition), offset in offsets.items()
            if TopicPartition(topic, partition) in assigned
        }
        if not wanted:
            return True
        try:
            await self._reading.consumer.commit(wanted)
        except KafkaError as error:
            log.warning("kafka.commit.failed", error=type(error).__name__)
            return False
        return True

    def assigned(self) -> bool:
        """Whether the group gave us partitions, or has been joined at all."""
        return self._reading is not None and bool(self._reading.consumer.assignment())

    def silent_s(self) -> float:
        """How long no fetch was answered; 0 while takes find something."""
        return self._reading.silent_s() if self._reading is not None and self._empty else 0.0

    async def stop(self) -> None:
        """Leave the group."""
        if self._reading is not None:
            reading, self._reading = self._reading, None
            await disconnect(reading.consumer.stop())


class PartitionReader:
    """Reads one partition from its end, without a group: an instance's inbox."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._settings = settings
        self._tp = TopicPartition(topic, partition)
        self._reading: Reading | None = None
        self._next: int | None = None

    async def start(self) -> None:
        """Assign, and be in position before this returns, so that no reply can be missed.

        That is the end; started again, it is where reading stopped.
        """
        reading = Reading(
            **client_options(self._settings), auto_offset_reset="latest", fetch_max_wait_ms=100
        )
        consumer = reading.consumer
        try:
            await consumer.start()
            consumer.assign([self._tp])
            if self._next is None:
                await consumer.seek_to_end(self._tp)
            else:
                consumer.seek(self._tp, self._next)
            self._next = await consumer.position(self._tp)
        except KafkaError as error:
            await disconnect(consumer.stop())
            raise Unavailable(f"the inbox {self._tp.topic} cannot be read") from error
        self._reading = reading

    async def take(self) -> list[Any]:
        """What has come; empty after a short wait."""
        assert self._reading is not None  # noqa: S101 - start() comes first
        found = (await self._reading.take(self._tp)).get(self._tp, [])
        if found:
            self._next = getattr(found[-1], "last_offset", found[-1].offset) + 1
        return found

    def silent_s(self) -> float:
        """How long no fetch was answered."""
        return self._reading.silent_s() if self._reading is not None else 0.0

    async def stop(self) -> None:
        """Disconnect."""
        if self._reading is not None:
            reading, self._reading = self._reading, None
            await disconnect(reading.consumer.stop())
