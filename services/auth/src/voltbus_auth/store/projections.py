"""What other services own, as auth needs it: agreements and stations, newest revision only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from voltbus_auth.domain.coverage import Coverage, coverage_of, needed
from voltbus_auth.domain.places import Place, place_of
from voltbus_backbone.contract.agreements import AgreementSnapshot
from voltbus_backbone.contract.stations import StationState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from voltbus_backbone.store import Collection as Documents
    from voltbus_backbone.store import Database, Document, Reachable

M = TypeVar("M")
V = TypeVar("V")

_DUPLICATE = 11000
_REMEMBERED = 20_000
_encode = msgspec.json.encode


class _Decoded(Generic[M, V]):
    """Decoded snapshots by id and revision: decoding is most of what a look-up costs."""

    def __init__(self, kind: type[M], prepare: Callable[[M], V]) -> None:
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(kind)
        self._prepare: Callable[[M], V] = prepare
        self._known: dict[str, tuple[int, bytes, V]] = {}

    def of(self, document: Document) -> V:
        name, revision, data = document["_id"], document["revision"], document["data"]
        known = self._known.get(name)
        if known is not None and known[0] == revision and known[1] == data:
            return known[2]
        value = self._prepare(self._decoder.decode(data))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[name] = (revision, data, value)
        return value


class ProjectionStore:
    """Agreements and stations, as `handlers.ports` ask for them."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._agreements = database["agreements"]
        self._stations = database["stations"]
        self._credentials = database["credentials"]
        self._reachable = reachable
        self._coverages: _Decoded[AgreementSnapshot, Coverage] = _Decoded(
            AgreementSnapshot, coverage_of
        )
        self._places: _Decoded[StationState, Place] = _Decoded(StationState, place_of)

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._agreements.create_index("tokens")

    async def coverages(self, token_refs: Collection[str]) -> dict[str, list[Coverage]]:
        """The agreements that name these tokens."""
        if not token_refs:
            return {}
        query = {"tokens": {"$in": list(token_refs)}}
        with self._reachable.watching():
            documents = await self._agreements.find(query).to_list(None)
        return self.coverages_in(documents)

    def coverages_in(self, documents: Iterable[Document]) -> dict[str, list[Coverage]]:
        """Stored agreements by the tokens they name."""
        found: dict[str, list[Coverage]] = {}
        for document in sorted(documents, key=lambda one: str(one["_id"])):
            coverage = self._coverages.of(document)
            for ref in document["tokens"]:
                found.setdefault(ref, []).append(coverage)
        return found

    async def places(self, station_ids: Collection[str]) -> dict[str, Place]:
        """The stations that config has told of."""
        if not station_ids:
            return {}
        query = {"_id": {"$in": list(station_ids)}, "removed_at": None}
        with self._reachable.watching():
            documents = await self._stations.find(query).to_list(None)
        return self.places_in(documents)

    def places_in(self, documents: Iterable[Document]) -> dict[str, Place]:
        """Stored stations by id."""
        return {document["_id"]: self._places.of(document) for document in documents}

    async def registered(self, station_ids: Collection[str]) -> set[str]:
        """Those of the stations that config has told of."""
        query = {"_id": {"$in": list(station_ids)}, "removed_at": None}
        with self._reachable.watching():
            documents = await self._stations.find(query, {"_id": 1}).to_list(None)
        return {document["_id"] for document in documents}

    async def put_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        """Store each unless a newer revision is there."""
        await write_unless_newer(
            self._agreements,
            self._reachable,
            [
                UpdateOne(
                    {"_id": one.id, "revision": {"$lt": one.revision}},
                    {
                        "$set": {
                            "revision": one.revision,
                            "tokens": [token.ref for token in one.tokens],
                            "data": _encode(needed(one)),
                        }
                    },
                    upsert=True,
                )
                for one in snapshots
            ],
        )

    async def drop_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        """Forget these; an older snapshot that comes late must not bring them back."""
        await write_unless_newer(
            self._agreements,
            self._reachable,
            [
                UpdateOne(
                    {"_id": one.id, "revision": {"$lte": one.revision}},
                    {"$set": {"revision": one.revision, "tokens": []}, "$unset": {"data": ""}},
                    upsert=True,
                )
                for one in snapshots
            ],
        )

    async def put_stations(self, states: Sequence[StationState]) -> None:
        """Store each unless a newer revision is there; one that was removed begins anew."""
        await write_unless_newer(
            self._stations,
            self._reachable,
            [
                UpdateOne(
                    {
                        "_id": one.station_id,
                        "$or": [
                            {"removed_at": None, "revision": {"$lt": one.revision}},
                            {"removed_at": {"$lt": one.at}},
                        ],
                    },
                    {
                        "$set": {
                            "revision": one.revision,
                            "at": one.at,
                            "removed_at": None,
                            "data": _encode(one),
                        }
                    },
                    upsert=True,
                )
                for one in states
            ],
        )

    async def drop_stations(self, removed: Mapping[str, datetime]) -> None:
        """Forget these stations and their credentials, unless either is newer than the removal."""
        await write_unless_newer(
            self._stations,
            self._reachable,
            [
                UpdateOne({"_id": station_id, "at": {"$lte": at}}, {"$set": {"removed_at": at}})
                for station_id, at in removed.items()
            ],
        )
        with self._reachable.watching():
            for station_id, at in removed.items():
                await self._credentials.delete_one({"_id": station_id, "updated_at": {"$lte": at}})


async def write_unless_newer(
    collection: Documents, reachable: Reachable, steps: Sequence[Any]
) -> None:
    """In bulk. A duplicate means that the stored revision is newer: nothing to do."""
    with reachable.watching():
        try:
            await collection.bulk_write(steps, ordered=False)
        except BulkWriteError as error:
            details: Document = error.details  # type: ignore[assignment]  # a plain dict
            if any(one["code"] != _DUPLICATE for one in details["writeErrors"]):
                raise
