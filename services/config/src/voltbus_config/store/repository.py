"""Repositories: a collection of one kind of value, found by id."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from voltbus_backbone.mongo.rest_store import find_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_backbone.mongo.store import Collection
    from voltbus_backbone.rest.conventions import Paging

_DUPLICATE = 11000


class HasId(Protocol):
    """A value with an id, stored as ``_id``."""

    @property
    def id(self) -> str:
        """Return the id."""
        ...


class HasRevision(HasId, Protocol):
    """A value that counts its writes."""

    @property
    def revision(self) -> int:
        """Return how often it was written."""
        ...


T = TypeVar("T", bound=HasId)
R = TypeVar("R", bound=HasRevision)


def to_document(value: Any) -> dict[str, Any]:
    """Convert a value to a MongoDB document; its times stay times."""
    result: dict[str, Any] = msgspec.to_builtins(value, builtin_types=(datetime, bytes))
    return result


class Repository(Generic[T]):
    """Values of one type in one collection."""

    def __init__(self, collection: Collection, kind: type[T]) -> None:
        self.collection = collection
        self._kind = kind

    def read(self, found: Mapping[str, Any]) -> T:
        """Convert a document to a value."""
        return msgspec.convert(found, self._kind)

    async def get(
        self, ids: Iterable[str], session: AsyncIOMotorClientSession | None = None
    ) -> dict[str, T]:
        """Return those that exist, by id, in one query."""
        wanted = list(set(ids))
        if not wanted:
            return {}
        if len(wanted) == 1:
            return await self.find_matching({"_id": wanted[0]}, session)
        return await self.find_matching({"_id": {"$in": wanted}}, session)

    async def find(self, id: str, session: AsyncIOMotorClientSession | None = None) -> T | None:  # noqa: A002 - its name everywhere
        """Return the value with this id, or None."""
        return (await self.get([id], session)).get(id)

    async def find_matching(
        self, query: dict[str, Any], session: AsyncIOMotorClientSession | None = None
    ) -> dict[str, T]:
        """Return all that match a MongoDB query, by id."""
        cursor = self.collection.find(query, session=session)
        return {found["_id"]: self.read(found) for found in await cursor.to_list(None)}

    async def put(
        self, values: Iterable[T], session: AsyncIOMotorClientSession | None = None
    ) -> None:
        """Replace or insert them, in one bulk write and in this order."""
        writes = [
            ReplaceOne({"_id": value.id}, to_document(value), upsert=True) for value in values
        ]
        if writes:
            await self.collection.bulk_write(writes, ordered=True, session=session)

    async def remove(
        self, ids: Sequence[str], session: AsyncIOMotorClientSession | None = None
    ) -> None:
        """Delete them."""
        await self.collection.delete_many({"_id": {"$in": list(ids)}}, session=session)

    async def page(
        self, query: dict[str, Any], paging: Paging, *, by: str = "created_at"
    ) -> tuple[list[T], bool]:
        """Return a page of what matches, in the order of a field; and whether there is more."""
        found, more = await find_page(self.collection, query, paging, by=by)
        return [self.read(each) for each in found], more

    async def put_if_unchanged(self, values: Sequence[tuple[T, int]]) -> bool:
        """Write each whose stored revision is still the given one (0: there is none yet).

        Returns whether all were written; some may have been when it is False.
        """
        if not values:
            return True
        writes = [
            ReplaceOne(
                {"_id": value.id, "revision": revision or {"$exists": False}},
                to_document(value),
                upsert=revision == 0,
            )
            for value, revision in values
        ]
        try:
            result = await self.collection.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            if all(each["code"] == _DUPLICATE for each in error.details["writeErrors"]):
                return False
            raise
        return result.matched_count + result.upserted_count == len(values)
