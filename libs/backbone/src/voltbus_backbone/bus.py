"""What the rest of the backbone needs of a bus; Kafka and the tests' memory bus both offer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.envelope import Record


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
        """Be at the end when this returns."""
        ...

    async def take(self) -> list[Any]:
        """What has come; empty after a short wait."""
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

    async def commit(self, offsets: dict[tuple[str, int], int]) -> None:
        """Remember what is done."""
        ...

    def assigned(self) -> bool:
        """Whether we have partitions."""
        ...

    async def stop(self) -> None:
        """Leave."""
        ...
