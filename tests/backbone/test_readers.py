"""What one record may do to a reader: nothing but become a dead letter."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from voltbus_backbone.bus import dead_letters, envelope
from voltbus_backbone.bus.consumption import Consumption, Loop
from voltbus_backbone.bus.ports import Unreadable
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.bus.testing import MemoryBus, MemoryConsumer, MemoryRecord
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import (
    Authorize,
    Phase,
    StationLogin,
    StationLoginAnswer,
    TransactionMessage,
)
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.contract.values import IdToken, Protocol
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.observability import RECORDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from voltbus_backbone.bus.envelope import Event, Headers, Record

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WAIT_S = 30.0
LATER_MS = 2**53


def fact(number: int) -> Record:
    message = TransactionMessage(
        station_id="CP-1",
        protocol=Protocol.OCPP201,
        phase=Phase.STARTED,
        at=NOW,
        transaction_id=f"t{number}",
        seq_no=number,
    )
    return envelope.event(registry.TRANSACTION, message, id=f"{number}", source="/t", now=NOW)


def question() -> Record:
    token = IdToken(value="0123ABCD", type="ISO14443")
    message = Authorize(station_id="CP-1", protocol=Protocol.OCPP201, id_token=token, at=NOW)
    return envelope.event(registry.AUTHORIZE, message, id="q", source="/t", now=NOW)


def asking(topic: str, partition: str) -> Headers:
    return [
        ("correlation-id", b"them/1"),
        ("reply-topic", topic.encode()),
        ("reply-partition", partition.encode()),
        ("deadline", b"%d" % LATER_MS),
    ]


class Bench:
    """One consumption on a memory bus; ``answer`` makes its handler reply to whoever asked."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.seen: list[Any] = []
        self.consumer = MemoryConsumer(self.bus)
        self.handled = asyncio.Condition()
        types = frozenset({registry.TRANSACTION.name, registry.AUTHORIZE.name})
        self.loop = Loop(
            Consumption("bench", (Topic.AUTH_REQUESTS,), types, self.handle),
            consumer=self.consumer,
            publisher=self.bus,
            addresses=self.bus.addresses(),
            dead_letters=Topic.AUTH_DEAD_LETTER,
            batch_records=10,
            now=lambda: NOW,
        )

    async def handle(self, events: Sequence[Event]) -> Sequence[Record]:
        async with self.handled:
            self.seen += [event.message for event in events]
            self.handled.notify_all()
        fault = registry.Fault(code="no", detail="a test answers so")
        told = [
            envelope.reply(event, registry.FAULT, fault, source="/t", now=NOW) for event in events
        ]
        return [record for record in told if record is not None]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.loop.run())
        yield
        self.loop.stop()
        async with asyncio.timeout(WAIT_S):
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S), self.handled:
            await self.handled.wait_for(condition)

    def reasons(self) -> list[str]:
        letters = self.bus.records(Topic.AUTH_DEAD_LETTER)
        return [
            (envelope.header(letter.headers, "dead-letter-reason") or b"").decode()
            for letter in letters
        ]


DEEP = b'{"station_id":"1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES = {
    "latin-1": '{"station_id":"Müller"}'.encode("latin-1"),
    "not utf-8": b'{"station_id":"\xff"}',
    "nested deeply": DEEP,
    "a huge number": b'{"seq_no":' + b"9" * 5000 + b"}",
    "no json": b"<html>",
    "empty": b"",
    "no data": None,
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_handled(
    name: str,
) -> None:
    """Müller in Latin-1 from an honest partner ended the service, again after each restart."""
    bench = Bench()
    good = fact(1)
    bad = envelope.Record(good.topic, good.key, BODIES[name], good.headers)
    await bench.bus.publish([fact(1), bad, fact(2)])
    async with bench.running():
        await bench.until(lambda: len(bench.seen) == 2)
    assert len(bench.reasons()) == 1
    assert "ller" not in bench.reasons()[0]
    assert bench.consumer.committed == {("voltbus.auth.requests", 0): 3}


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_specversion", "ce_subject", "ce_time"])
async def test_a_header_without_value_is_a_dead_letter(name: str) -> None:
    """Kafka allows null there, and its clients hand it out."""
    bench = Bench()
    good = fact(1)
    headers: list[Any] = [(n, None if n == name else v) for n, v in good.headers]
    await bench.bus.publish([envelope.Record(good.topic, good.key, good.value, headers), fact(2)])
    async with bench.running():
        await bench.until(lambda: len(bench.seen) == 1)
    assert len(bench.reasons()) == 1


async def test_a_record_that_no_client_could_read_is_a_dead_letter_with_its_place() -> None:
    """A header name that is not UTF-8, or a batch that cannot be unpacked: all of it is passed."""
    bench = Bench()
    await bench.bus.publish([fact(1)])
    place = ("voltbus.auth.requests", 0)
    unreadable = Unreadable(*place, 1, 4, 0, "a header's name is not UTF-8")
    bench.bus.logs[place].append(unreadable)  # type: ignore[arg-type]  # as Kafka hands it out
    async with bench.running():
        await bench.until(lambda: len(bench.seen) == 1)
        await bench.bus.wait_for_records(Topic.AUTH_DEAD_LETTER, 1)
    (letter,) = bench.bus.records(Topic.AUTH_DEAD_LETTER)
    assert bench.reasons() == ["a header's name is not UTF-8"]
    assert envelope.header(letter.headers, "dead-letter-offset") == b"1"
    assert bench.consumer.committed == {place: 5}


ADDRESSES = [
    ("voltbus.gateway.inbox", "-1"),
    ("voltbus.gateway.inbox", "9999"),
    ("voltbus.gateway.inbox", "x"),
    ("voltbus.gateway.inbox", "9" * 5000),
    ("voltbus.stations.state", "0"),
    ("voltbus.no-such-topic", "0"),
    ("not/a topic", "0"),
]


@pytest.mark.parametrize(("topic", "partition"), ADDRESSES)
async def test_a_fact_is_recorded_though_its_reply_has_no_address(
    topic: str, partition: str
) -> None:
    """What has happened counts, whoever asks where to; the reply is dropped and counted."""
    bench = Bench()
    counted = RECORDS.labels("bench", "no_reply_address")
    before = counted._value.get()
    good = fact(1)
    headers = [*good.headers, *asking(topic, partition)]
    await bench.bus.publish([envelope.Record(good.topic, good.key, good.value, headers)])
    async with bench.running():
        await bench.until(lambda: len(bench.seen) == 1)
    assert {name for name, _ in bench.bus.logs} == {"voltbus.auth.requests"}
    assert counted._value.get() == before + 1
    assert bench.consumer.committed == {("voltbus.auth.requests", 0): 1}


@pytest.mark.parametrize(("topic", "partition"), ADDRESSES)
async def test_a_question_whose_reply_has_no_address_is_a_dead_letter(
    topic: str, partition: str
) -> None:
    """Nobody could learn its answer; its asker finds the reason there, and nothing is written."""
    bench = Bench()
    asked = question()
    headers = [*asked.headers, *asking(topic, partition)]
    wrong = envelope.Record(asked.topic, asked.key, asked.value, headers)
    await bench.bus.publish([wrong, fact(1)])
    async with bench.running():
        await bench.until(lambda: len(bench.seen) == 1)
        await bench.bus.wait_for_records(Topic.AUTH_DEAD_LETTER, 1)
    assert {name for name, _ in bench.bus.logs} == {
        "voltbus.auth.requests",
        "voltbus.auth.dead-letter",
    }
    assert "its reply-" in bench.reasons()[0] or "header of asking" in bench.reasons()[0]


async def test_nothing_is_sent_to_a_wrong_address_about_a_body_that_cannot_be_read() -> None:
    """The fault for whoever asked is a reply as any other."""
    bench = Bench()
    good = question()
    headers = [*good.headers, *asking("voltbus.stations.state", "0")]
    await bench.bus.publish([envelope.Record(good.topic, good.key, b"{", headers)])
    async with bench.running():
        await bench.bus.wait_for_records(Topic.AUTH_DEAD_LETTER, 1)
    assert not bench.bus.records("stations.state")


async def test_a_loop_that_broke_is_run_again_from_its_last_commit() -> None:
    """Committing breaks (a bug, say): nothing that was not committed is lost."""
    bench = Bench()
    broken = [ZeroDivisionError()]
    commit = bench.consumer.commit

    async def breaking(offsets: dict[tuple[str, int], int]) -> bool:
        if broken:
            raise broken.pop()
        return await commit(offsets)

    bench.loop._progress._commit = breaking
    await bench.bus.publish([fact(1)])
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(WAIT_S):
            await bench.loop.run()
    assert not bench.loop.ready()
    async with bench.running():
        await bench.until(lambda: len(bench.seen) == 2)
        assert bench.loop.ready()
    assert bench.consumer.committed == {("voltbus.auth.requests", 0): 1}


def test_a_letter_of_another_systems_record_keeps_nothing_that_may_name_a_token() -> None:
    """Its sender may have put a token anywhere: what is no type and no time is not kept."""
    foreign: Any = [
        ("ce_specversion", b"DEADBEEF"),
        ("ce_type", b"DEADBEEF"),
        ("ce_time", b"2026-03-01T12345678901234Z"),
        ("ce_id", b"DEADBEEF"),
        ("x", None),
    ]
    sound: Any = [("ce_time", b"2026-03-01T12:00:00.5Z"), ("ce_type", b"voltbus.fault.v1")]
    for own, kept in ((foreign, []), (sound, sound)):
        record = MemoryRecord("voltbus.auth.token-requests", 0, 7, b"DEADBEEF", b"x", own)
        letter = dead_letters.written(record, "why", Topic.AUTH_DEAD_LETTER, NOW)
        assert [pair for pair in letter.headers if pair in own] == kept
        assert b"DEADBEEF" not in repr(letter).encode()


class Reading:
    """A requester on a memory bus, with what came to it."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.messages: asyncio.Queue[Event] = asyncio.Queue()
        self.breaks = 0
        self.requester = Requester(
            instance_id="g-1",
            source="/t",
            inbox_topic="voltbus.gateway.inbox",
            publisher=self.bus,
            start_mark="m",
            now=lambda: NOW,
            on_message=self.receive,
            dead_letters_to=Topic.GATEWAY_DEAD_LETTER,
        )

    async def receive(self, event: Event) -> None:
        if self.breaks:
            self.breaks -= 1
            raise ZeroDivisionError
        self.messages.put_nowait(event)

    async def answered(self) -> object:
        """What a question gets that is asked now."""
        told = self.requester.ask(
            registry.STATION_LOGIN, StationLogin(station_id="CP-1"), deadline_s=WAIT_S
        )
        asked = self.bus.events("auth.requests")
        async with asyncio.timeout(WAIT_S):
            while not asked:
                await asyncio.sleep(0)
                asked = self.bus.events("auth.requests")
            answer = envelope.reply(
                asked[-1],
                registry.STATION_LOGIN_ANSWER,
                StationLoginAnswer(known=True),
                source="/t",
                now=NOW,
            )
            assert answer is not None
            await self.bus.publish([answer])
            return await told

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.requester.start(self.bus.inbox, 1)
        yield
        await self.requester.stop()


def odd(*headers: tuple[str, bytes | None], value: bytes | None = b"{}") -> Record:
    """A record for our inbox."""
    known: list[Any] = list(headers)
    return envelope.Record("gateway.inbox", None, value, known, 0)


ODD_RECORDS = {
    "a null header": odd(("ce_subject", b"g-1"), ("ce_id", None)),
    "a null subject": odd(("ce_subject", None)),
    "a null correlation": odd(("correlation-id", None), ("ce_subject", b"g-1")),
    "no headers": odd(),
    "an answer of an unknown type": odd(("correlation-id", b"g-1/m/1"), ("ce_type", b"\xff")),
    "an answer without type": odd(("correlation-id", b"g-1/m/1"), ("ce_type", None)),
    "a late answer": odd(("correlation-id", b"g-1/m/99")),
    "a deep message": odd(
        *registry.SEND_CALL.fixed_headers,
        ("ce_id", b"1"),
        ("ce_source", b"/t"),
        ("ce_subject", b"g-1"),
        value=DEEP,
    ),
}


@pytest.mark.parametrize("name", ODD_RECORDS)
async def test_no_record_of_an_inbox_ends_its_reader(name: str) -> None:
    """A null header left a gateway deaf: every log-in 503, and readiness said 200."""
    reading = Reading()
    async with reading.running():
        await reading.bus.publish([ODD_RECORDS[name]])
        assert await reading.answered() == StationLoginAnswer(known=True)
        assert reading.requester.hearing(WAIT_S)


async def test_an_answer_that_cannot_be_read_fails_its_question_only() -> None:
    """Whoever asked learns it at once, not after the deadline."""
    reading = Reading()
    async with reading.running():
        told = reading.requester.ask(
            registry.STATION_LOGIN, StationLogin(station_id="CP-1"), deadline_s=WAIT_S
        )
        await reading.bus.publish(
            [
                odd(
                    ("correlation-id", b"g-1/m/1"),
                    *registry.STATION_LOGIN_ANSWER.fixed_headers,
                    value=DEEP,
                )
            ]
        )
        with pytest.raises(Unavailable, match="nested too deeply"):
            await told


async def test_a_message_that_breaks_its_handler_is_a_dead_letter() -> None:
    """The next message is received."""
    reading = Reading()
    reading.breaks = 1
    record = odd(
        *registry.CLOSE_CONNECTION.fixed_headers,
        ("ce_id", b"1"),
        ("ce_source", b"/t"),
        ("ce_subject", b"g-1"),
        value=b'{"gateway_id":"g-1","station_id":"CP-1","connection_id":"c"}',
    )
    async with reading.running():
        await reading.bus.publish([record, record])
        async with asyncio.timeout(WAIT_S):
            await reading.messages.get()
        await reading.bus.wait_for_records(Topic.GATEWAY_DEAD_LETTER, 1)
    (letter,) = reading.bus.records(Topic.GATEWAY_DEAD_LETTER)
    reason = envelope.header(letter.headers, "dead-letter-reason")
    assert reason == b"handler failed: ZeroDivisionError"


async def test_a_reader_of_an_inbox_that_breaks_goes_on_where_it_was() -> None:
    """What came while it was broken is not lost, and until it holds it is not ready."""
    reading = Reading()
    inbox = reading.bus.inbox("gateway.inbox", 0)
    take = inbox.take
    broken = [ZeroDivisionError()]

    async def taking() -> list[Any]:
        if broken:
            raise broken.pop()
        return await take()

    inbox.take = taking  # type: ignore[method-assign]  # the fault that is wanted
    await reading.requester.start(lambda *_: inbox, 1)
    assert await reading.answered() == StationLoginAnswer(known=True)
    assert not reading.requester.hearing(WAIT_S)
    await reading.requester.stop()
