"""MongoDB as every service's store uses it: connection, errors, transactions, idempotency keys."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson import Int64
from bson.binary import STANDARD
from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern, errors
from pymongo.read_concern import ReadConcern

from voltbus_backbone.errors import SettingsError, Unavailable
from voltbus_backbone.rest.conventions import KEEP_KEYS_S, StoredAnswer
from voltbus_backbone.values.storable import NotStorableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from motor.motor_asyncio import (
        AsyncIOMotorClientSession,
        AsyncIOMotorCollection,
        AsyncIOMotorDatabase,
    )

    from voltbus_backbone.settings import StoreSettings

    Document = dict[str, Any]
    Collection = AsyncIOMotorCollection[Document]
    Database = AsyncIOMotorDatabase[Document]

_AWAY = (
    errors.ConnectionFailure,
    errors.ServerSelectionTimeoutError,
    errors.ExecutionTimeout,
    errors.WTimeoutError,
    errors.WaitQueueTimeoutError,
)
_LEASE = timedelta(seconds=60)


class _PlainInteger(TypeDecoder):
    """Read a 64-bit integer as an ``int``: bson's own ``Int64`` is one that no encoder takes."""

    bson_type = Int64

    def transform_bson(self, value: Any) -> int:
        """Give its plain value."""
        return int(value)


# How every store reads: plain Python values only, times in UTC. Collections and cursors of
# `open_database` have it; whoever reads past them (a command, `with_options`) must name it.
PLAIN: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=STANDARD,
    type_registry=TypeRegistry([_PlainInteger()]),
)
_NOT_NOW = frozenset({11600, 11602, 10107, 13435, 13436, 189, 91, 112, 251})


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Turn "MongoDB is not there now" into Unavailable; other errors pass."""
    try:
        yield
    except _AWAY as error:
        raise Unavailable(f"MongoDB does not answer: {type(error).__name__}") from error
    except OverflowError:
        # The interfaces check what comes in; this is for what they could not tell to be a number.
        raise NotStorableError("a number is out of the range of 64 bits") from None
    except errors.OperationFailure as error:
        if error.code in _NOT_NOW or error.has_error_label("TransientTransactionError"):
            raise Unavailable(f"MongoDB cannot do it now (code {error.code})") from error
        raise


async def open_database(settings: StoreSettings) -> Database:
    """Connect and be sure that the server answers.

    Writes wait for the majority and the journal, reads see what the majority has.

    Raises:
        SettingsError: the URI is malformed or the credentials are refused.
        Unavailable: no primary answers.
    """
    timeout_ms = int(settings.mongo_timeout_s * 1000)
    try:
        client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            settings.mongo_uri.get_secret_value(),
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            socketTimeoutMS=timeout_ms * 2,
            retryWrites=True,
            appname="voltbus",
        )
    except (errors.ConfigurationError, errors.InvalidURI):
        raise SettingsError(
            "VOLTBUS_MONGO_URI is not a MongoDB URI: mongodb://user:password@host:port/?replicaSet=rs0"
        ) from None
    database = client.get_database(
        settings.mongo_database,
        codec_options=PLAIN,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority"),
        read_preference=ReadPreference.PRIMARY,
    )
    with translating():
        try:
            await database.command("ping")
        except errors.OperationFailure as error:
            if error.code == 18:  # noqa: PLR2004 - MongoDB's AuthenticationFailed
                client.close()
                raise SettingsError(
                    "MongoDB refuses the user or password of VOLTBUS_MONGO_URI"
                ) from None
            raise
    return database


@contextlib.asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[AsyncIOMotorClientSession]:
    """A multi-document transaction: committed at the end, aborted on any error."""
    with translating():
        async with await database.client.start_session() as session, session.start_transaction():
            yield session


class Reachable:
    """A readiness check fed by what the store's calls meet."""

    def __init__(self) -> None:
        self._ok = True

    def __call__(self) -> bool:
        """Whether the last call got through."""
        return self._ok

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Translate errors and remember whether MongoDB was there."""
        try:
            with translating():
                yield
        except Unavailable:
            self._ok = False
            raise
        self._ok = True


class MongoKeyStore:
    """Idempotency keys in a collection that forgets them after a day."""

    def __init__(
        self, collection: Collection, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._collection = collection
        self._now = now

    async def prepare(self) -> None:
        """Create the index that forgets."""
        with translating():
            await self._collection.create_index("expires_at", expireAfterSeconds=0)

    async def claim(self, key: str, fingerprint: str) -> StoredAnswer | None:
        """Take the key, or tell who has it.

        A claim whose process died unfinished lapses after a minute: the same request may then be
        made again under its key.
        """
        now = self._now()
        entry = {
            "fingerprint": fingerprint,
            "claimed_at": now,
            "expires_at": now + timedelta(seconds=KEEP_KEYS_S),
        }
        lapsed = {"_id": key, "status": None, "claimed_at": {"$lt": now - _LEASE}}
        with translating():
            try:
                await self._collection.insert_one({"_id": key, **entry})
            except errors.DuplicateKeyError:
                taken = await self._collection.update_one(
                    {**lapsed, "fingerprint": fingerprint}, {"$set": entry}
                )
                if taken.modified_count:
                    return None
                found = await self._collection.find_one({"_id": key})
            else:
                return None
        if found is None:  # it was released in between: the first request failed
            return StoredAnswer(fingerprint)
        return StoredAnswer(
            found["fingerprint"],
            found.get("status"),
            found.get("body", b""),
            found.get("headers"),
        )

    async def finish(self, key: str, answer: StoredAnswer) -> None:
        """Keep the answer."""
        with translating():
            await self._collection.update_one(
                {"_id": key},
                {
                    "$set": {
                        "status": answer.status,
                        "body": answer.body,
                        "headers": answer.headers,
                    }
                },
            )

    async def release(self, key: str) -> None:
        """Give the key back."""
        with translating():
            await self._collection.delete_one({"_id": key})
