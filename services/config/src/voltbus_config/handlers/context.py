"""Emissions as Kafka records, and what the handlers share to make them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voltbus_backbone.bus import envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_config.domain.emissions import Emission
    from voltbus_config.domain.tending import Terms
    from voltbus_config.handlers.tokens import Tokens
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
    terms: Terms
    tokens: Tokens

    def now(self) -> datetime:
        """The time as the store keeps it: UTC, whole milliseconds."""
        return to_stored_time(self.clock())

    def build_records(self, emissions: Iterable[Emission], now: datetime) -> list[Record]:
        """The emissions as records of this service."""
        return [build_record(emission, self.source, now) for emission in emissions]

    async def add_to_outbox(
        self, emissions: Iterable[Emission], now: datetime, session: Session
    ) -> None:
        """Put the emissions into the outbox, within the transaction that caused them."""
        await self.outbox.add(self.build_records(emissions, now), session=session)


def build_record(emission: Emission, source: str, now: datetime) -> Record:
    """One emission as a record."""
    if emission.message is None:
        assert emission.row.topic is not None  # noqa: S101 - a tombstone is of a topic
        return envelope.tombstone(
            emission.row.topic,
            (emission.key or "").encode(),
            source=source,
            now=now,
            id=emission.id,
        )
    return envelope.event(
        emission.row,
        emission.message,
        id=emission.id,
        source=source,
        now=now,
        subject=emission.subject,
        # A gateway's partition is chosen, yet what goes through the outbox is ordered by its key:
        # by station, so that one station's calls do not wait for all others'.
        key=emission.row.key_of(emission.message),
        partition=emission.partition,
    )


def to_stored_time(time: datetime) -> datetime:
    """The time as MongoDB keeps it, so that what is read again compares equal."""
    time = time.astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
