"""What begins and ends by itself, on real MongoDB: told once, however many replicas look (D)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agreements.conftest import NOW, TOPIC

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agreements.conftest import Replica

pytestmark = pytest.mark.stack


async def test_the_clock_begins_and_ends(replica: Replica) -> None:
    """Scheduled turns active at valid_from, active expires at valid_to, not a moment earlier."""
    begin, end = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    made = await replica.made(valid_from=begin.isoformat(), valid_to=end.isoformat())
    assert made["status"] == "scheduled"
    moment = timedelta(milliseconds=1)
    for time, count, status in (
        (begin - moment, 0, "scheduled"),
        (begin, 1, "active"),
        (end - moment, 0, "active"),
        (end, 1, "expired"),
        (end + timedelta(days=1), 0, "expired"),
    ):
        replica.hands.time = time
        assert await replica.scheduler.tick() == count
        assert (await replica.read(made["id"]))["status"] == status
    assert [event.type.split(".")[2] for event in await replica.told()] == [
        "created",
        "updated",
        "activated",
        "expired",
    ]


async def test_a_period_that_passed_unseen_is_told_in_full(replica: Replica) -> None:
    """After an outage an agreement whose whole period passed was active and is expired."""
    made = await replica.made(
        valid_from=(NOW + timedelta(hours=1)).isoformat(),
        valid_to=(NOW + timedelta(hours=2)).isoformat(),
    )
    replica.hands.time = NOW + timedelta(hours=3)
    assert await replica.scheduler.tick() == 2
    assert [event.type.split(".")[2] for event in (await replica.told())[-2:]] == [
        "activated",
        "expired",
    ]
    assert (await replica.read(made["id"]))["revision"] == 4


async def test_a_suspended_agreement_expires(replica: Replica) -> None:
    """Suspension does not stop the clock."""
    made = await replica.made(valid_to=(NOW + timedelta(hours=1)).isoformat())
    await replica.client.post(f"/v1/agreements/{made['id']}/suspend")
    replica.hands.time = NOW + timedelta(hours=1)
    await replica.scheduler.tick()
    assert (await replica.read(made["id"]))["status"] == "expired"


async def test_clocks_of_several_replicas_do_each_thing_once(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Three clocks at the same moment: each transition happens once and is told once."""
    replicas = [await make_replica() for _ in range(3)]
    begin = (NOW + timedelta(hours=1)).isoformat()
    made = [await replicas[0].made(valid_from=begin) for _ in range(10)]
    replicas[0].hands.time = NOW + timedelta(hours=1)
    done = await asyncio.gather(*(replica.scheduler.tick() for replica in replicas))
    assert sum(done) == 10
    for replica in replicas:
        await replica.told()
    told = Counter(
        event.decode().id for event in replicas[0].bus.events(TOPIC) if "activated" in event.type
    )
    assert told == {agreement["id"]: 1 for agreement in made}


async def test_the_clock_sleeps_until_the_next_time(replica: Replica) -> None:
    """The next due time is the nearest beginning or end that is ahead."""
    assert await replica.store.next_due(NOW) is None
    end = NOW + timedelta(hours=3)
    await replica.made(valid_to=end.isoformat())
    assert await replica.store.next_due(NOW) == end
    begin = NOW + timedelta(hours=2)
    await replica.made(valid_from=begin.isoformat())
    assert await replica.store.next_due(NOW) == begin
    assert await replica.store.next_due(begin) == end


async def test_an_unreadable_agreement_does_not_stop_the_clock(replica: Replica) -> None:
    """One broken document is passed over; the others' time goes on."""
    begin = (NOW + timedelta(hours=1)).isoformat()
    broken = await replica.made(valid_from=begin)
    fine = await replica.made(valid_from=begin)
    await replica.database["agreements"].update_one(
        {"_id": broken["id"]}, {"$set": {"terms.kind": "unheard-of"}}
    )
    replica.hands.time = NOW + timedelta(hours=1)
    assert await replica.scheduler.tick() == 1
    assert (await replica.read(fine["id"]))["status"] == "active"


async def test_the_running_clock_wakes_for_a_new_agreement(replica: Replica) -> None:
    """A change over REST wakes the clock, so it does not oversleep what became due."""
    running = asyncio.create_task(replica.scheduler.run())
    try:
        made = await replica.made(valid_from=(NOW + timedelta(hours=1)).isoformat())
        replica.hands.time = NOW + timedelta(hours=1)
        replica.scheduler.wake()
        async with asyncio.timeout(60):
            while (await replica.read(made["id"]))["status"] != "active":
                pass  # each look is a round trip
    finally:
        running.cancel()
