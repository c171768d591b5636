"""Station credentials: verifiers only, never a password."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from voltbus_auth.credentials.store.documents import credentials_document, credentials_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from voltbus_auth.credentials.domain.credentials import Credentials
    from voltbus_backbone.mongo.store import Database, Document, Reachable


class CredentialStore:
    """One document per station."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._credentials = database["credentials"]
        self._reachable = reachable

    async def credentials(self, station_ids: Collection[str]) -> dict[str, Credentials]:
        """Those that exist."""
        query = {"_id": {"$in": list(station_ids)}}
        with self._reachable.watching():
            documents = await self._credentials.find(query).to_list(None)
        return {document["_id"]: credentials_of(document) for document in documents}

    async def put(self, credentials: Credentials) -> Credentials | None:
        """Store; the next revision is given here. None while a rotation or upgrade is open."""
        document = credentials_document(replace(credentials, revision=0, change_id=None))
        del document["revision"]
        try:
            with self._reachable.watching():
                stored = await self._credentials.find_one_and_update(
                    {"_id": credentials.station_id, "change_id": None},
                    {"$set": document, "$inc": {"revision": 1}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            return None
        return credentials_of(stored)

    async def delete(self, station_id: str) -> bool:
        """Forget; whether there were any."""
        with self._reachable.watching():
            result = await self._credentials.delete_one({"_id": station_id})
        return bool(result.deleted_count)

    async def keep_newest(self, station_id: str, at: datetime) -> Credentials | None:
        """End a rotation by hand: only the newest verifier stays.

        None when there are none, or while a rotation or upgrade is open.
        """
        with self._reachable.watching():
            stored: Document | None = await self._credentials.find_one_and_update(
                {"_id": station_id, "change_id": None},
                [
                    {
                        "$set": {
                            "verifiers": {"$slice": ["$verifiers", 1]},
                            "updated_at": at,
                            "revision": {"$add": ["$revision", 1]},
                        }
                    }
                ],
                return_document=ReturnDocument.AFTER,
            )
        return credentials_of(stored) if stored is not None else None
