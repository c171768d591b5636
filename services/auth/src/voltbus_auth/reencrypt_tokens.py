"""`python -m voltbus_auth.reencrypt_tokens`: encrypt readable tokens under the first master key.

To replace the master key: put the new one as the first line of `VOLTBUS_FIELD_KEY_FILE`, restart
the replicas, run this once, then take the old line out. Takes the service's own settings; may be
stopped and run again at any time, beside the running service.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voltbus_auth import one_off
from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from voltbus_auth.database import Store
    from voltbus_auth.one_off import Work
    from voltbus_auth.settings import Settings


async def reencrypt_tokens(store: Store) -> int:
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


def _work(_: Settings) -> Work:
    async def work(store: Store) -> int:
        await reencrypt_tokens(store)
        return 0

    return work


if __name__ == "__main__":
    one_off.run("reencrypt_tokens", _work)
