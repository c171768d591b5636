"""Reading Kafka as an onlooker: without a group, and nothing is committed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from voltbus_backbone.bus.envelope import Event, parse_record
from voltbus_backbone.bus.kafka.client import client_options, disconnect
from voltbus_backbone.bus.kafka.consumers import Reading
from voltbus_backbone.errors import InvalidRecord, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from voltbus_backbone.settings import KafkaSettings


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
        self._reading: Reading | None = None

    async def __aenter__(self) -> Self:
        """Be in position before this returns: what is published afterwards is seen."""
        # Without a group id the consumer takes every partition of its topics by itself.
        reading = Reading(
            *self._names,
            **client_options(self._settings),
            auto_offset_reset=self._reset,
            fetch_max_wait_ms=100,
        )
        consumer = reading.consumer
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
        self._reading = reading
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        if self._reading is not None:
            await disconnect(self._reading.consumer.stop())

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Every CloudEvent as it comes; records that are none are passed over."""
        async for record in self.records():
            event = event_of(record)
            if event is not None:
                yield event

    async def records(self) -> AsyncIterator[Any]:
        """Every record as it comes, CloudEvent or not, readable or not.

        Raises:
            Unavailable: Kafka has answered no fetch for a minute.
        """
        assert self._reading is not None  # noqa: S101 - __aenter__ comes first
        while True:
            for records in (await self._reading.take()).values():
                for record in records:
                    yield record


async def read_all(settings: KafkaSettings, topic: str) -> list[Any]:
    """Every record that a topic (with its prefix) holds now, in the order of their times."""
    async with _reader(settings, topic) as reading:
        consumer = reading.consumer
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                found.extend((await reading.take(partition)).get(partition, []))
    return sorted(found, key=lambda record: record.timestamp)


async def read_one(settings: KafkaSettings, topic: str, partition: int, offset: int) -> Any | None:
    """The record at a place, or None when the topic does not keep it any more."""
    async with _reader(settings, topic) as reading:
        consumer = reading.consumer
        place = TopicPartition(topic, partition)
        first = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if not first <= offset < end:
            return None
        consumer.seek(place, offset)
        record = await consumer.getone(place)
    return record if record.offset == offset else None


@asynccontextmanager
async def _reader(settings: KafkaSettings, topic: str) -> AsyncIterator[Reading]:
    reading = Reading(topic, **client_options(settings), auto_offset_reset="earliest")
    try:
        await reading.consumer.start()
        yield reading
    except KafkaError as error:
        raise Unavailable(
            f"Kafka does not answer at {settings.bootstrap}, or has no topic {topic}"
        ) from error
    finally:
        await disconnect(reading.consumer.stop())


def event_of(record: Any) -> Event | None:
    """A consumed record as an Event, or None where it is no CloudEvent."""
    try:
        return parse_record(record)
    except InvalidRecord:
        return None
