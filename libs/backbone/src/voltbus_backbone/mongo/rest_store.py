"""What a service's database keeps for its REST interface: pages, idempotency keys, the audit."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from voltbus_backbone.errors import Problem
from voltbus_backbone.mongo.store import MongoKeyStore, translating
from voltbus_backbone.rest.audit import Change
from voltbus_backbone.rest.conventions import Idempotency, SortedPaging

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection as Values

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_backbone.mongo.store import Collection, Database, Document
    from voltbus_backbone.rest.audit import AuditQuery
    from voltbus_backbone.rest.conventions import Paging

_FIELDS = tuple(each.name for each in fields(Change) if each.name != "resource")
_FILTERS = ("by", "client", "method", "route", "status")


async def find_page(
    collection: Collection,
    query: Document,
    paging: Paging,
    *,
    by: str = "created_at",
    edge: Any = None,
    projection: Document | None = None,
) -> tuple[list[Document], bool]:
    """A page of a list in the order of a field, and whether more follow in its direction.

    Cursors are ids, or ``edge`` is the one cursor's value in a field without equals. Lists that can
    be sorted have the newest first unless asked otherwise, all others ascend. Among equals the id
    decides.

    Raises:
        Problem: 422, the cursor names nothing in this collection.
    """
    backwards = paging.ending_before is not None
    descends = isinstance(paging, SortedPaging) and paging.newest_first
    direction = -1 if descends != backwards else 1
    cursor = paging.starting_after or paging.ending_before
    with translating():
        parts = [query]
        if cursor is not None:
            sign = "$gt" if direction > 0 else "$lt"
            if by == "_id" or edge is not None:
                parts.append({by: {sign: cursor if edge is None else edge}})
            else:
                parts.append(await _beyond(collection, cursor, by, sign))
        order = [("_id", direction)] if by == "_id" else [(by, direction), ("_id", direction)]
        found = await (
            collection.find({"$and": parts}, projection)
            .sort(order)
            .limit(paging.limit + 1)
            .to_list(paging.limit + 1)
        )
    documents = found[: paging.limit]
    return (documents[::-1] if backwards else documents), len(found) > paging.limit


async def _beyond(collection: Collection, cursor: str, by: str, sign: str) -> Document:
    found = await collection.find_one({"_id": cursor}, {by: 1})
    if found is None:
        raise Problem(422, "invalid-request", "The cursor names nothing in this list.")
    value = found.get(by)
    return {"$or": [{by: {sign: value}}, {by: value, "_id": {sign: cursor}}]}


class MongoAudit:
    """Who changed what over REST, for so many days."""

    def __init__(self, collection: Collection, kept: timedelta) -> None:
        self._collection = collection
        self._kept = kept
        self._numbers = itertools.count()
        self._mark = secrets.token_hex(4)

    async def prepare(self) -> None:
        """Create the index that forgets."""
        with translating():
            await self._collection.create_index("expires_at", expireAfterSeconds=0)
            await self._collection.create_index([("by", 1), ("_id", 1)])

    async def add(self, change: Change) -> None:
        """Keep one."""
        document: Document = {
            "_id": self._new_id(change.at),
            **asdict(change),
            # As a list, because a name could not be a field's (a dot) and is looked up by value.
            "resource": [[name, value] for name, value in change.resource.items()],
            "values": list(change.resource.values()),
            "expires_at": change.at + self._kept,
        }
        with translating():
            await self._collection.insert_one(document)

    def _new_id(self, at: datetime) -> str:
        """Ids that grow with time, and within a millisecond with their number."""
        number = next(self._numbers) & 0xFFFFFF
        return f"{int(at.timestamp() * 1000):012x}{number:06x}{self._mark}"

    async def page(
        self, query: AuditQuery, paging: Paging
    ) -> tuple[list[tuple[str, Change]], bool]:
        """Some of them, the newest first unless asked."""
        given = {name: getattr(query, name) for name in _FILTERS}
        wanted: Document = {name: value for name, value in given.items() if value is not None}
        if query.resource is not None:
            wanted["values"] = query.resource
        bounds = {"$gte": query.since, "$lt": query.until}
        window = {sign: value for sign, value in bounds.items() if value is not None}
        if window:
            wanted["at"] = window
        found, more = await find_page(self._collection, wanted, paging, by="_id")
        return [(document["_id"], _change(document)) for document in found], more

    async def forget(
        self, values: Values[str], session: AsyncIOMotorClientSession | None = None
    ) -> None:
        """Cross out what these values name, such as a person's token."""
        await self._collection.update_many(
            {"values": {"$in": list(values)}},
            {"$set": {"resource": [], "values": []}},
            session=session,
        )


def _change(document: Document) -> Change:
    known = {name: document[name] for name in _FIELDS}
    return Change(resource=dict(document["resource"]), **known)


class RestStore:
    """What a service's database keeps for its REST interface.

    ``secret`` is mixed into what is kept of a request; a service whose requests hold id tokens has
    one.
    """

    def __init__(
        self,
        database: Database,
        *,
        audit_days: int,
        secret: bytes = b"",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = MongoKeyStore(database["idempotency_keys"], now=now)
        self.idempotency = Idempotency(self._keys, secret)
        self.audit = MongoAudit(database["audit"], timedelta(days=audit_days))

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._keys.prepare()
        await self.audit.prepare()
