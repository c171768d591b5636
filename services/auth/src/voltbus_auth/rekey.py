"""`python -m voltbus_auth.rekey`: let every stored token be found under the keys that are set.

To replace the token key, as docs/adr/0010-token-key.md explains: name the new key as the other one
(`VOLTBUS_TOKEN_KEY_OTHER_FILE`), restart the replicas, run this; swap the two files, restart;
take the old one out, restart, run this again. Takes the service's own settings; may be stopped and
run again at any time, beside running replicas with either key first. It ends with 1 when tokens
cannot be found again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voltbus_auth import one_off
from voltbus_auth.settings import token_key
from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from voltbus_auth.database import Store
    from voltbus_auth.one_off import Work
    from voltbus_auth.settings import Settings
    from voltbus_auth.tokens.domain.identifiers import TokenKey


async def rekey(store: Store, key: TokenKey) -> int:
    """Make the references anew; how many tokens will not be found, for want of their value.

    Raises:
        SettingsError: no field key is configured, so that no value can be read.
    """
    if store.vault is None:
        raise SettingsError("VOLTBUS_FIELD_KEY_FILE is not set: no token's value can be read")
    tokens = changed = lost = 0
    async for portion in store.token.refer_again(key):
        tokens += portion.tokens
        changed += portion.changed
        lost += portion.lost
        sys.stdout.write(f"{tokens} tokens looked at, {changed} changed\n")
    sys.stdout.write(f"Done: {tokens} tokens, {changed} changed; the key is {key.id}.\n")
    if lost:
        sys.stderr.write(
            f"voltbus_auth.rekey: {lost} tokens were stored without their value and cannot be found"
            " under this key: import them again before the old key goes\n"
        )
    return lost


def _work(settings: Settings) -> Work:
    key = token_key(settings)

    async def work(store: Store) -> int:
        return 1 if await rekey(store, key) else 0

    return work


if __name__ == "__main__":
    one_off.run("rekey", _work)
