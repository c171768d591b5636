"""What the rest of the backbone needs of a bus; Kafka and the tests' memory bus both offer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus.envelope import Record


class Consumed(msgspec.Struct, frozen=True):
    """A record as a reader gets it: its place, and its bytes. ``timestamp`` is in milliseconds.

    A header's value may be None: Kafka allows it, and readers must bear it.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Unreadable(msgspec.Struct, frozen=True):
    """What stands in the place of a record whose bytes no client could hand out.

    ``reason`` holds nothing of the record. ``last_offset`` ends what was passed over: more than one
    record where a whole batch cannot be unpacked. Key and headers are what could be read.
    """

    topic: str
    partition: int
    offset: int
    last_offset: int
    timestamp: int
    reason: str
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Publishing(Protocol):
    """Sends records, in order per partition."""

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Queue records; done when all are stored.

        It fails with Unavailable when that is not certain, and with Refused when Kafka will never
        store some of them: these are named, and all the others are stored.
        """
        ...

    def post(self, record: Record) -> None:
        """Queue one record without waiting for it."""
        ...


class Inbox(Protocol):
    """One partition, read from its end."""

    async def start(self) -> None:
        """Be at the end when this returns; started again, go on where reading stopped."""
        ...

    async def take(self) -> list[Any]:
        """What has come; empty after a short wait."""
        ...

    def silent_s(self) -> float:
        """How long the bus has answered no fetch, in seconds."""
        ...

    async def stop(self) -> None:
        """Stop reading."""
        ...


class Consuming(Protocol):
    """A member of a consumer group."""

    async def start(
        self, wanted: Sequence[str], before_revoke: Callable[[], Awaitable[None]]
    ) -> None:
        """Join."""
        ...

    async def take(self, most: int) -> list[Any]:
        """The next records, in order per partition."""
        ...

    async def commit(self, offsets: dict[tuple[str, int], int]) -> bool:
        """Remember what is done; False when the bus did not take it."""
        ...

    def silent_s(self) -> float:
        """How long the bus has answered no fetch, in seconds."""
        ...

    def assigned(self) -> bool:
        """Whether we have partitions."""
        ...

    async def stop(self) -> None:
        """Leave."""
        ...
