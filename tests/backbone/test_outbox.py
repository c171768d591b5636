"""Events that commit together with the state they tell of, on real MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from bson import ObjectId
from bson.timestamp import Timestamp
from pydantic import SecretStr

from mongod_clock import place_earlier
from voltbus_backbone.bounds import RECORD_BYTES
from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.mongo.outbox import Outbox
from voltbus_backbone.mongo.store import MongoKeyStore, open_database, transaction
from voltbus_backbone.rest.conventions import StoredAnswer
from voltbus_backbone.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.stack


@pytest_asyncio.fixture(loop_scope="session")
async def database(mongo_uri: str, database_name: str) -> AsyncIterator[Any]:
    """A database of this test's own."""
    settings = StoreSettings(
        http_port=0, mongo_uri=SecretStr(mongo_uri), mongo_database=database_name
    )
    opened = await open_database(settings)
    yield opened
    await opened.client.drop_database(database_name)
    opened.client.close()


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def record(key: str, number: int) -> Record:
    return Record("tokens.events", key.encode(), str(number).encode(), [("ce_id", b"1")])


def values(bus: MemoryBus) -> list[bytes | None]:
    return [stored.value for stored in bus.records("tokens.events")]


async def outbox_of(database: Any, bus: MemoryBus, owner: str) -> Outbox:
    outbox = Outbox(database["outbox"], bus, owner, Topic.AUTH_DEAD_LETTER)
    await outbox.prepare()
    return outbox


async def test_records_leave_in_the_order_of_their_changes(database: Any) -> None:
    """The relay publishes what committed, in order, once, and keeps nothing."""
    bus = MemoryBus()
    outbox = await outbox_of(database, bus, "a")
    for number in range(5):
        async with transaction(database) as session:
            await database["things"].insert_one({"n": number}, session=session)
            await outbox.add([record("k", number)], session=session)
    assert await outbox.relay() == 5
    assert await outbox.relay() == 0
    assert values(bus) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_change_that_does_not_commit_tells_nothing(database: Any) -> None:
    """State and event commit together, or neither does (rules D)."""
    bus = MemoryBus()
    outbox = await outbox_of(database, bus, "a")

    async def change_and_fail() -> None:
        async with transaction(database) as session:
            await database["things"].insert_one({"n": 1}, session=session)
            await outbox.add([record("k", 1)], session=session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert await outbox.relay() == 0
    assert await database["things"].count_documents({}) == 0


async def test_what_a_dead_process_left_is_sent_by_another(database: Any) -> None:
    """A process killed between commit and send loses nothing: a neighbour adopts its records."""
    bus = MemoryBus()
    dead = await outbox_of(database, bus, "dead")
    await dead.add([record("k", 1)])
    other = await outbox_of(database, bus, "other")
    assert await other.relay() == 0
    await place_earlier(database["outbox"], 60)
    assert await other.relay() == 1
    assert values(bus) == [b"1"]


async def test_a_newer_record_waits_for_an_older_one_of_its_key(database: Any) -> None:
    """Two replicas change one thing in turn: the second's record does not overtake the first's."""
    bus = MemoryBus()
    first = await outbox_of(database, bus, "first")
    second = await outbox_of(database, bus, "second")
    await first.add([record("k", 1)])
    await second.add([record("k", 2), record("other", 3)])
    assert await second.relay() == 1
    assert await first.relay() == 1
    assert await second.relay() == 1
    assert values(bus) == [b"3", b"1", b"2"]


async def test_the_order_is_the_server_s_and_no_clock_s(database: Any) -> None:
    """A record that came first leaves first, though its writer's clock is an hour ahead."""
    bus = MemoryBus()
    outbox = await outbox_of(database, bus, "a")
    await outbox.add([record("k", 1)])
    early = await database["outbox"].find_one_and_delete({})
    ahead = ObjectId.from_datetime(datetime.now(UTC) + timedelta(hours=1))
    await database["outbox"].insert_one({**early, "_id": ahead, "placed": Timestamp(0, 0)})
    await outbox.add([record("k", 2), record("k", 3)])
    while await outbox.relay():
        pass
    assert values(bus) == [b"1", b"2", b"3"]


async def test_nothing_is_removed_that_kafka_has_not_stored(database: Any) -> None:
    """While Kafka is away the records stay, and leave when it is back."""
    bus = MemoryBus()
    outbox = await outbox_of(database, bus, "a")
    await outbox.add([record("k", 1)])
    bus.broken = True
    with pytest.raises(Unavailable):
        await outbox.relay()
    bus.broken = False
    assert await outbox.relay() == 1


async def test_a_record_too_large_for_kafka_leaves_as_a_letter_and_holds_nobody_up(
    database: Any,
) -> None:
    """Its portion is not repeated for ever: the others are published, and nothing is kept."""
    bus = MemoryBus()
    outbox = await outbox_of(database, bus, "a")
    big = Record("tokens.events", b"k", b"x" * RECORD_BYTES, [("ce_id", b"big")])
    await outbox.add([record("k", 1), big, record("k", 2)])
    assert await outbox.relay() == 3
    assert await outbox.relay() == 0
    assert values(bus) == [b"1", b"2"]
    (letter,) = bus.records("auth.dead-letter")
    assert letter.value is None
    assert ("ce_id", b"big") in letter.headers


async def test_idempotency_keys_are_claimed_once(database: Any) -> None:
    """Of two claims of one key one wins; the other sees who has it, and later the answer."""
    keys = MongoKeyStore(database["keys"])
    await keys.prepare()
    assert await keys.claim("k", "f") is None
    held = await keys.claim("k", "g")
    assert held is not None
    assert (held.fingerprint, held.status) == ("f", None)
    await keys.finish("k", StoredAnswer("f", 201, b"{}", {"Location": "/x"}))
    done = await keys.claim("k", "f")
    assert done == StoredAnswer("f", 201, b"{}", {"Location": "/x"})
    await keys.release("k")
    assert await keys.claim("k", "f") is None


async def test_a_claim_of_a_dead_process_lapses(database: Any) -> None:
    """Killed between claim and answer: after a minute the same request may try its key again."""
    clock = Clock()
    keys = MongoKeyStore(database["lapsing"], now=clock)
    assert await keys.claim("k", "f") is None
    assert await keys.claim("k", "f") is not None
    clock.time += timedelta(seconds=61)
    assert await keys.claim("k", "other") is not None
    assert await keys.claim("k", "f") is None
