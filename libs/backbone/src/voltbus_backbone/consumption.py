"""The loop that every service runs: take a batch, handle it, answer, commit behind.

At least once: offsets are committed after everything that a batch caused is stored in Kafka, so a
handler may see a record again after a crash and must then have the same effect and answer. A batch
that fails because a server is away is tried again; one that fails otherwise is split until the
guilty record is alone, and that one goes to the dead letters (docs/adr/0003-batch-handlers.md).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone import dead_letters, envelope, refusals
from voltbus_backbone.contract.registry import FAULT, TYPES, Fault, Topic
from voltbus_backbone.errors import InvalidRecord, Refusal, Refused, Unavailable
from voltbus_backbone.observability import BATCH, BATCH_SECONDS, RECORDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus import Consuming, Publishing
    from voltbus_backbone.envelope import Event, Record

log = structlog.get_logger(__name__)

_COMMIT_EVERY_S = 0.2
_MAX_BEHIND = 16  # batches whose sends are not acknowledged yet: bounded memory
# Under load a moment's gathering makes larger batches, which cost less for each record; when it is
# quiet nobody waits.
_BUSY = 8
_GATHER_S = 0.003
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class Consumption:
    """What a service reads and who handles it.

    ``handle`` gets decoded events in order per partition and returns the records to send. Records
    of other types than ``types`` are passed over unparsed. ``group`` is the consumer group.
    """

    group: str
    topics: tuple[Topic, ...]
    types: frozenset[str]
    handle: Callable[[Sequence[Event]], Awaitable[Sequence[Record]]]

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for what it does: it reads requests, not events alone."""
        return any(topic.endswith("requests") for topic in self.topics)


class Loop:
    """Runs one consumption until stopped."""

    def __init__(
        self,
        consumption: Consumption,
        *,
        consumer: Consuming,
        publisher: Publishing,
        dead_letters: Topic,
        batch_records: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._consumption = consumption
        self._consumer = consumer
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._most = batch_records
        self._now = now
        self._pause = pause
        self._types = {name.encode() for name in consumption.types}
        self._behind: deque[tuple[dict[tuple[str, int], int], asyncio.Task[None]]] = deque()
        self._done: dict[tuple[str, int], int] = {}
        self._turn = asyncio.Lock()
        self._stopping = asyncio.Event()
        self.struggling = False

    def ready(self) -> bool:
        """Whether work is taken and done."""
        return self._consumer.assigned() and not self.struggling

    async def run(self) -> None:
        """Consume until stop(); what was taken by then is finished and committed."""
        await self._consumer.start(self._consumption.topics, self._settle)
        committing = asyncio.create_task(self._commit_now_and_then())
        try:
            records: list[Any] = []
            while not self._stopping.is_set():
                if len(records) >= _BUSY:
                    await asyncio.sleep(_GATHER_S)
                records = await self._consumer.take(self._most)
                if records:
                    async with self._turn:
                        await self._process(records)
                while len(self._behind) > _MAX_BEHIND:
                    await self._reap(wait=True)
        finally:
            committing.cancel()
            await self._settle()
            await self._consumer.stop()

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping.set()

    async def _process(self, records: list[Any]) -> None:
        offsets: dict[tuple[str, int], int] = {}
        events: list[Event] = []
        dead: list[Record] = []
        for record in records:
            offsets[record.topic, record.partition] = record.offset + 1
            self._sort(record, events, dead)
        started = time.perf_counter()
        outgoing = await self._handle(events) if events else []
        name = self._consumption.group
        BATCH.labels(name).observe(len(events))
        BATCH_SECONDS.labels(name).observe(time.perf_counter() - started)
        RECORDS.labels(name, "handled").inc(len(events))
        # Started here, so that a batch's records are queued before the next batch's.
        sending = asyncio.create_task(self._send([*outgoing, *dead]))
        self._behind.append((offsets, sending))

    def _sort(self, record: Any, events: list[Event], dead: list[Record]) -> None:
        """Pass over what is not ours, refuse what cannot be read, keep the rest."""
        kind = envelope.header(record.headers, "ce_type")
        if kind is not None and kind not in self._types and kind.decode("latin-1") in TYPES:
            return
        event: Event | None = None
        try:
            event = envelope.parse(
                record.headers,
                record.value,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                key=record.key,
            )
            if event.data is None and kind == envelope.TOMBSTONE:
                return
            event.decode()
        except InvalidRecord as error:
            dead.append(self._dead_letter(record, error.reason))
            if event is not None:
                dead.extend(self._unreadable(event, error.reason))
            return
        asking = event.asking
        if (
            asking is not None
            and asking.deadline_ms < self._now().timestamp() * 1000
            and not TYPES[event.type].fact
        ):
            RECORDS.labels(self._consumption.group, "past_deadline").inc()
            return
        events.append(event)

    def _unreadable(self, event: Event, reason: str) -> list[Record]:
        """Whoever asked need not wait: what cannot be read will not be decided."""
        fault = Fault(code="invalid_request", detail=reason)
        told = envelope.reply(
            event, FAULT, fault, source=f"/voltbus/{self._consumption.group}", now=self._now()
        )
        return [told] if told is not None else []

    async def _handle(self, events: list[Event]) -> list[Record]:
        wait = _FIRST_PAUSE_S
        while True:
            try:
                result = list(await self._consumption.handle(events))
            except Unavailable as error:
                self.struggling = True
                log.warning("batch.unavailable", group=self._consumption.group, error=str(error))
                if self._stopping.is_set():
                    raise
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_PAUSE_S)
                events = self._still_wanted(events)
            except Exception as error:  # noqa: BLE001 - whatever it is, the partition must go on
                self.struggling = False
                return await self._isolate(events, error)
            else:
                self.struggling = False
                return result

    def _still_wanted(self, events: list[Event]) -> list[Event]:
        now_ms = self._now().timestamp() * 1000
        return [
            event
            for event in events
            if event.asking is None or TYPES[event.type].fact or event.asking.deadline_ms >= now_ms
        ]

    async def _isolate(self, events: list[Event], error: Exception) -> list[Record]:
        """Halve until the record that breaks the handler is alone."""
        if len(events) > 1:
            middle = len(events) // 2
            first = await self._handle(events[:middle])
            return [*first, *await self._handle(events[middle:])]
        log.error("record.failed", group=self._consumption.group, exc_info=error)
        return [
            self._dead_letter(event, f"handler failed: {type(error).__name__}") for event in events
        ]

    def _dead_letter(self, record: Any, reason: str) -> Record:
        RECORDS.labels(self._consumption.group, "dead_letter").inc()
        return dead_letters.written(record, reason, self._dead_letters, self._now())

    async def _send(self, records: list[Record]) -> None:
        wait = _FIRST_PAUSE_S
        while records:
            try:
                await self._publisher.publish(records)
            except Refused as refused:
                # Never again, for these; all the others are stored.
                records = self._instead(refused.refusals)
                wait = _FIRST_PAUSE_S
            except Unavailable as error:
                # The whole batch again: ids are stable, so a subscriber can tell a repetition.
                log.warning("batch.not_sent", group=self._consumption.group, error=str(error))
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_PAUSE_S)
            else:
                return

    def _instead(self, refused: Sequence[Refusal]) -> list[Record]:
        """What is sent for records that Kafka will never store."""
        group, now = self._consumption.group, self._now()
        RECORDS.labels(group, "refused").inc(len(refused))
        places = (refusals.instead_of(refusal, self._dead_letters, now) for refusal in refused)
        return [place for place in places if place is not None]

    async def _reap(self, *, wait: bool) -> None:
        while self._behind:
            offsets, sending = self._behind[0]
            if not sending.done():
                if not wait:
                    return
                await asyncio.wait([sending])
            if not self._behind or self._behind[0][1] is not sending:
                continue  # the committing task was quicker
            self._behind.popleft()
            if not sending.cancelled() and sending.exception() is None:
                self._done.update(offsets)

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            await self._reap(wait=False)
            await self._commit()

    async def _commit(self) -> None:
        if self._done:
            done, self._done = self._done, {}
            await self._consumer.commit(done)

    async def _settle(self) -> None:
        """Finish the batch in hand and commit: before partitions leave, and at the end."""
        async with self._turn:
            await self._reap(wait=True)
            await self._commit()
