"""What Kafka refuses is given up: a letter, a fault or nothing, and the rest goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from voltbus_backbone.bounds import RECORD_BYTES, record_bytes
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.consumption import Consumption, Loop
from voltbus_backbone.bus.dead_letters import NEVER_STORED, letter_of, unsent, written
from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.refusals import deliver
from voltbus_backbone.bus.testing import MemoryBus, MemoryConsumer, MemoryRecord
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import (
    Authorize,
    Phase,
    StationLoginAnswer,
    TransactionMessage,
)
from voltbus_backbone.contract.registry import FAULT, Topic
from voltbus_backbone.contract.values import IdToken, Protocol
from voltbus_backbone.errors import Refusal, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voltbus_backbone.bus.envelope import Event

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DEADLINE_S = 10.0
INBOX = "voltbus.gateway.inbox"


def question(number: int, *, topic: str = INBOX, partition: int = 0) -> Record:
    """A request of a gateway's, which wants its answer there."""
    message = Authorize(
        station_id="CP-1", protocol=Protocol.OCPP16, id_token=IdToken(value="made up"), at=NOW
    )
    record = envelope.event(registry.AUTHORIZE, message, id=f"g/{number}", source="/g", now=NOW)
    asking = envelope.Asking(f"g/{number}", topic, partition, 2**53)
    record.headers.extend(envelope.asking_headers(asking))
    return record


def fact(number: int) -> Record:
    """A fact that nobody waits for."""
    message = TransactionMessage(
        station_id="CP-1", protocol=Protocol.OCPP201, phase=Phase.STARTED, at=NOW, seq_no=number
    )
    return envelope.event(registry.TRANSACTION, message, id=f"f/{number}", source="/g", now=NOW)


def answer(event: Event, size: int) -> Record:
    """An answer with a body of this size."""
    record = envelope.reply(
        event,
        registry.STATION_LOGIN_ANSWER,
        StationLoginAnswer(known=True),
        source="/a",
        now=NOW,
    )
    assert record is not None
    body = b'{"known":true%s}' % (b" " * size)
    return Record(record.topic, None, body, record.headers, record.partition)


def told(size: int = 0) -> Record:
    """An event of ours, of this size."""
    return Record(Topic.TOKENS_EVENTS, b"k", b"x" * size, [("ce_id", b"t-1"), ("ce_type", b"t")])


class Committing(MemoryConsumer):
    """Lets a test wait until something is committed."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.changed = asyncio.Condition()

    async def commit(self, offsets: dict[tuple[str, int], int]) -> bool:
        """Remember, and tell."""
        done = await super().commit(offsets)
        async with self.changed:
            self.changed.notify_all()
        return done


async def run(bus: MemoryBus, handle: Callable[[Sequence[Event]], Any]) -> None:
    """Handle what is on auth.requests until all of it is committed."""

    async def handled(events: Sequence[Event]) -> Sequence[Record]:
        return [record for event in events for record in handle([event])]

    consumer = Committing(bus)
    loop = Loop(
        Consumption(
            group="auth",
            topics=(Topic.AUTH_REQUESTS,),
            types=frozenset({registry.AUTHORIZE.name, registry.TRANSACTION.name}),
            handle=handled,
        ),
        consumer=consumer,
        publisher=bus,
        addresses=bus.addresses(),
        dead_letters=Topic.AUTH_DEAD_LETTER,
        batch_records=100,
    )
    task = asyncio.create_task(loop.run())
    wanted = len(bus.records(Topic.AUTH_REQUESTS))
    async with asyncio.timeout(DEADLINE_S), consumer.changed:
        await consumer.changed.wait_for(lambda: sum(consumer.committed.values()) >= wanted)
    loop.stop()
    await task


async def test_an_answer_too_large_becomes_a_fault_and_holds_nobody_up() -> None:
    """Whoever asked learns that there is no answer; the neighbours' answers and events go out."""
    bus = MemoryBus()
    await bus.publish([question(1), question(2), question(3)])

    def handle(events: Sequence[Event]) -> list[Record]:
        (event,) = events
        return [answer(event, RECORD_BYTES if event.id == "g/2" else 0), told()]

    await run(bus, handle)
    answers = {record.event().correlation_id: record.event().type for record in bus.records(INBOX)}
    assert answers == {
        "g/1": registry.STATION_LOGIN_ANSWER.name,
        "g/2": FAULT.name,
        "g/3": registry.STATION_LOGIN_ANSWER.name,
    }
    assert len(bus.records(Topic.TOKENS_EVENTS)) == 3
    assert not bus.records(Topic.AUTH_DEAD_LETTER)


async def test_an_answer_to_nowhere_is_dropped_and_its_batch_is_committed() -> None:
    """Addresses are their askers' word: one that is none costs only its own answer."""
    bus = MemoryBus()
    bus.absent.add("voltbus.config.inbox")
    await bus.publish([question(1), question(2, topic="voltbus.config.inbox"), question(3)])
    await run(bus, lambda events: [answer(events[0], 0)])
    assert [record.event().correlation_id for record in bus.records(INBOX)] == ["g/1", "g/3"]
    assert not bus.records(Topic.AUTH_DEAD_LETTER)


async def test_an_event_too_large_is_a_dead_letter_without_its_body() -> None:
    """Reason, topic and original headers are kept; the partition goes on."""
    bus = MemoryBus()
    await bus.publish([fact(1), fact(2)])
    await run(
        bus,
        lambda events: [told(RECORD_BYTES if events[0].id == "f/1" else 1)],
    )
    assert [record.value for record in bus.records(Topic.TOKENS_EVENTS)] == [b"x"]
    (stored,) = bus.records(Topic.AUTH_DEAD_LETTER)
    letter = letter_of(stored.headers, stored.key, stored.value)
    assert letter.reason.startswith("Kafka refused it (too_large): a record takes ")
    assert (letter.topic, letter.partition, letter.offset) == (
        Topic.TOKENS_EVENTS,
        NEVER_STORED,
        NEVER_STORED,
    )
    assert letter.headers == [("ce_id", b"t-1"), ("ce_type", b"t")]
    assert letter.withheld
    assert letter.key == b"k"
    assert letter.body is None


async def test_delivering_tells_what_was_refused() -> None:
    """The others are stored, a letter takes the place of the refused one, and its sender knows."""
    bus = MemoryBus()
    big = told(RECORD_BYTES)
    refused = await deliver(bus, [told(1), big, told(2)], Topic.AUTH_DEAD_LETTER, NOW)
    assert [refusal.record for refusal in refused] == [big]
    assert [record.value for record in bus.records(Topic.TOKENS_EVENTS)] == [b"x", b"xx"]
    assert len(bus.records(Topic.AUTH_DEAD_LETTER)) == 1


async def test_a_letter_that_is_refused_is_the_end_of_it() -> None:
    """No letter about a letter, and no repetition."""
    bus = MemoryBus()
    letter = Record(Topic.AUTH_DEAD_LETTER, b"k", b"x" * RECORD_BYTES, [])
    assert len(await deliver(bus, [letter], Topic.AUTH_DEAD_LETTER, NOW)) == 1
    assert not bus.records(Topic.AUTH_DEAD_LETTER)


@pytest.mark.parametrize(
    "record",
    [
        MemoryRecord("voltbus.tokens.events", 0, 7, b"k", b"x" * 1_048_000, []),
        MemoryRecord("voltbus.tokens.events", 0, 7, b"k", b"", [("x", b"y" * 1_048_000)]),
        MemoryRecord("voltbus.tokens.events", 0, 7, b"k", b"", [("x" * 1_048_000, b"")]),
        MemoryRecord("voltbus.tokens.events", 0, 7, b"k" * 1_048_000, b"", [("x", b"y")] * 9),
        MemoryRecord("voltbus.tokens.events", 0, 7, b"k", b"", [("x", b"y")] * 90_000),
        MemoryRecord("voltbus.tokens.events", 0, 7, b"k" * 5000, b"", [("x", b"y" * 999_999)]),
    ],
    ids=["body", "header", "name", "key", "headers", "key-and-header"],
)
def test_a_letter_fits_whatever_the_record_was(record: MemoryRecord) -> None:
    """Anything that Kafka stored can be written about, with the place where it is."""
    letter = written(record, "handler failed: KeyError", Topic.AUTH_DEAD_LETTER, NOW)
    assert record_bytes(letter.key, letter.value, letter.headers) <= RECORD_BYTES
    read = letter_of(letter.headers, letter.key, letter.value)
    assert (read.topic, read.partition, read.offset) == ("voltbus.tokens.events", 0, 7)
    assert read.withheld


def test_a_letter_about_what_cannot_be_written_leaves_that_out() -> None:
    """A header that Kafka cannot write is not tried again in the letter."""
    record = Record("tokens.events", b"k", b"{}", [("\ud800", b""), ("ce_id", b"1")])
    refusal = Refusal(record, RefusalReason.MALFORMED, "UnicodeEncodeError")
    letter = unsent(refusal, Topic.AUTH_DEAD_LETTER, NOW)
    assert letter.value == b"{}"
    read = letter_of(letter.headers, letter.key, letter.value)
    assert read.headers == [("ce_id", b"1")]
    assert not read.withheld
