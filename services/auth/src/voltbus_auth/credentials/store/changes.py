"""Rotations and upgrades, and how each station was last connected.

A change and the credentials that it touches are written in one transaction, each only if nobody
else wrote it since it was read: of two replicas that decide at once, one reads again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from pymongo import ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from voltbus_auth.credentials.domain.changes.change import OPEN, Change
from voltbus_auth.credentials.domain.changes.presence import Presence
from voltbus_auth.credentials.store.documents import credentials_document
from voltbus_auth.projections.store import write_unless_newer
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.mongo.rest_store import find_page
from voltbus_backbone.mongo.store import transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from voltbus_auth.credentials.domain.credentials import Credentials
    from voltbus_backbone.mongo.store import Collection as Documents
    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging

_OPEN = sorted(state.value for state in OPEN)
_LEASE = timedelta(seconds=15)
_MOST_CLAIMED = 50
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Move:
    """A change as it is to be, and the station's credentials where they change with it.

    Each is one revision above what was read.
    """

    change: Change
    credentials: Credentials | None = None


class OvertakenError(Exception):
    """Somebody else wrote it first: read again."""


class ChangeStore:
    """One document per change; those that ended stay as the record of who changed when."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._database = database
        self._changes = database["changes"]
        self._credentials = database["credentials"]
        self._presences = database["presences"]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._changes.create_index([("station_id", 1), ("_id", 1)])
            await self._changes.create_index([("kind", 1), ("state", 1), ("_id", 1)])
            await self._changes.create_index("due_at", sparse=True)
            await self._changes.create_index([("fleet_id", 1), ("state", 1)], sparse=True)

    # Changes.

    async def get(self, change_id: str) -> Change | None:
        """One of them."""
        with self._reachable.watching():
            found = await self._changes.find_one({"_id": change_id})
        return None if found is None else _change_of(found)

    async def concerned(
        self, change_ids: Collection[str], station_ids: Collection[str]
    ) -> list[Change]:
        """Those that are open and have one of these ids or stations."""
        query = {
            "state": {"$in": _OPEN},
            "$or": [
                {"_id": {"$in": list(change_ids)}},
                {"station_id": {"$in": list(station_ids)}},
            ],
        }
        with self._reachable.watching():
            found = await self._changes.find(query).to_list(None)
        return [_change_of(one) for one in found]

    async def page(self, query: Document, paging: Paging) -> tuple[list[Change], bool]:
        """Some of what matches, by id, which sorts by time; and whether there is more."""
        with self._reachable.watching():
            found, more = await find_page(self._changes, query, paging, by="_id")
        return [_change_of(one) for one in found], more

    async def start(self, move: Move) -> None:
        """Store a new change with its station's credentials, unless one is open already.

        Raises:
            OvertakenError: there is another open one, or the credentials were set meanwhile.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._start(move)
            except DuplicateKeyError:
                return  # it was committed, though the answer to an earlier try was lost
            except Unavailable:
                # Of two transactions at once the server ends one, as if it could not do it now.
                if not tries_left:
                    raise
            else:
                return

    async def _start(self, move: Move) -> None:
        assert move.credentials is not None  # noqa: S101 - a change begins with credentials
        with self._reachable.watching():
            async with transaction(self._database) as session:
                await self._changes.insert_one(_document(move.change), session=session)
                step = _credentials_step(move.credentials, None)
                await _all_or_none(self._credentials, [step], session)

    async def write(self, moves: Sequence[Move]) -> None:
        """Store changes that were read, and what they make of credentials, all or none.

        Raises:
            OvertakenError: one of them was written meanwhile.
        """
        changes = [
            ReplaceOne(
                {"_id": move.change.id, "revision": move.change.revision - 1},
                _document(move.change),
            )
            for move in moves
        ]
        credentials = [
            _credentials_step(move.credentials, move.change.id)
            for move in moves
            if move.credentials is not None
        ]
        with self._reachable.watching():
            async with transaction(self._database) as session:
                await _all_or_none(self._changes, changes, session)
                await _all_or_none(self._credentials, credentials, session)

    async def claim(self, now: datetime) -> list[Change]:
        """Those that somebody must look at now; for a while they are nobody else's."""
        claimed: list[Change] = []
        with self._reachable.watching():
            while len(claimed) < _MOST_CLAIMED:
                found: Document | None = await self._changes.find_one_and_update(
                    {"due_at": {"$lte": now}},
                    {"$set": {"due_at": now + _LEASE}},
                    sort=[("due_at", 1)],
                    return_document=ReturnDocument.BEFORE,
                )
                if found is None:
                    break
                claimed.append(_change_of(found))
        return claimed

    # Connections.

    async def seen(self, presences: Sequence[Presence], gone: Sequence[tuple[str, str]]) -> None:
        """Remember how stations came; ``gone``: (station, connection) of those that left."""
        steps: list[Any] = [
            UpdateOne(
                {"_id": one.id, "at": {"$lt": one.at}}, {"$set": _without_id(one)}, upsert=True
            )
            for one in presences
        ]
        if steps:
            await write_unless_newer(self._presences, self._reachable, steps)
        ended: list[Any] = [
            UpdateOne({"_id": station, "connection_id": connection}, {"$set": {"open": False}})
            for station, connection in gone
        ]
        if ended:
            await write_unless_newer(self._presences, self._reachable, ended)

    async def presences(self, station_ids: Collection[str]) -> dict[str, Presence]:
        """How these stations were last connected, of those that ever were."""
        with self._reachable.watching():
            found = await self._presences.find({"_id": {"$in": list(station_ids)}}).to_list(None)
        return {one["_id"]: msgspec.convert(one, Presence) for one in found}


def _credentials_step(credentials: Credentials, change_id: str | None) -> Any:
    """Unless they were written meanwhile, or belong to another change than this."""
    return UpdateOne(
        {
            "_id": credentials.station_id,
            "revision": credentials.revision - 1,
            "change_id": change_id,
        },
        {"$set": credentials_document(credentials)},
    )


async def _all_or_none(collection: Documents, steps: Sequence[Any], session: Any) -> None:
    if steps:
        result = await collection.bulk_write(steps, ordered=True, session=session)
        if result.matched_count != len(steps):
            raise OvertakenError


def _without_id(presence: Presence) -> Document:
    document = _document(presence)
    del document["_id"]
    return document


def _document(value: Change | Presence) -> Document:
    found: Document = msgspec.to_builtins(value, builtin_types=(datetime, bytes))
    return found


def _change_of(document: Document) -> Change:
    return msgspec.convert(document, Change)
