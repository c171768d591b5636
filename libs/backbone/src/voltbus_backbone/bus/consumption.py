"""The loop that every service runs: take a batch, handle it, answer, commit behind.

At least once: offsets are committed after everything that a batch caused is stored in Kafka, so a
handler may see a record again after a crash and must then have the same effect and answer. A batch
that fails because a server is away is tried again; one that fails otherwise is split until the
guilty record is alone, and that one goes to the dead letters (docs/adr/0003-batch-handlers.md).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone.bus import refusals
from voltbus_backbone.bus.intake import Intake
from voltbus_backbone.bus.ports import Unreadable
from voltbus_backbone.bus.progress import Progress
from voltbus_backbone.errors import Refused, Unavailable
from voltbus_backbone.observability import BATCH, BATCH_SECONDS, RECORDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.bus.ports import Consuming, Publishing
    from voltbus_backbone.bus.replies import ReplyAddresses
    from voltbus_backbone.contract.registry import Topic
    from voltbus_backbone.errors import Refusal

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
    """Runs one consumption until stopped; after an exception, ``run`` may be called again.

    ``addresses`` judge where replies may go. Without a commit, or without an answer of the bus, for
    ``stuck_s`` seconds it is not ready.
    """

    def __init__(
        self,
        consumption: Consumption,
        *,
        consumer: Consuming,
        publisher: Publishing,
        addresses: ReplyAddresses,
        dead_letters: Topic,
        batch_records: int,
        stuck_s: float = 30.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._consumption = consumption
        self._consumer = consumer
        self._publisher = publisher
        self._addresses = addresses
        self._intake = Intake(
            consumption.group,
            consumption.types,
            addresses=addresses,
            dead_letters=dead_letters,
            now=now,
        )
        self._progress = Progress(consumer.commit)
        self._dead_letters = dead_letters
        self._now = now
        self._most = batch_records
        self._stuck_s = stuck_s
        self._pause = pause
        self._turn = asyncio.Lock()
        self._stopping = asyncio.Event()
        self.struggling = False

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._consumption.group

    def ready(self) -> bool:
        """Whether work is taken and done."""
        deaf = self._consumer.silent_s() > self._stuck_s
        return self._consumer.assigned() and not self.struggling and not deaf

    def committing(self) -> bool:
        """Whether what was taken gets done in time."""
        return self._progress.waiting_s() < self._stuck_s

    async def run(self) -> None:
        """Consume until stop(); what was taken by then is finished and committed.

        Raises:
            Unavailable: no broker answers.
            Exception: whatever broke. What was not committed is read again by the next run().
        """
        self._progress.reset()
        self.struggling = False
        await self._addresses.learn()
        await self._consumer.start(self._consumption.topics, self._settle)
        committing = asyncio.create_task(self._commit_now_and_then())
        try:
            await self._consume(committing)
        except Exception:
            self.struggling = True
            raise
        finally:
            committing.cancel()
            await self._settle()
            await self._consumer.stop()

    async def _consume(self, committing: asyncio.Task[None]) -> None:
        records: list[Any] = []
        while not self._stopping.is_set():
            if committing.done():
                committing.result()  # it only ends by breaking
            if self._progress.broken is not None:
                raise RuntimeError("sending a batch broke") from self._progress.broken
            if len(records) >= _BUSY:
                await asyncio.sleep(_GATHER_S)
            records = await self._consumer.take(self._most)
            if records:
                async with self._turn:
                    await self._process(records)
            while len(self._progress) > _MAX_BEHIND and self._progress.broken is None:
                await self._progress.reap(wait=True)

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping.set()

    async def _process(self, records: list[Any]) -> None:
        self._progress.take()
        offsets: dict[tuple[str, int], int] = {}
        for record in records:
            last = record.last_offset if isinstance(record, Unreadable) else record.offset
            offsets[record.topic, record.partition] = last + 1
        events, dead = await self._intake.sort(records)
        started = time.perf_counter()
        outgoing = await self._handle(events) if events else []
        BATCH.labels(self.group).observe(len(events))
        BATCH_SECONDS.labels(self.group).observe(time.perf_counter() - started)
        RECORDS.labels(self.group, "handled").inc(len(events))
        # Started here, so that a batch's records are queued before the next batch's.
        sending = asyncio.create_task(self._send([*outgoing, *dead]))
        self._progress.send(offsets, sending)

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
                events = self._intake.still_wanted(events)
            except Exception as error:  # noqa: BLE001 - whatever it is, the partition must go on
                self.struggling = False
                return await self._isolate(events, error)
            else:
                self.struggling = False
                return result

    async def _isolate(self, events: list[Event], error: Exception) -> list[Record]:
        """Halve until the record that breaks the handler is alone."""
        if len(events) > 1:
            middle = len(events) // 2
            first = await self._handle(events[:middle])
            return [*first, *await self._handle(events[middle:])]
        log.error("record.failed", group=self._consumption.group, exc_info=error)
        reason = f"handler failed: {type(error).__name__}"
        return [record for event in events for record in self._intake.give_up(event, reason)]

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
        RECORDS.labels(self.group, "refused").inc(len(refused))
        now = self._now()
        places = (refusals.instead_of(refusal, self._dead_letters, now) for refusal in refused)
        return [place for place in places if place is not None]

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            await self._progress.reap(wait=False)
            await self._progress.commit()

    async def _settle(self) -> None:
        """Finish the batch in hand and commit: before partitions leave, and at the end."""
        async with self._turn:
            await self._progress.reap(wait=True)
            await self._progress.commit()
