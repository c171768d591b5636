"""What other services own, as auth needs it: agreements and stations, newest revision only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from voltbus_auth.projections.domain.coverage import (
    EVERYWHERE,
    Coverage,
    coverage_of,
    needed,
    scope_keys,
)
from voltbus_auth.projections.domain.places import Place, place_of
from voltbus_backbone.contract.agreements import AgreementSnapshot, AgreementStatus
from voltbus_backbone.contract.stations import StationState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from voltbus_backbone.mongo.store import Collection as Documents
    from voltbus_backbone.mongo.store import Database, Document, Reachable

M = TypeVar("M")
V = TypeVar("V")

_DUPLICATE = 11000
_REMEMBERED = 20_000
_encode = msgspec.json.encode
_state_decoder = msgspec.json.Decoder(StationState)


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
    """Agreements and stations, as `projections.handlers.ports` ask for them."""

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
            await self._agreements.create_index("ever")
            await self._agreements.create_index([("where", 1), ("status", 1), ("_id", 1)])
            await self._stations.create_index("site_id", sparse=True)
            await self._add_what_lists_need()
            await self._add_sites()

    async def _add_what_lists_need(self) -> None:
        """Agreements that were stored before local lists were made of them."""
        steps = []
        async for document in self._agreements.find({"where": {"$exists": False}}):
            snapshot = None
            if "data" in document:
                snapshot = self._coverages.of(document).terms
            steps.append(
                UpdateOne(
                    {"_id": document["_id"], "revision": document["revision"]},
                    {"$set": {**_found_by(snapshot), "ever": document["tokens"]}},
                )
            )
        if steps:
            await self._agreements.bulk_write(steps, ordered=False)

    async def _add_sites(self) -> None:
        """Name the site of stations that were stored before they were found by it."""
        steps = []
        async for document in self._stations.find({"site_id": {"$exists": False}}):
            if "data" in document:
                site_id = _state_decoder.decode(document["data"]).site_id
                steps.append(
                    UpdateOne(
                        {"_id": document["_id"], "revision": document["revision"]},
                        {"$set": {"site_id": site_id}},
                    )
                )
        if steps:
            await self._stations.bulk_write(steps, ordered=False)

    async def stations_at(self, site_id: str) -> list[str]:
        """The stations at a site, by id."""
        query = {"site_id": site_id, "removed_at": None}
        with self._reachable.watching():
            documents = await self._stations.find(query, {"_id": 1}).sort("_id", 1).to_list(None)
        return [str(document["_id"]) for document in documents]

    async def tokens_covering(self, keys: Collection[str], most: int) -> list[str]:
        """Tokens of agreements that hold at one of these keys (``site:…``, ``station:…``).

        Active or suspended ones: a token of the latter may have to be listed as blocked. About
        ``most`` at most.
        """
        query = {
            "where": {"$in": [EVERYWHERE, *keys]},
            "status": {"$in": [AgreementStatus.ACTIVE.value, AgreementStatus.SUSPENDED.value]},
        }
        found: dict[str, None] = {}
        with self._reachable.watching():
            cursor = self._agreements.find(query, {"tokens": 1}).sort("_id", 1).limit(most + 1)
            async for document in cursor:
                found |= dict.fromkeys(document["tokens"])
                if len(found) > most:
                    break
        return list(found)

    async def reach(self, agreement_ids: Collection[str]) -> tuple[set[str], set[str]]:
        """The tokens that these agreements name or ever named, and where they hold."""
        refs: set[str] = set()
        where: set[str] = set()
        query = {"_id": {"$in": list(agreement_ids)}}
        with self._reachable.watching():
            async for document in self._agreements.find(query, {"ever": 1, "where": 1}):
                refs.update(document.get("ever", ()))
                where.update(document.get("where", ()))
        return refs, where

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

    async def members(self, *, group_id: str | None, site_id: str | None) -> list[str]:
        """The stations of a group or a site, by id. Reads all stations: not for the hot path."""
        name, wanted = ("site_id", site_id) if group_id is None else ("group_id", group_id)
        with self._reachable.watching():
            cursor = self._stations.find({"removed_at": None}).sort("_id", 1)
            return [
                str(document["_id"])
                async for document in cursor
                if getattr(_state_decoder.decode(document["data"]), name) == wanted
            ]

    async def forget_tokens(self, refs: Collection[str]) -> None:
        """These tokens were erased: that an agreement once named them is forgotten."""
        wanted = {"$in": list(refs)}
        with self._reachable.watching():
            await self._agreements.update_many({"ever": wanted}, {"$pull": {"ever": wanted}})

    async def put_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        """Store each unless a newer revision is there."""
        await write_unless_newer(
            self._agreements,
            self._reachable,
            [
                UpdateOne(
                    {"_id": one.id, "revision": {"$lt": one.revision}},
                    _with_ever(
                        {
                            "revision": one.revision,
                            "tokens": [token.ref for token in one.tokens],
                            "data": _encode(needed(one)),
                            **_found_by(one),
                        }
                    ),
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
                    [
                        *_with_ever({"revision": one.revision, "tokens": [], **_found_by(None)}),
                        {"$unset": "data"},
                    ],
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
                            "site_id": one.site_id,
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


def _found_by(snapshot: AgreementSnapshot | None) -> Document:
    """By what local lists find an agreement."""
    if snapshot is None:
        return {"where": [], "status": None}
    return {"where": scope_keys(snapshot), "status": snapshot.status.value}


def _with_ever(fields: Document) -> list[Document]:
    """Store these fields, and keep which tokens the agreement has ever named.

    Who has to be told of a change is told also where a token is named no more.
    """
    named: Document = {"$setUnion": [{"$ifNull": ["$ever", []]}, fields["tokens"]]}
    literal = {name: {"$literal": value} for name, value in fields.items()}
    return [{"$set": {**literal, "ever": named}}]


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
