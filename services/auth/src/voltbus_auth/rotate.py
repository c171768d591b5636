"""`python -m voltbus_auth.rotate`: encrypt readable tokens anew, under the first master key.

To replace the master key: put the new one as the first line of `VOLTBUS_FIELD_KEY_FILE`, restart
the replicas, run this once, then take the old line out. Takes the service's own settings; may be
stopped and run again at any time, beside the running service.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voltbus_auth.settings import Settings
from voltbus_auth.store import Store
from voltbus_backbone.errors import SettingsError, Unavailable
from voltbus_backbone.settings import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.envelope import Record


class NoBus:
    """This command changes nothing that anyone is told of."""

    def publish(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Refuse."""
        raise Unavailable(f"no bus for {len(records)} records")

    def post(self, record: Record) -> None:
        """Refuse."""
        raise Unavailable(f"no bus for a record of {record.topic}")


async def rotate(store: Store) -> int:
    """Encrypt anew what is not under the first key; how many values that were.

    Raises:
        SettingsError: no field key is configured.
    """
    if store.vault is None:
        raise SettingsError("VOLTBUS_FIELD_KEY_FILE is not set: nothing is encrypted")
    count = 0
    async for done in store.token.seal_again():
        count += done
        sys.stdout.write(f"{count} values encrypted under the new key\n")
    dropped = await store.vault.forget_others()
    sys.stdout.write(f"Done: {count} values; {dropped} old data keys dropped.\n")
    return count


async def _run() -> None:
    settings = load(Settings)
    store = await Store.open(settings, publisher=NoBus(), source="/voltbus/auth/rotate", now=_now)
    try:
        await rotate(store)
    finally:
        await store.close()


def _now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    """Run; exits 0, 1 (MongoDB is away) or 2 (it cannot be done so)."""
    try:
        asyncio.run(_run())
    except (SettingsError, Unavailable) as error:
        sys.stderr.write(f"voltbus_auth.rotate: {error}\n")
        sys.exit(2 if isinstance(error, SettingsError) else 1)


if __name__ == "__main__":
    main()
