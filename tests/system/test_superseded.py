"""A station that crashes while it charges holds its driver nowhere (ADR 0014)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operating import until
from voltbus.simulator import Surroundings

if TYPE_CHECKING:
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


class Clock:
    """The clock of the station that crashes: an hour ago at first."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC) - timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.time


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
async def test_a_crash_in_the_middle_of_a_charge(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """Started, gone, back with a boot and Available: superseded, and the driver starts elsewhere.

    Its own stop, an hour late, ends it as ever.
    """
    (here, password), (there, other) = await operator.station(), await operator.station()
    token, _ = await operator.token(max_concurrent=1)
    clock = Clock()
    around = Surroundings(now=clock)
    async with operator.connected(protocol, here, password, surroundings=around) as station:
        await station.boot()
        transaction = await station.start(token, 1, 1000)
        assert transaction.status == "Accepted"
    async with operator.connected(protocol, there, other) as elsewhere:
        await elsewhere.boot()
        refused = await elsewhere.start(token, 1, 0)
        assert refused.status != "Accepted"
        await elsewhere.stop(refused, 0)
    clock.time += timedelta(minutes=30)
    async with operator.connected(protocol, here, password, surroundings=around) as station:
        await station.boot()
        await station.status(1, "Available")

        async def doubts() -> Any:
            params = {"station_id": here}
            listed = await operator.done("GET", "auth", "/v1/transactions", params=params)
            return listed["data"][0]["doubts"]

        await until(doubts, lambda found: "superseded" in found)
        async with operator.connected(protocol, there, other) as elsewhere:
            assert (await elsewhere.authorize(token)).status == "Accepted"
            accepted = await elsewhere.start(token, 1, 0)
            assert accepted.status == "Accepted"
            await elsewhere.stop(accepted, 10)
        await station.stop(transaction, 3000)
        (ended,) = await subscriber.wait_for("transaction.ended", station_id=here)
    assert (ended.state, ended.energy_wh, ended.doubts) == ("ended", 2000, ())
