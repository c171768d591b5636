"""Commands that work on auth's store once and end, beside running replicas or without them."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voltbus_auth.database import Store
from voltbus_auth.settings import Settings
from voltbus_backbone.errors import SettingsError, Unavailable
from voltbus_backbone.settings import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import NoReturn

    from voltbus_backbone.bus.envelope import Record

    Work = Callable[[Store], Awaitable[int]]


class NoBus:
    """Such a command changes nothing that anyone is told of."""

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Refuse."""
        raise Unavailable(f"no bus for {len(records)} records")

    def post(self, record: Record) -> None:
        """Refuse."""
        raise Unavailable(f"no bus for a record of {record.topic}")


def run(name: str, prepare: Callable[[Settings], Work]) -> NoReturn:
    """Do the work that the settings make, and end the process with the code that it gives.

    Or with 1, when MongoDB is away, or with 2, when it cannot be done with these settings.
    """
    try:
        sys.exit(asyncio.run(_run(name, prepare)))
    except (SettingsError, Unavailable) as error:
        sys.stderr.write(f"voltbus_auth.{name}: {error}\n")
        sys.exit(2 if isinstance(error, SettingsError) else 1)


async def _run(name: str, prepare: Callable[[Settings], Work]) -> int:
    settings = load(Settings)
    work = prepare(settings)
    store = await Store.open(
        settings, publisher=NoBus(), source=f"/voltbus/auth/{name}", now=lambda: datetime.now(UTC)
    )
    try:
        return await work(store)
    finally:
        await store.close()
