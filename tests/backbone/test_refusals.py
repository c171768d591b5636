"""What Kafka can never store is refused alone: neighbours, partition and producer go on."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from voltbus_backbone.bounds import RECORD_BYTES, TOPIC_MESSAGE_BYTES, record_bytes
from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.kafka import Publisher, read_all
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import RefusalReason, Refused, Unavailable
from voltbus_backbone.observability import REFUSED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.settings import KafkaSettings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DEADLINE_S = 120.0
SOON_S = 30.0  # seconds on a busy machine; what went wrong took minutes


def record(mark: str, size: int = 10, *, topic: str = Topic.STATIONS_EVENTS) -> Record:
    """A record under one key, and so in one partition, that its mark names."""
    return Record(topic, b"one-partition", b"x" * size, [("x-mark", mark.encode())])


@pytest_asyncio.fixture(loop_scope="session")
async def memory() -> MemoryBus:
    """The memory bus, empty."""
    return MemoryBus()


@asynccontextmanager
async def publishing(settings: KafkaSettings, prefix: str) -> AsyncIterator[Publisher]:
    """A publisher on the real broker."""
    publisher = Publisher(settings, prefix)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def known(publisher: Publisher, *topics: str) -> None:
    """Wait until the broker shows these topics."""
    async with asyncio.timeout(DEADLINE_S):
        for topic in topics:
            while True:
                with contextlib.suppress(Unavailable):
                    await publisher.learn(topic)
                    break


@pytest_asyncio.fixture(loop_scope="session")
async def kafka(kafka_settings: KafkaSettings, topic_prefix: str) -> AsyncIterator[Publisher]:
    """The same, which knows the topics: they may have been made a moment ago."""
    async with publishing(kafka_settings, topic_prefix) as publisher:
        await known(publisher, Topic.STATIONS_EVENTS, Topic.CONFIG_INBOX)
        yield publisher


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.stack)])
def publisher(request: pytest.FixtureRequest) -> Publishing:
    """Both buses in turn."""
    return cast("Publishing", request.getfixturevalue(request.param))


@pytest.fixture
def mark() -> str:
    """What only this test's records carry."""
    return secrets.token_hex(6)


async def marks_of(settings: KafkaSettings, prefix: str, topic: str, mark: str) -> list[str]:
    """The marks on a topic that begin with this one, in their order."""
    found = [
        content.decode()
        for stored in await read_all(settings, prefix + topic)
        for name, content in stored.headers
        if name == "x-mark"
    ]
    return [text for text in found if text.startswith(mark)]


async def test_a_record_too_large_is_refused_and_named_while_its_neighbours_are_stored(
    publisher: Publishing, mark: str
) -> None:
    """Of one publish() the oversized records are given back, and the others have been stored."""
    big = [record(f"{mark}/big-{number}", RECORD_BYTES) for number in (1, 2)]
    async with asyncio.timeout(SOON_S):
        with pytest.raises(Refused) as caught:
            await publisher.publish(
                [record(f"{mark}/a"), big[0], record(f"{mark}/b"), big[1], record(f"{mark}/c")]
            )
    assert [refusal.record for refusal in caught.value.refusals] == big
    assert {refusal.reason for refusal in caught.value.refusals} == {RefusalReason.TOO_LARGE}
    assert "xxx" not in str(caught.value)


async def test_a_bystander_on_the_same_partition_is_served_at_once(
    publisher: Publishing, mark: str
) -> None:
    """Before and after an oversized record, many publish() on its partition all come through."""
    async with asyncio.timeout(SOON_S):
        results = await asyncio.gather(
            *(publisher.publish([record(f"{mark}/{number}")]) for number in range(20)),
            publisher.publish([record(mark, 2 * RECORD_BYTES)]),
            *(publisher.publish([record(f"{mark}/{number}")]) for number in range(20, 40)),
            return_exceptions=True,
        )
        await publisher.publish([record(f"{mark}/after")])
    assert [type(result) for result in results if result is not None] == [Refused]


async def test_the_largest_record_that_is_allowed_is_stored(
    publisher: Publishing, mark: str
) -> None:
    """The bound is no estimate: a record of just this size goes through."""
    empty = record(mark, 0)
    room = RECORD_BYTES - record_bytes(empty.key, empty.value, empty.headers)
    await publisher.publish([record(mark, room)])


async def test_an_address_with_no_partition_is_refused(publisher: Publishing, mark: str) -> None:
    """A reply to partition -1 is given up, and whoever shares its publish() is served."""
    nowhere = Record(Topic.CONFIG_INBOX, None, b"{}", [("x-mark", mark.encode())], -1)
    async with asyncio.timeout(SOON_S):
        with pytest.raises(Refused) as caught:
            await publisher.publish([nowhere, record(mark)])
    assert [refusal.reason for refusal in caught.value.refusals] == [RefusalReason.UNDELIVERABLE]


@pytest.mark.stack
@pytest.mark.usefixtures("kafka")  # the topics are there
@pytest.mark.parametrize(
    ("topic", "partition"),
    [(Topic.CONFIG_INBOX, 9999), ("no topic!", 0), ("..", 0), ("nobody.made.this", 0)],
)
async def test_an_address_that_is_none_is_refused(
    kafka_settings: KafkaSettings, topic_prefix: str, topic: str, partition: int
) -> None:
    """A partition or topic that does not exist or cannot: undeliverable, for good."""
    quick = kafka_settings.model_copy(update={"request_timeout_s": 1.0})
    prefix = "" if topic in {"no topic!", ".."} else topic_prefix
    async with publishing(quick, prefix) as publisher, asyncio.timeout(SOON_S):
        with pytest.raises(Refused) as caught:
            await publisher.publish([Record(topic, None, b"{}", [], partition)])
    assert [refusal.reason for refusal in caught.value.refusals] == [RefusalReason.UNDELIVERABLE]


@pytest.mark.stack
async def test_a_topic_of_ours_that_nobody_made_yet_is_no_refusal(
    kafka_settings: KafkaSettings, mark: str
) -> None:
    """An operator makes the topics: until then nothing is given up (Unavailable)."""
    quick = kafka_settings.model_copy(update={"request_timeout_s": 1.0})
    async with publishing(quick, f"missing{mark}.") as publisher:
        with pytest.raises(Unavailable, match="voltbus topics"):
            await publisher.publish([record(mark)])


@pytest.mark.stack
async def test_what_kafka_cannot_write_is_refused_alone(kafka: Publisher, mark: str) -> None:
    """A header name that is no text cannot be encoded; its neighbours in the batch are stored."""
    bad = Record(Topic.STATIONS_EVENTS, b"one-partition", b"{}", [("\ud800", b"")])
    async with asyncio.timeout(SOON_S):
        with pytest.raises(Refused) as caught:
            await kafka.publish([record(f"{mark}/a"), bad, record(f"{mark}/b")])
    assert [refusal.reason for refusal in caught.value.refusals] == [RefusalReason.MALFORMED]


@pytest.mark.stack
async def test_order_holds_around_a_refusal(
    kafka_settings: KafkaSettings, topic_prefix: str, kafka: Publisher, mark: str
) -> None:
    """Records of one key stay in their order when one between them is refused."""
    wanted = [f"{mark}/{number:02}" for number in range(30)]
    records = [record(text) for text in wanted]
    records.insert(15, record(f"{mark}/big", RECORD_BYTES))
    with pytest.raises(Refused):
        await kafka.publish(records)
    assert await marks_of(kafka_settings, topic_prefix, Topic.STATIONS_EVENTS, mark) == wanted


@pytest_asyncio.fixture(loop_scope="session")
async def narrow(kafka_settings: KafkaSettings) -> str:
    """A prefix whose topic takes less than ours do, as another's broker may."""
    prefix = f"narrow{secrets.token_hex(3)}."
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    await admin.start()
    await admin.create_topics(
        [
            NewTopic(
                name=prefix + topic,
                num_partitions=1,
                replication_factor=1,
                topic_configs=config,
            )
            for topic, config in (
                (Topic.STATIONS_EVENTS, {"max.message.bytes": "50000"}),
                (Topic.AGREEMENTS_EVENTS, {"cleanup.policy": "compact"}),
            )
        ]
    )
    await admin.close()
    return prefix


@pytest.mark.stack
async def test_a_broker_that_takes_less_refuses_one_record_and_no_other(
    kafka_settings: KafkaSettings, narrow: str, mark: str
) -> None:
    """MESSAGE_TOO_LARGE for a batch: its records go singly, and a new producer numbers them."""
    wanted = [f"{mark}/{number:02}" for number in range(10)]
    records = [record(text, 30_000) for text in wanted]
    records.insert(4, record(f"{mark}/big", 200_000))
    async with publishing(kafka_settings, narrow) as publisher, asyncio.timeout(SOON_S):
        await known(publisher, Topic.STATIONS_EVENTS)
        with pytest.raises(Refused) as caught:
            await publisher.publish(records)
        await publisher.publish([record(f"{mark}/99")])
    assert [len(refusal.record.value or b"") for refusal in caught.value.refusals] == [200_000]
    stored = await marks_of(kafka_settings, narrow, Topic.STATIONS_EVENTS, mark)
    assert stored == [*wanted, f"{mark}/99"]


@pytest.mark.stack
async def test_a_record_that_the_broker_calls_invalid_is_refused_alone(
    kafka_settings: KafkaSettings, narrow: str, mark: str
) -> None:
    """INVALID_RECORD: a compacted topic takes none without a key; the others are stored."""
    topic = Topic.AGREEMENTS_EVENTS
    keyless = Record(topic, None, b"{}", [])
    async with publishing(kafka_settings, narrow) as publisher, asyncio.timeout(SOON_S):
        await known(publisher, topic)
        with pytest.raises(Refused) as caught:
            await publisher.publish(
                [record(f"{mark}/a", topic=topic), keyless, record(f"{mark}/b", topic=topic)]
            )
    assert [refusal.record for refusal in caught.value.refusals] == [keyless]
    assert caught.value.refusals[0].reason is RefusalReason.MALFORMED
    stored = await marks_of(kafka_settings, narrow, topic, mark)
    assert stored == [f"{mark}/a", f"{mark}/b"]


@pytest.mark.stack
async def test_a_producer_out_of_order_is_replaced(
    kafka_settings: KafkaSettings, topic_prefix: str, mark: str
) -> None:
    """OUT_OF_ORDER_SEQUENCE_NUMBER: the same records go with a new producer, within seconds."""
    async with publishing(kafka_settings, topic_prefix) as publisher, asyncio.timeout(SOON_S):
        await known(publisher, Topic.STATIONS_EVENTS)
        await publisher.publish([record(f"{mark}/1")])
        generation = publisher._producers.current()
        manager = generation.producer._txn_manager
        for place in list(manager._sequence_numbers):
            manager.increment_sequence_number(place, 7)
        await publisher.publish([record(f"{mark}/2")])
        assert publisher._producers.current() is not generation
    stored = await marks_of(kafka_settings, topic_prefix, Topic.STATIONS_EVENTS, mark)
    assert stored == [f"{mark}/1", f"{mark}/2"]


async def test_a_request_that_is_refused_is_counted(publisher: Publishing, mark: str) -> None:
    """post() has nobody to tell: the metric shows it, and the next record goes on."""
    publisher.post(record(mark, 2 * RECORD_BYTES))
    async with asyncio.timeout(SOON_S):
        await publisher.publish([record(f"{mark}/after")])


@pytest.mark.stack
async def test_refusals_are_counted_by_topic_and_reason(kafka: Publisher, mark: str) -> None:
    """voltbus_records_refused_total grows with each record that is given up."""
    counter = REFUSED.labels(Topic.STATIONS_EVENTS, RefusalReason.TOO_LARGE)
    before = counter._value.get()
    with pytest.raises(Refused):
        await kafka.publish([record(mark, 2 * RECORD_BYTES)])
    assert counter._value.get() == before + 1


def test_what_a_record_takes_is_never_estimated_too_low() -> None:
    """The bound for one record leaves the topic's limit room for a copy with further headers."""
    assert RECORD_BYTES + 16_384 <= TOPIC_MESSAGE_BYTES
    assert record_bytes(None, None, []) == 97
    assert record_bytes(b"k", b"vv", [("é", b"123")]) == 97 + 3 + 10 + 2 + 3
