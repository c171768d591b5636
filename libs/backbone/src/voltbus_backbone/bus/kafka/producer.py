"""Producers that replace one another.

An idempotent producer numbers its batches per partition. When a batch of its fails for good, its
number is used up, and Kafka refuses every later one of that partition as out of order: the whole
producer is of no more use there. A new one begins anew. Batches of other partitions that are on
their way with the old one end there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from voltbus_backbone.bounds import RECORD_BYTES
from voltbus_backbone.bus.kafka.client import client_options, disconnect
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from aiokafka.producer.message_accumulator import BatchBuilder

    from voltbus_backbone.settings import KafkaSettings

log = structlog.get_logger(__name__)

_PAUSE_S = 0.5  # between two replacements, and between two tries
_START_TIMEOUTS = 3  # connecting may take so many request timeouts


class ProduceFailed(Exception):  # noqa: N818 - what happened
    """A batch was not stored. ``numbered``: its producer may have used a sequence number for it."""

    def __init__(self, cause: Exception, *, numbered: bool) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause
        self.numbered = numbered


class Generation:
    """One producer, and how many batches are on their way with it."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def create_batch(self) -> BatchBuilder:
        """An empty batch."""
        return self.producer.create_batch()

    async def store(self, batch: BatchBuilder, topic: str, partition: int) -> None:
        """Produce a batch and wait until Kafka has it.

        Raises:
            ProduceFailed: with the reason.
        """
        numbered = False
        self.in_flight += 1
        self.idle.clear()
        try:
            stored = await self.producer.send_batch(batch, topic, partition=partition)
            numbered = True
            await stored
        except Exception as error:
            # Whatever it is, whoever waits for these records must learn it.
            raise ProduceFailed(error, numbered=numbered) from error
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self.idle.set()


class Producers:
    """The producer in use, and the one task that replaces it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._current: Generation | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: no broker answers.
        """
        self._stopping = False
        self._current = await self._connect()

    def stop_renewing(self) -> None:
        """From now on what fails stays failed."""
        self._stopping = True

    async def stop(self) -> None:
        """Disconnect when everything that is on its way has been stored."""
        if self._current is not None:
            await self._current.producer.stop()

    def forget(self) -> None:
        """Produce no more."""
        self._current = None

    def current(self) -> Generation:
        """The producer in use.

        Raises:
            Unavailable: there is none.
        """
        if self._current is None:
            raise Unavailable("the publisher is not connected")
        return self._current

    async def renew(self, failed: Generation) -> None:
        """Go on with a new producer; of several who ask for it at once, each gets the same one.

        While no broker answers, this waits, as a batch does that is on its way.
        """
        if self._current is not failed or self._stopping:
            return
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew(failed))
        await asyncio.shield(self._renewing)

    async def _renew(self, failed: Generation) -> None:
        while not self._stopping:
            await asyncio.sleep(_PAUSE_S)
            try:
                self._current = await self._connect()
            except Unavailable as error:
                log.warning("kafka.producer.waiting", reason=str(error))
                continue
            log.info("kafka.producer.renewed")
            leaving = asyncio.get_running_loop().create_task(_retire(failed))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            return

    async def _connect(self) -> Generation:
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            max_batch_size=RECORD_BYTES,
            compression_type=self._settings.compression,
            linger_ms=0,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUTS * self._settings.request_timeout_s):
                await producer.start()
        except (KafkaError, TimeoutError) as error:
            await disconnect(producer.stop())
            raise Unavailable(f"Kafka does not answer at {self._settings.bootstrap}") from error
        return Generation(producer)


async def _retire(generation: Generation) -> None:
    """Let a producer go when nothing is on its way with it."""
    await generation.idle.wait()
    try:
        await disconnect(generation.producer.stop())
    except KafkaError as error:
        log.info("kafka.producer.stop.failed", error=type(error).__name__)
