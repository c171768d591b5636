"""What is over is forgotten, by MongoDB itself (docs/operations.md: how long things are kept)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from mongod_clock import forget_by_itself
from operating import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus.embedded.stack import Stack

Client = AsyncMongoClient[dict[str, Any]]

pytestmark = pytest.mark.stack

OVER = datetime(2000, 1, 1, tzinfo=UTC)
NOT_YET = datetime(9999, 1, 1, tzinfo=UTC)
EXPIRING = {
    ("auth", "audit", "expires_at"),
    ("auth", "certificate_applications", "forget_at"),
    ("auth", "decisions", "forgotten_at"),
    ("auth", "external_answers", "until"),
    ("auth", "idempotency_keys", "expires_at"),
    ("config", "audit", "expires_at"),
    ("config", "commands", "ended_at"),
    ("config", "idempotency_keys", "expires_at"),
    ("config", "reservations", "ended_at"),
    ("agreements", "audit", "expires_at"),
    ("agreements", "idempotency_keys", "expires_at"),
}


@pytest_asyncio.fixture(loop_scope="session")
async def client(stack: Stack) -> AsyncIterator[Client]:
    """A connection to the stack's MongoDB, which forgets as long as it is open."""
    found: Client = AsyncMongoClient(stack.mongo_uri())
    async with found:
        await forget_by_itself(stack.mongo_uri(), on=True)
        yield found
        await forget_by_itself(stack.mongo_uri(), on=False)


async def test_what_is_over_is_forgotten(stack: Stack, client: Client) -> None:
    """In every collection that the services let expire, the old goes and what has time stays."""
    databases = {name: client[stack.database(name)] for name in ("auth", "config", "agreements")}
    assert {
        (service, name, index["key"][0][0])
        for service, database in databases.items()
        for name in await database.list_collection_names()
        for index in (await database[name].index_information()).values()
        if "expireAfterSeconds" in index
    } == EXPIRING
    collections = [(databases[service][name], field) for service, name, field in EXPIRING]
    mine = {"_id": {"$in": ["over", "not yet"]}}
    try:
        for collection, field in collections:
            # A number of their own: no two reservations of a station have the same.
            marks = [
                {"_id": "over", "number": 1, field: OVER},
                {"_id": "not yet", "number": 2, field: NOT_YET},
            ]
            await collection.insert_many(marks)
        for collection, _ in collections:
            await until(partial(collection.distinct, "_id", mine), lambda left: len(left) < 2)
            assert await collection.distinct("_id", mine) == ["not yet"]
    finally:
        for collection, _ in collections:
            await collection.delete_many(mine)
