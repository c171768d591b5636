"""Certificates that were made for stations a short while ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import ReturnDocument

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.store import Database, Reachable

_KEPT_S = 3600


class StationCertificateStore:
    """One document per signing request, for an hour: a resent one gets no second certificate."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._made = database["station_certificates"]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the index that forgets."""
        await self._made.create_index("at", expireAfterSeconds=_KEPT_S)

    async def keep(self, request_id: str, chain: str, at: datetime) -> str:
        """Keep the chain made for a request; the one that was first, if there is one."""
        with self._reachable.watching():
            kept = await self._made.find_one_and_update(
                {"_id": request_id},
                {"$setOnInsert": {"chain": chain, "at": at}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return str(kept["chain"])
