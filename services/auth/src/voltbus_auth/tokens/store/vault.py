"""Readable token values, encrypted field by field before they reach MongoDB.

PyMongo's explicit client-side field encryption: each value under AES-256-CBC with HMAC-SHA-512 and
random IVs, by a data key that lies in the key vault wrapped with the operator's master key. Off the
hot path: a look-up goes by reference and never needs it.

Each master key has a data key of its own. Several master keys may be given while one replaces
another: the first encrypts, all decrypt, and `python -m voltbus_auth.reencrypt_tokens` encrypts
again what is not under the first.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from pymongo.encryption import ClientEncryption
from pymongo.encryption_shared import Algorithm
from pymongo.errors import EncryptionError

from voltbus_backbone.errors import SettingsError
from voltbus_backbone.mongo.store import PLAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bson.binary import Binary

    from voltbus_backbone.mongo.store import Database, Document, Reachable

_MASTER_KEY_BYTES = 96  # what client-side field encryption takes as a local master key
_VAULT = "field_keys"
_ALGORITHM = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random


class Vault:
    """Encrypts and decrypts one kind of field, in a thread: 80 to 180 µs a value."""

    def __init__(
        self, database: Database, reachable: Reachable, master_keys: Sequence[bytes]
    ) -> None:
        self._vault = database[_VAULT]
        self._reachable = reachable
        self._encryptions: dict[str, ClientEncryption[Document]] = {
            _name(key): ClientEncryption(
                {"local": {"key": key}},
                f"{database.name}.{_VAULT}",
                database.client.delegate,
                PLAIN,
            )
            for key in master_keys
        }
        self._current = next(iter(self._encryptions))
        self._by_id: dict[bytes, ClientEncryption[Document]] = {}
        self._current_id = b""

    async def prepare(self) -> None:
        """Make the data key of the first master key, once for all replicas.

        Raises:
            SettingsError: values are encrypted under a master key that was not given.
        """
        with self._reachable.watching():
            await self._vault.create_index(
                "keyAltNames",
                unique=True,
                partialFilterExpression={"keyAltNames": {"$exists": True}},
            )
            await self._learn()
            await asyncio.to_thread(self._make_key)
            await self._learn()

    async def _learn(self) -> None:
        """Which data key belongs to which master key; nothing is made while one is missing."""
        async for document in self._vault.find({}, {"keyAltNames": 1}):
            name = document["keyAltNames"][0]
            encryption = self._encryptions.get(name)
            if encryption is None:
                raise SettingsError(
                    "VOLTBUS_FIELD_KEY_FILE does not hold the key that this database's tokens "
                    "were encrypted with"
                )
            self._by_id[document["_id"].bytes] = encryption
            if name == self._current:
                self._current_id = document["_id"].bytes

    def _make_key(self) -> None:
        encryption = self._encryptions[self._current]
        if encryption.get_key_by_alt_name(self._current) is None:
            try:
                encryption.create_data_key("local", key_alt_names=[self._current])
            except EncryptionError:
                # Another replica was quicker; then its key is there.
                if encryption.get_key_by_alt_name(self._current) is None:
                    raise

    async def seal(self, values: Sequence[str]) -> list[Binary]:
        """Encrypt; the same value never looks the same twice."""
        encryption = self._encryptions[self._current]

        def work() -> list[Binary]:
            return [
                encryption.encrypt(value, _ALGORITHM, key_alt_name=self._current)
                for value in values
            ]

        with self._reachable.watching():
            return await asyncio.to_thread(work)

    async def open(self, sealed: Sequence[Binary]) -> list[str]:
        """Decrypt."""

        def work() -> list[str]:
            return [self._by_id[_data_key(value)].decrypt(value) for value in sealed]

        with self._reachable.watching():
            return await asyncio.to_thread(work)

    def is_current(self, sealed: Binary) -> bool:
        """Whether it is encrypted under the first master key."""
        return _data_key(sealed) == self._current_id

    async def forget_others(self) -> int:
        """Drop the data keys of all other master keys; how many. Nothing may need them any more."""
        with self._reachable.watching():
            result = await self._vault.delete_many({"keyAltNames": {"$ne": self._current}})
        return result.deleted_count

    async def close(self) -> None:
        """Forget the keys."""
        for encryption in self._encryptions.values():
            await asyncio.to_thread(encryption.close)


def _data_key(sealed: Binary) -> bytes:
    """The id of the data key: it follows the first byte of each encrypted value."""
    return bytes(sealed[1:17])


def _name(master_key: bytes) -> str:
    return "tokens:" + hashlib.sha256(b"voltbus field key" + master_key).hexdigest()[:16]


def read_master_keys(path: Path) -> list[bytes]:
    """The master keys of a file, one a line, the one to encrypt with first.

    Raises:
        SettingsError: it cannot be read, or a line is not 96 bytes in base64.
    """
    try:
        keys = [base64.b64decode(line, validate=True) for line in path.read_bytes().split()]
    except (OSError, binascii.Error):
        keys = []
    if not keys or any(len(key) != _MASTER_KEY_BYTES for key in keys):
        raise SettingsError("VOLTBUS_FIELD_KEY_FILE must be a file with 96 bytes in base64")
    return keys
