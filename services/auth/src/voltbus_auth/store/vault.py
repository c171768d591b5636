"""Readable token values, encrypted field by field before they reach MongoDB.

PyMongo's explicit client-side field encryption: each value under AES-256-CBC with HMAC-SHA-512 and
random IVs, by a data key that lies in the key vault wrapped with the operator's master key. Off the
hot path: a look-up goes by reference and never needs it.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClientEncryption
from pymongo.encryption_shared import Algorithm
from pymongo.errors import EncryptionError

from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from bson.binary import Binary

    from voltbus_backbone.store import Database, Document, Reachable

_MASTER_KEY_BYTES = 96  # what client-side field encryption takes as a local master key
_NAME = "tokens"
_VAULT = "field_keys"


class Vault:
    """Encrypts and decrypts one kind of field."""

    def __init__(self, database: Database, reachable: Reachable, master_key: bytes) -> None:
        self._database = database
        self._reachable = reachable
        self._encryption: AsyncIOMotorClientEncryption[Document] = AsyncIOMotorClientEncryption(
            {"local": {"key": master_key}},
            f"{database.name}.{_VAULT}",
            database.client,
            CodecOptions(tz_aware=True),
        )

    async def prepare(self) -> None:
        """Make the data key, once for all replicas.

        Raises:
            SettingsError: the master key is not the one that the stored data key was wrapped with.
        """
        vault = self._database[_VAULT]
        with self._reachable.watching():
            await vault.create_index(
                "keyAltNames",
                unique=True,
                partialFilterExpression={"keyAltNames": {"$exists": True}},
            )
            if await self._encryption.get_key_by_alt_name(_NAME) is None:
                try:
                    await self._encryption.create_data_key("local", key_alt_names=[_NAME])
                except EncryptionError:
                    # Another replica was quicker; then its key is there.
                    if await self._encryption.get_key_by_alt_name(_NAME) is None:
                        raise
            try:
                await self.open(await self.seal("trial"))
            except EncryptionError:
                raise SettingsError(
                    "VOLTBUS_FIELD_KEY_FILE does not hold the key that this database's tokens "
                    "were encrypted with"
                ) from None

    async def seal(self, value: str) -> Binary:
        """Encrypt; the same value never looks the same twice."""
        with self._reachable.watching():
            sealed: Binary = await self._encryption.encrypt(
                value, Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random, key_alt_name=_NAME
            )
        return sealed

    async def open(self, sealed: Binary) -> str:
        """Decrypt."""
        with self._reachable.watching():
            value: str = await self._encryption.decrypt(sealed)
        return value

    async def close(self) -> None:
        """Forget the keys."""
        await self._encryption.close()


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
