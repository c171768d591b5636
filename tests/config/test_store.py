"""What the store promises when replicas work at the same time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from config.config_examples import NOW
from voltbus_backbone.errors import Unavailable
from voltbus_config.domain.connections import Presence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from config.conftest import Replica
    from voltbus_config.store import Session

pytestmark = pytest.mark.stack
LEASE = timedelta(seconds=30)
LATER = NOW + timedelta(seconds=40)


async def test_a_mark_is_never_lost_to_a_look_that_began_before_it(replica: Replica) -> None:
    """The look meets a conflict and begins again, also where an earlier time stood already."""
    store = replica.store
    await store.schedule.mark_due({"CS-1": NOW})
    looks = 0

    async def look(session: Session) -> None:
        nonlocal looks
        looks += 1
        await store.stations.find("CS-1", session)  # the snapshot is taken
        if looks == 1:
            await store.schedule.mark_due({"CS-1": NOW + LEASE})
        await store.schedule.reschedule({"CS-1": None}, session)

    await store.transact(look)
    assert looks == 2


@pytest.mark.parametrize("after", [None, NOW, LATER])
@pytest.mark.parametrize("meanwhile", [None, NOW, LATER])
@pytest.mark.parametrize("before", [None, NOW])
async def test_of_two_looks_at_once_one_begins_again(
    replica: Replica, before: datetime | None, meanwhile: datetime | None, after: datetime | None
) -> None:
    """Neither has seen what the other brought: a queued command, or the end of the last one."""
    store = replica.store
    if before is not None:
        await store.schedule.mark_due({"CS-1": before})
    looks = 0

    async def look(session: Session) -> None:
        nonlocal looks
        looks += 1
        await store.stations.find("CS-1", session)  # the snapshot is taken
        if looks == 1:
            await store.transact(
                lambda other: store.schedule.reschedule({"CS-1": meanwhile}, other)
            )
        await store.schedule.reschedule({"CS-1": after}, session)

    await store.transact(look)
    assert looks == 2
    due = await store.schedule.take_due(LATER, LEASE, 10)
    assert due == ([] if after is None else ["CS-1"])


async def test_what_is_taken_and_left_is_due_again_after_its_lease(replica: Replica) -> None:
    """A replica that dies leaves its stations to the others."""
    store = replica.store
    await store.schedule.mark_due({"CS-1": NOW, "CS-2": NOW + LEASE})
    assert await store.schedule.take_due(NOW, LEASE, 10) == ["CS-1"]
    assert await store.schedule.take_due(NOW, LEASE, 10) == []
    assert sorted(await store.schedule.take_due(NOW + LEASE, LEASE, 10)) == ["CS-1", "CS-2"]


async def test_two_writers_of_a_connection_do_not_undo_each_other(replica: Replica) -> None:
    """Only who read the last revision may write; the other one is told."""
    presence = replica.store.presence
    first = Presence(id="CS-1", revision=1)
    assert await presence.put_if_unchanged([(first, 0)])
    assert not await presence.put_if_unchanged([(first, 0)])
    second = Presence(id="CS-1", revision=2, last_seen=NOW)
    assert await presence.put_if_unchanged([(second, 1)])
    assert not await presence.put_if_unchanged([(second, 1)])
    assert await presence.find("CS-1") == second


async def test_work_on_the_same_station_at_once_is_done_one_after_the_other(
    replica: Replica, make_replica: Callable[..., Awaitable[Replica]]
) -> None:
    """Settings, boots and changes from two replicas: nothing is lost, nobody is turned away."""
    other = await make_replica()
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await asyncio.gather(
        *(
            each.client.patch("/v1/stations/CS-1", json={"metadata": {f"m{number}": "1"}})
            for number, each in enumerate([replica, other] * 4)
        ),
        *(
            each.set("CS-1", keys={"A": str(number)})
            for number, each in enumerate([replica, other])
        ),
        *(each.boot("CS-1") for each in (replica, other)),
    )
    assert len((await replica.station("CS-1"))["metadata"]) == 8
    first = await replica.call("CS-1", "ChangeConfiguration")
    await replica.end(first, {"status": "Accepted"})
    wanted = (await replica.settings("CS-1"))["keys.A"]["wanted"]
    assert replica.calls("CS-1")[-1].payload == {"key": "A", "value": wanted}


async def test_contention_without_end_is_said_to_be_unavailable(replica: Replica) -> None:
    """The consumer then tries the batch again; REST answers 503."""
    store = replica.store
    await store.schedule.mark_due({"CS-1": NOW})

    async def hopeless(session: Session) -> None:
        await store.stations.find("CS-1", session)
        await store.schedule.mark_due({"CS-1": NOW})
        await store.schedule.reschedule({"CS-1": None}, session)

    with pytest.raises(Unavailable, match="too many changes"):
        await store.transact(hopeless)
