"""What a bus must do: the same suite on the memory bus and on real Kafka."""

from __future__ import annotations

import abc
import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio

from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.consumption import Consumption, Loop
from voltbus_backbone.bus.kafka import GroupConsumer, PartitionReader, Publisher, Tail
from voltbus_backbone.bus.replies import ReplyAddresses, reply_topics
from voltbus_backbone.bus.rpc import Requester, inbox_partition
from voltbus_backbone.bus.testing import MemoryBus, MemoryConsumer
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import (
    Authorize,
    AuthorizeAnswer,
    Decision,
    Phase,
    TransactionAnswer,
    TransactionMessage,
)
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken, Protocol
from voltbus_backbone.errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.bus.ports import Consuming, Inbox, Publishing
    from voltbus_backbone.settings import KafkaSettings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DEADLINE_S = 60.0


class Bench(abc.ABC):
    """A bus under test, with what the tests need to look at it."""

    publisher: Publishing
    prefix: str

    @abc.abstractmethod
    def inbox(self, topic: str, partition: int) -> Inbox: ...

    @abc.abstractmethod
    def consumer(self, group: str) -> Consuming: ...

    @abc.abstractmethod
    def addresses(self) -> ReplyAddresses: ...

    @abc.abstractmethod
    async def seen(self, topic: Topic, condition: Callable[[list[Any]], bool]) -> list[Any]:
        """All records of a topic, once a condition on them holds."""


class MemoryBench(Bench):
    """The memory bus."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.publisher = self.bus
        self.prefix = self.bus.prefix
        self._committed: dict[str, dict[tuple[str, int], int]] = {}

    def inbox(self, topic: str, partition: int) -> Inbox:
        return self.bus.inbox(topic, partition)

    def consumer(self, group: str) -> Consuming:
        return MemoryConsumer(self.bus, self._committed.setdefault(group, {}))

    def addresses(self) -> ReplyAddresses:
        return self.bus.addresses()

    async def seen(self, topic: Topic, condition: Callable[[list[Any]], bool]) -> list[Any]:
        async with asyncio.timeout(DEADLINE_S):
            await self.bus.changed(lambda: condition(self.bus.records(topic)))
        return list(self.bus.records(topic))


class KafkaBench(Bench):
    """Real Kafka."""

    def __init__(self, settings: KafkaSettings, prefix: str, publisher: Publisher) -> None:
        self._settings = settings
        self.prefix = prefix
        self.publisher = self._kafka = publisher

    def inbox(self, topic: str, partition: int) -> Inbox:
        return PartitionReader(self._settings, topic, partition)

    def consumer(self, group: str) -> Consuming:
        return GroupConsumer(self._settings, self.prefix, group)

    def addresses(self) -> ReplyAddresses:
        return ReplyAddresses(reply_topics(self.prefix, None), self._kafka.partition_counts)

    async def seen(self, topic: Topic, condition: Callable[[list[Any]], bool]) -> list[Any]:
        found: list[Any] = []
        async with (
            asyncio.timeout(DEADLINE_S),
            Tail(self._settings, [topic], prefix=self.prefix, from_beginning=True) as tail,
        ):
            async for record in tail.records():
                found.append(record)
                if condition(found):
                    break
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def memory_bench() -> MemoryBench:
    """The memory bus, empty."""
    return MemoryBench()


@pytest_asyncio.fixture(loop_scope="session")
async def kafka_bench(kafka_settings: KafkaSettings, topic_prefix: str) -> AsyncIterator[Bench]:
    """The real broker, on topics of the tests' own."""
    publisher = Publisher(kafka_settings, topic_prefix)
    await publisher.start()
    yield KafkaBench(kafka_settings, topic_prefix, publisher)
    await publisher.stop()


@pytest.fixture(params=["memory_bench", pytest.param("kafka_bench", marks=pytest.mark.stack)])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Both buses in turn."""
    return cast("Bench", request.getfixturevalue(request.param))


def start_of(station: str, number: int = 1) -> TransactionMessage:
    return TransactionMessage(
        station_id=station,
        protocol=Protocol.OCPP201,
        phase=Phase.STARTED,
        at=NOW,
        transaction_id=f"t{number}",
        seq_no=number,
    )


def fact(station: str, number: int = 1) -> Record:
    return envelope.event(
        registry.TRANSACTION,
        start_of(station, number),
        id=f"{station}/{number}",
        source="/test",
        now=NOW,
    )


def loop_of(bench: Bench, handle: Any, *, group: str | None = None, most: int = 100) -> Loop:
    consumption = Consumption(
        group=group or f"g{secrets.token_hex(4)}",
        topics=(Topic.AUTH_REQUESTS,),
        types=frozenset({registry.TRANSACTION.name, registry.AUTHORIZE.name}),
        handle=handle,
    )
    return Loop(
        consumption,
        consumer=bench.consumer(consumption.group),
        publisher=bench.publisher,
        addresses=bench.addresses(),
        dead_letters=Topic.AUTH_DEAD_LETTER,
        batch_records=most,
    )


async def ended(loop: Loop, task: asyncio.Task[None]) -> None:
    loop.stop()
    async with asyncio.timeout(DEADLINE_S):
        await task


class Collector:
    """A handler that remembers, and lets a test wait for a number of its station's events."""

    def __init__(self, station: str) -> None:
        self.station = station
        self.messages: list[TransactionMessage] = []
        self._more = asyncio.Condition()

    async def __call__(self, events: Sequence[Event]) -> list[Record]:
        async with self._more:
            self.messages += [e.message for e in events if e.message.station_id == self.station]
            self._more.notify_all()
        return []

    async def got(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S), self._more:
            await self._more.wait_for(lambda: len(self.messages) >= count)


@pytest.fixture
def station() -> str:
    """A station that only this test knows: the topics are shared."""
    return f"CP-{secrets.token_hex(4)}"


async def test_records_of_one_key_arrive_in_order(bench: Bench, station: str) -> None:
    """Order holds per key, over many small publishes (design: per-station order)."""
    collector = Collector(station)
    loop = loop_of(bench, collector)
    task = asyncio.create_task(loop.run())
    await asyncio.gather(*(bench.publisher.publish([fact(station, n)]) for n in range(1, 201)))
    await collector.got(200)
    await ended(loop, task)
    assert [message.seq_no for message in collector.messages] == list(range(1, 201))


async def test_publish_is_done_only_when_stored(bench: Bench, station: str) -> None:
    """After the future of publish() the record is there to read."""
    await bench.publisher.publish([fact(station)])
    wanted = f"{station}/1".encode()
    found = await bench.seen(
        Topic.AUTH_REQUESTS,
        lambda records: any(envelope.header(r.headers, "ce_id") == wanted for r in records),
    )
    assert sum(envelope.header(r.headers, "ce_id") == wanted for r in found) == 1


async def test_a_stopped_consumer_goes_on_where_it_committed(bench: Bench, station: str) -> None:
    """What was handled before an orderly stop is not handled again afterwards."""
    first = Collector(station)
    group = f"g{secrets.token_hex(4)}"
    await bench.publisher.publish([fact(station, 1)])
    loop = loop_of(bench, first, group=group)
    task = asyncio.create_task(loop.run())
    await first.got(1)
    await ended(loop, task)
    await bench.publisher.publish([fact(station, 2)])
    second = Collector(station)
    loop = loop_of(bench, second, group=group)
    task = asyncio.create_task(loop.run())
    await second.got(1)
    await ended(loop, task)
    assert [message.seq_no for message in second.messages] == [2]


async def test_what_is_no_cloudevent_becomes_a_dead_letter_with_its_reason(
    bench: Bench, station: str
) -> None:
    """The partition goes on; the reason, the place and the original headers are kept."""
    collector = Collector(station)
    loop = loop_of(bench, collector)
    task = asyncio.create_task(loop.run())
    mark = station.encode()
    await bench.publisher.publish(
        [
            envelope.Record(Topic.AUTH_REQUESTS, mark, b"no json", [("x-mark", mark)]),
            fact(station),
        ]
    )
    await collector.got(1)
    dead = await bench.seen(
        Topic.AUTH_DEAD_LETTER,
        lambda records: any(envelope.header(r.headers, "x-mark") == mark for r in records),
    )
    await ended(loop, task)
    letter = next(r for r in dead if envelope.header(r.headers, "x-mark") == mark)
    assert envelope.header(letter.headers, "dead-letter-reason") == (
        b"not a CloudEvent: header ce_id is missing"
    )
    assert envelope.header(letter.headers, "dead-letter-topic") == (
        f"{bench.prefix}auth.requests".encode()
    )
    assert letter.value is None  # requests may hold readable tokens: their place is named instead
    assert envelope.header(letter.headers, "dead-letter-body") == b"withheld"


async def test_whoever_asks_what_cannot_be_read_is_told(bench: Bench, station: str) -> None:
    """A request against its schema is a dead letter, and a fault for whoever asked."""
    collector = Collector(station)
    loop = loop_of(bench, collector)
    task = asyncio.create_task(loop.run())
    mark = f"{station}/unreadable"
    good = fact(station)
    asking = envelope.Asking(mark, f"{bench.prefix}config.inbox", 0, 2**53)
    headers = [*good.headers, *envelope.asking_headers(asking)]
    bad = envelope.Record(good.topic, good.key, b'{"phase": 7}', headers)
    await bench.publisher.publish([bad, good])
    await collector.got(1)
    told = await bench.seen(
        Topic.CONFIG_INBOX,
        lambda records: any(
            envelope.header(r.headers, "correlation-id") == mark.encode() for r in records
        ),
    )
    await ended(loop, task)
    (answer,) = [r for r in told if envelope.header(r.headers, "correlation-id") == mark.encode()]
    assert envelope.header(answer.headers, "ce_type") == registry.FAULT.name.encode()
    assert registry.FAULT.decoder.decode(answer.value).code == "invalid_request"


async def test_a_record_that_breaks_the_handler_is_isolated(bench: Bench, station: str) -> None:
    """One poisonous record is dead-lettered alone; its neighbours in the batch are handled."""
    collector = Collector(station)

    async def handle(events: Sequence[Event]) -> Sequence[Record]:
        if any(e.message.station_id == station and e.message.seq_no == 3 for e in events):
            raise ZeroDivisionError
        return await collector(events)

    await bench.publisher.publish([fact(station, n) for n in range(1, 6)])
    loop = loop_of(bench, handle)
    task = asyncio.create_task(loop.run())
    await collector.got(4)
    wanted = f"{station}/3".encode()
    dead = await bench.seen(
        Topic.AUTH_DEAD_LETTER,
        lambda records: any(envelope.header(r.headers, "ce_id") == wanted for r in records),
    )
    await ended(loop, task)
    assert sorted(message.seq_no or 0 for message in collector.messages) == [1, 2, 4, 5]
    letter = next(r for r in dead if envelope.header(r.headers, "ce_id") == wanted)
    assert envelope.header(letter.headers, "dead-letter-reason") == (
        b"handler failed: ZeroDivisionError"
    )


async def test_whoever_asked_what_breaks_the_handler_is_told(bench: Bench, station: str) -> None:
    """A request that its handler cannot bear is a dead letter and a fault, not a long silence."""

    async def handle(_: Sequence[Event]) -> Sequence[Record]:
        raise ZeroDivisionError

    loop = loop_of(bench, handle)
    task = asyncio.create_task(loop.run())
    mark = f"{station}/unbearable"
    asked = fact(station)
    asking = envelope.Asking(mark, f"{bench.prefix}config.inbox", 0, 2**53)
    headers = [*asked.headers, *envelope.asking_headers(asking)]
    await bench.publisher.publish([envelope.Record(asked.topic, asked.key, asked.value, headers)])
    answers = await bench.seen(
        Topic.CONFIG_INBOX,
        lambda records: any(
            envelope.header(record.headers, "correlation-id") == mark.encode() for record in records
        ),
    )
    await ended(loop, task)
    (answer,) = [
        record
        for record in answers
        if envelope.header(record.headers, "correlation-id") == mark.encode()
    ]
    fault = registry.FAULT.decoder.decode(answer.value)
    assert (fault.code, fault.detail) == ("failed", "handler failed: ZeroDivisionError")


async def test_a_batch_is_tried_again_while_a_server_is_away(bench: Bench, station: str) -> None:
    """Unavailable is no reason to lose a fact: the same batch comes again."""
    collector = Collector(station)
    tries = 0

    async def handle(events: Sequence[Event]) -> Sequence[Record]:
        nonlocal tries
        if any(e.message.station_id == station for e in events):
            tries += 1
            if tries < 3:
                raise Unavailable("MongoDB is away")
        return await collector(events)

    loop = loop_of(bench, handle)
    task = asyncio.create_task(loop.run())
    await bench.publisher.publish([fact(station)])
    await collector.got(1)
    await ended(loop, task)
    assert tries == 3


def requester(bench: Bench, name: str) -> Requester:
    return Requester(
        instance_id=name,
        source=f"/voltbus/gateway/{name}",
        inbox_topic=bench.prefix + Topic.GATEWAY_INBOX,
        publisher=bench.publisher,
        start_mark=secrets.token_hex(2),
        on_message=unheard,
        dead_letters_to=Topic.GATEWAY_DEAD_LETTER,
    )


async def unheard(event: Event) -> None:
    """Nobody of these tests is told anything but answers."""
    raise AssertionError(event.type)


def authorize(station: str) -> Authorize:
    return Authorize(
        station_id=station,
        protocol=Protocol.OCPP16,
        id_token=IdToken(value="04A2"),
        at=NOW,
    )


async def answering(events: Sequence[Event]) -> list[Record]:
    """Play auth: accept everybody."""
    accepted = Decision(status=AuthorizationStatus.ACCEPTED)
    answers = [
        envelope.reply(
            event,
            registry.AUTHORIZE_ANSWER
            if event.type == registry.AUTHORIZE.name
            else registry.TRANSACTION_ANSWER,
            AuthorizeAnswer(decision=accepted)
            if event.type == registry.AUTHORIZE.name
            else TransactionAnswer(transaction_id=7),
            source="/voltbus/auth/a-1",
            now=NOW,
        )
        for event in events
    ]
    return [answer for answer in answers if answer is not None]


async def test_a_question_gets_its_own_answer(bench: Bench, station: str) -> None:
    """Two instances on one partition ask at once; each future gets the answer to its question."""
    one, other = requester(bench, f"g-{station}-a"), requester(bench, f"g-{station}-b")
    await one.start(bench.inbox, 1)
    await other.start(bench.inbox, 1)
    assert one.partition == other.partition == 0
    loop = loop_of(bench, answering)
    task = asyncio.create_task(loop.run())
    asked = [
        asker.ask(registry.AUTHORIZE, authorize(station), deadline_s=DEADLINE_S)
        for _ in range(25)
        for asker in (one, other)
    ]
    answers = await asyncio.gather(*asked)
    stored, answer = one.tell_and_ask(
        registry.TRANSACTION, start_of(station), id="x", deadline_s=DEADLINE_S
    )
    await stored
    transaction = await answer
    await ended(loop, task)
    await one.stop()
    await other.stop()
    assert all(cast("AuthorizeAnswer", a).decision.status == "Accepted" for a in answers)
    assert cast("TransactionAnswer", transaction).transaction_id == 7


async def test_no_answer_in_time_is_an_error_and_not_a_refusal(bench: Bench, station: str) -> None:
    """A decision that does not come is DeadlineExceeded (rules B: InternalError, never Invalid)."""
    asker = requester(bench, f"g-{station}")
    await asker.start(bench.inbox, 1)
    with pytest.raises(DeadlineExceeded):
        await asker.ask(registry.AUTHORIZE, authorize(station), deadline_s=0.05)
    await asker.stop()


async def test_a_request_past_its_deadline_is_not_executed_but_a_fact_is(
    bench: Bench, station: str
) -> None:
    """What a station reported has happened; what it asked too long ago matters no more."""
    collector = Collector(station)
    headers = envelope.asking_headers(
        envelope.Asking("nobody/1", bench.prefix + Topic.GATEWAY_INBOX, 0, 1)
    )
    late = envelope.event(
        registry.AUTHORIZE, authorize(station), id="late", source="/test", now=NOW
    )
    late.headers.extend(headers)
    told = fact(station)
    told.headers.extend(headers)
    loop = loop_of(bench, collector)
    task = asyncio.create_task(loop.run())
    await bench.publisher.publish([late, told])
    await collector.got(1)
    await ended(loop, task)
    assert [type(message) for message in collector.messages] == [TransactionMessage]


async def test_a_message_to_us_that_cannot_be_read_is_a_dead_letter(
    bench: Bench, station: str
) -> None:
    """A broken command in our inbox is kept with its reason; a neighbour's is none of ours."""
    name = f"g-{station}"
    asker = requester(bench, name)
    await asker.start(bench.inbox, 1)

    def command(gateway: str) -> Record:
        return envelope.Record(
            Topic.GATEWAY_INBOX,
            None,
            b'{"command_id": 1}',
            [
                *registry.SEND_CALL.fixed_headers,
                ("ce_id", name.encode()),
                ("ce_source", b"/test"),
                ("ce_subject", gateway.encode()),
            ],
            0,
        )

    await bench.publisher.publish([command("another"), command(name)])
    wanted = name.encode()
    found = await bench.seen(
        Topic.GATEWAY_DEAD_LETTER,
        lambda records: any(envelope.header(r.headers, "ce_id") == wanted for r in records),
    )
    await asker.stop()
    letters = [r for r in found if envelope.header(r.headers, "ce_id") == wanted]
    assert [envelope.header(r.headers, "ce_subject") for r in letters] == [wanted]
    assert b"does not match" in (envelope.header(letters[0].headers, "dead-letter-reason") or b"")
    assert letters[0].value is None


def test_the_inbox_partition_depends_on_the_instance_only() -> None:
    """A restarted instance reads the partition it had (docs/adr/0001-reply-partitions.md)."""
    assert inbox_partition("gateway-1", 6) == inbox_partition("gateway-1", 6)
    assert {inbox_partition(f"gateway-{n}", 6) for n in range(200)} == set(range(6))
