"""What must hold of whoever reads the bus, whatever the record was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fuzz.records_made import FOREIGN, MINE, NOW, PREFIX, SECRET, Case
from voltbus_backbone.bounds import RECORD_BYTES, record_bytes
from voltbus_backbone.bus import dead_letters, envelope
from voltbus_backbone.bus.intake import Intake
from voltbus_backbone.bus.replies import reply_topics
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.bus.testing import PARTITIONS, MemoryBus, MemoryRecord
from voltbus_backbone.contract.registry import FAULT, TYPES, Fault, Topic
from voltbus_backbone.errors import VoltbusError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.values import Message

_LETTERS = Topic.AUTH_DEAD_LETTER


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise AssertionError("it waits")


class Posted:
    """A publisher that keeps what is posted."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def post(self, record: Record) -> None:
        """Keep it."""
        self.records.append(record)


class Strict(Requester):
    """A requester whose reading lets nothing break silently."""

    def __init__(self, posted: Posted, seen: list[Event]) -> None:
        async def receive(event: Event) -> None:
            seen.append(event)

        super().__init__(
            instance_id="g-1",
            source="/fuzz",
            inbox_topic="voltbus.gateway.inbox",
            publisher=posted,  # type: ignore[arg-type]  # it publishes nothing
            start_mark="m",
            now=lambda: NOW,
            on_message=receive,
            dead_letters_to=Topic.GATEWAY_DEAD_LETTER,
        )

    def expect(self, done: Any) -> None:
        """Somebody waits for the answers 1 and 2."""
        for number in (1, 2):
            self._waiting[f"{MINE}{number}".encode()] = done

    def give(self, record: Any) -> None:
        """Read one record as the inbox's reader does, without its net."""
        correlation = envelope.header(record.headers, "correlation-id")
        if correlation is None:
            at_once(self._receive(record))
        elif correlation.startswith(self._mine_bytes):
            self._answer(correlation, record)


class Judge:
    """The readers of a service and of a gateway's inbox, which bear one record after another."""

    def __init__(self) -> None:
        self._bus = MemoryBus(PREFIX)
        addresses = self._bus.addresses()
        at_once(addresses.learn())
        self._allowed = reply_topics(PREFIX, None)
        self._intake = Intake(
            "auth", frozenset(TYPES), addresses=addresses, dead_letters=_LETTERS, now=lambda: NOW
        )
        self._posted = Posted()
        self._seen: list[Event] = []
        self._requester = Strict(self._posted, self._seen)

    def judge(self, case: Case) -> list[str]:
        """Raise what is wrong with how this record is read; else the reasons of its letters."""
        headers: list[Any] = list(case.headers)
        record = MemoryRecord(case.topic, 0, 7, case.key, case.value, headers)
        return [*self._judge_intake(case, record), *self._judge_inbox(case, record)]

    def _judge_intake(self, case: Case, record: MemoryRecord) -> list[str]:
        events, instead = at_once(self._intake.sort([record]))
        letters = [letter for letter in instead if letter.topic == _LETTERS]
        told = [reply for reply in instead if reply.topic != _LETTERS]
        assert len(events) + len(letters) <= 1
        assert len(told) <= len(letters)
        for event in events:
            self._judge_event(event)
        for reply in told:
            self._judge_reply(reply)
            assert isinstance(FAULT.decoder.decode(reply.value or b""), Fault)
        return [self._judge_letter(letter, case) for letter in letters]

    def _judge_event(self, event: Event) -> None:
        """It can be answered, passed on and stored."""
        assert event.unaddressed is None or event.asking is None
        message: Message = event.message
        again = msgspec.json.decode(msgspec.json.encode(message), type=type(message))
        assert type(again) is type(message)
        reply = envelope.reply(event, FAULT, Fault(code="c", detail="d"), source="/fuzz", now=NOW)
        assert (reply is None) == (event.asking is None)
        if reply is not None:
            self._judge_reply(reply)
        passed = envelope.forward(event, TYPES[event.type], source="/fuzz", now=NOW)
        if passed is not None:
            copy = envelope.parse(passed.headers, passed.value, key=passed.key)
            assert copy.asking == event.asking
            self._judge_writable(passed)

    def _judge_reply(self, reply: Record) -> None:
        """It goes where replies may go."""
        assert reply.topic in self._allowed
        assert reply.partition is not None
        assert 0 <= reply.partition < PARTITIONS
        self._judge_writable(reply)

    def _judge_letter(self, letter: Record, case: Case) -> str:
        """It has a reason, tells nothing that it must not, and leads back to its record."""
        self._judge_writable(letter)
        read = dead_letters.letter_of(letter.headers, letter.key, letter.value)
        assert (read.topic, read.partition, read.offset) == (case.topic, 0, 7)
        assert read.reason
        assert SECRET not in read.reason
        if case.topic.endswith(("requests", "inbox")):
            assert letter.value is None
        if case.topic.endswith(FOREIGN):
            assert SECRET not in repr((letter.key, letter.headers))
        self._judge_writable(dead_letters.again(read, case.value))
        return read.reason

    @staticmethod
    def _judge_writable(record: Record) -> None:
        for name, value in record.headers:
            assert isinstance(value, bytes), name
            name.encode()
        assert record_bytes(record.key, record.value, record.headers) <= RECORD_BYTES

    def _judge_inbox(self, case: Case, record: MemoryRecord) -> list[str]:
        answers: list[Message | VoltbusError] = []
        self._requester.expect(answers.append)
        self._requester.give(record)
        assert len(answers) <= 1
        assert len(self._seen) + len(self._posted.records) <= 1
        for event in self._seen:
            assert event.message is not None
        reasons = [self._judge_letter(letter, case) for letter in self._posted.records]
        self._seen.clear()
        self._posted.records.clear()
        return [
            *reasons,
            *(str(answer)[:80] for answer in answers if isinstance(answer, VoltbusError)),
        ]
