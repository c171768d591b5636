"""What every handler works with, and outgoing messages as Kafka records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voltbus_backbone.bus import envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_config.domain.outgoing import OutgoingMessage
    from voltbus_config.domain.reconciliation import ReconcilerConfig
    from voltbus_config.handlers.tokens import TokenDirectory
    from voltbus_config.settings import Settings
    from voltbus_config.store import Session, Store


@dataclass(frozen=True)
class ServiceContext:
    """What handlers work with: store, outbox, clock, configuration and token directory."""

    store: Store
    outbox: Outbox
    source: str
    clock: Callable[[], datetime]
    settings: Settings
    reconciler_config: ReconcilerConfig
    tokens: TokenDirectory

    def now(self) -> datetime:
        """Return the time as the store keeps it: UTC, whole milliseconds."""
        return to_stored_time(self.clock())

    def build_records(self, messages: Iterable[OutgoingMessage], now: datetime) -> list[Record]:
        """Build the Kafka records of these messages, with this service as their source."""
        return [build_record(outgoing, self.source, now) for outgoing in messages]

    async def add_to_outbox(
        self, messages: Iterable[OutgoingMessage], now: datetime, session: Session
    ) -> None:
        """Put the messages into the outbox, within the transaction that caused them."""
        await self.outbox.add(self.build_records(messages, now), session=session)


def build_record(outgoing: OutgoingMessage, source: str, now: datetime) -> Record:
    """Build the Kafka record of an outgoing message."""
    if outgoing.message is None:
        assert outgoing.row.topic is not None  # noqa: S101 - a tombstone is of a topic
        return envelope.tombstone(
            outgoing.row.topic,
            (outgoing.key or "").encode(),
            source=source,
            now=now,
            id=outgoing.id,
        )
    return envelope.event(
        outgoing.row,
        outgoing.message,
        id=outgoing.id,
        source=source,
        now=now,
        subject=outgoing.subject,
        # A gateway's partition is chosen, yet what goes through the outbox is ordered by its key:
        # by station, so that one station's calls do not wait for all others'.
        key=outgoing.row.key_of(outgoing.message),
        partition=outgoing.partition,
    )


def to_stored_time(time: datetime) -> datetime:
    """Round down to MongoDB's milliseconds in UTC, so that what is read again compares equal."""
    time = time.astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
