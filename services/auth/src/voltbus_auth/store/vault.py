"""Readable token values, encrypted field by field before they reach MongoDB.

PyMongo's explicit client-side field encryption: each value under AES-256-CBC with HMAC-SHA-512 and
random IVs, by a data key that lies in the key vault wrapped with the operator's master key. Off the
hot path: a look-up goes by reference and never needs it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING

from bson.codec_options import CodecOptions
from pymongo.encryption import ClientEncryption
from pymongo.encryption_shared import Algorithm
from pymongo.errors import EncryptionError

from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bson.binary import Binary

    from voltbus_backbone.store import Database, Document, Reachable

_MASTER_KEY_BYTES = 96  # what client-side field encryption takes as a local master key
_NAME = "tokens"
_VAULT = "field_keys"
_ALGORITHM = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random


class Vault:
    """Encrypts and decrypts one kind of field, in a thread: 80 to 180 µs a value."""

    def __init__(self, database: Database, reachable: Reachable, master_key: bytes) -> None:
        self._vault = database[_VAULT]
        self._reachable = reachable
        self._encryption: ClientEncryption[Document] = ClientEncryption(
            {"local": {"key": master_key}},
            f"{database.name}.{_VAULT}",
            database.client.delegate,
            CodecOptions(tz_aware=True),
        )

    async def prepare(self) -> None:
        """Make the data key, once for all replicas.

        Raises:
            SettingsError: the master key is not the one that the stored data key was wrapped with.
        """
        with self._reachable.watching():
            await self._vault.create_index(
                "keyAltNames",
                unique=True,
                partialFilterExpression={"keyAltNames": {"$exists": True}},
            )
            await asyncio.to_thread(self._make_key)
        try:
            await self.open([*await self.seal(["trial"])])
        except EncryptionError:
            raise SettingsError(
                "VOLTBUS_FIELD_KEY_FILE does not hold the key that this database's tokens "
                "were encrypted with"
            ) from None

    def _make_key(self) -> None:
        if self._encryption.get_key_by_alt_name(_NAME) is None:
            try:
                self._encryption.create_data_key("local", key_alt_names=[_NAME])
            except EncryptionError:
                # Another replica was quicker; then its key is there.
                if self._encryption.get_key_by_alt_name(_NAME) is None:
                    raise

    async def seal(self, values: Sequence[str]) -> list[Binary]:
        """Encrypt; the same value never looks the same twice."""

        def work() -> list[Binary]:
            return [
                self._encryption.encrypt(value, _ALGORITHM, key_alt_name=_NAME) for value in values
            ]

        with self._reachable.watching():
            return await asyncio.to_thread(work)

    async def open(self, sealed: Sequence[Binary]) -> list[str]:
        """Decrypt."""

        def work() -> list[str]:
            return [self._encryption.decrypt(value) for value in sealed]

        with self._reachable.watching():
            return await asyncio.to_thread(work)

    async def close(self) -> None:
        """Forget the keys."""
        await asyncio.to_thread(self._encryption.close)


def read_master_key(path: Path) -> bytes:
    """The master key of a file.

    Raises:
        SettingsError: it cannot be read, or is not 96 bytes in base64.
    """
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, binascii.Error):
        key = b""
    if len(key) != _MASTER_KEY_BYTES:
        raise SettingsError("VOLTBUS_FIELD_KEY_FILE must be a file with 96 bytes in base64")
    return key
