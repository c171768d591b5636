"""Stations' applications for certificates, from the request until the certificate has expired."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from pymongo import InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from voltbus_auth.station_certificates.domain.application import RENEWED, Application, State
from voltbus_auth.station_certificates.domain.requests import STATION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from voltbus_backbone.mongo.store import Database, Document, Reachable

_DUPLICATE = 11000


class ApplicationStore:
    """One document per application; it is forgotten at its own ``forget_at``."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._applications = database["certificate_applications"]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._applications.create_index("forget_at", expireAfterSeconds=0)
        await self._applications.create_index([("station_id", 1), ("asked_at", -1)])
        await self._applications.create_index([("not_after", 1), ("_id", 1)])

    async def load(
        self, ids: Collection[str], pending_of: Collection[str]
    ) -> tuple[dict[str, Application], Counter[str]]:
        """Those with these ids; and how many each of these stations has pending."""
        wanted: list[Document] = [{"_id": {"$in": list(ids)}}]
        if pending_of:
            pending = {"station_id": {"$in": list(pending_of)}, "state": State.PENDING.value}
            wanted.append(pending)
        found = await self._find({"$or": wanted})
        counts = Counter(one.station_id for one in found if one.state is State.PENDING)
        return {one.id: one for one in found if one.id in ids}, counts

    async def of_stations(self, station_ids: Collection[str]) -> dict[str, Application]:
        """Everything that is known of these stations, by id."""
        found = await self._find({"station_id": {"$in": list(station_ids)}})
        return {one.id: one for one in found}

    async def write(
        self, applications: Sequence[Application], loaded: Mapping[str, int]
    ) -> set[str]:
        """Store each unless it was changed since its loaded revision; the ids of those that were.

        What somebody else stored exactly alike counts as stored.
        """
        if not applications:
            return set()
        steps: list[InsertOne[Document] | ReplaceOne[Document]] = []
        for one in applications:
            document = _document(one)
            revision = loaded.get(one.id)
            if revision is None:
                steps.append(InsertOne(document))
            else:
                steps.append(ReplaceOne({"_id": one.id, "revision": revision}, document))
        with self._reachable.watching():
            try:
                result = await self._applications.bulk_write(steps, ordered=False)
            except BulkWriteError as error:
                details: Document = error.details  # type: ignore[assignment]  # a plain dict
                if any(one["code"] != _DUPLICATE for one in details["writeErrors"]):
                    raise
            else:
                if result.matched_count + result.inserted_count == len(steps):
                    return set()
        stored, _ = await self.load({one.id for one in applications}, ())
        return {one.id for one in applications if stored.get(one.id) != one}

    async def page(
        self,
        query: Document,
        *,
        limit: int,
        after: Application | None,
        before: Application | None,
    ) -> tuple[list[Application], bool]:
        """A page, the first to expire first, and whether there is more in its direction."""
        edge = after or before
        order = 1 if before is None else -1
        if edge is not None:
            sign = "$gt" if after is not None else "$lt"
            position = [
                {"not_after": {sign: edge.not_after}},
                {"not_after": edge.not_after, "_id": {sign: edge.id}},
            ]
            query = {"$and": [query, {"$or": position}]}
        chosen = await self._find(query, [("not_after", order), ("_id", order)], limit + 1)
        shown = chosen[:limit]
        if order == -1:
            shown.reverse()
        return shown, len(chosen) > limit

    async def expiring(
        self, before: datetime, looked_before: datetime, most: int
    ) -> list[Application]:
        """Certificates for log-in that end before a time and were not looked at since another."""
        query: Document = {
            "not_after": {"$lt": before},
            "state": {"$in": [state.value for state in RENEWED]},
            "type": STATION,
            # A document without the field matches None.
            "$or": [{"renewal_at": None}, {"renewal_at": {"$lte": looked_before}}],
        }
        return await self._find(query, [("not_after", 1), ("_id", 1)], most)

    async def find(self, application_id: str) -> Application | None:
        """One of them."""
        return (await self.load({application_id}, ()))[0].get(application_id)

    async def newest_of(self, station_id: str, most: int) -> list[Application]:
        """A station's own, the newest first."""
        return await self._find({"station_id": station_id}, [("asked_at", -1), ("_id", -1)], most)

    async def _find(
        self, query: Document, order: list[tuple[str, int]] | None = None, most: int = 0
    ) -> list[Application]:
        with self._reachable.watching():
            cursor = self._applications.find(query).limit(most)
            documents = await (cursor.sort(order) if order else cursor).to_list(None)
        return [msgspec.convert(document, Application) for document in documents]


def _document(application: Application) -> Document:
    document: Any = msgspec.to_builtins(application, builtin_types=(datetime,))
    return dict(document)
