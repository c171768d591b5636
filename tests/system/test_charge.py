"""A charge, from the plug to the public events and the agreement's usage."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operating import until
from voltbus.simulator import Surroundings

if TYPE_CHECKING:
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])


class Clock:
    """A station's clock, an hour ago: 5 kWh in no time at all would rightly be doubted."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC) - timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.time


@everywhere
async def test_from_the_plug_to_the_usage(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """One charge: one started, one ended with its energy, and the agreement counts it."""
    name, password = await operator.station()
    token, ref = await operator.token()
    agreement = await operator.agreement(ref)
    await subscriber.wait_for("agreement.activated", id=agreement)
    clock = Clock()
    around = Surroundings(now=clock)
    async with operator.connected(protocol, name, password, surroundings=around) as station:
        await station.boot()
        await station.status(1, "Available")

        async def status() -> str:
            return (await station.authorize(token)).status

        await until(status, lambda found: found == "Accepted")
        transaction = await station.start(token, 1, 1000)
        assert transaction.status == "Accepted"
        clock.time += timedelta(minutes=20)
        await station.meter(transaction, 3500)
        clock.time += timedelta(minutes=20)
        await station.stop(transaction, 6000)
        (started,) = await subscriber.wait_for("transaction.started", station_id=name)
        (ended,) = await subscriber.wait_for("transaction.ended", station_id=name)
    assert started.transaction_ref == ended.transaction_ref
    assert ended.token_ref == ref
    assert (ended.meter_start_wh, ended.meter_stop_wh, ended.energy_wh) == (1000, 6000, 5000)
    assert ended.doubts == ()
    await subscriber.wait_for("station.status", station_id=name)

    async def usage() -> Any:
        return await operator.done("GET", "agreements", f"/v1/agreements/{agreement}/usage")

    found = await until(usage, lambda body: body["energy_wh"] == 5000)
    assert found["transactions"] == 1
    listed = await operator.done("GET", "auth", "/v1/transactions", params={"station_id": name})
    assert [item["energy_wh"] for item in listed["data"]] == [5000]


@everywhere
async def test_a_resent_transaction_counts_once(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """The same messages under new message ids: same ids, same totals, no further event (A14)."""
    name, password = await operator.station()
    token, _ = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        transaction = await station.start(token, 1, 100)
        await station.stop(transaction, 2100)
        await subscriber.wait_for("transaction.ended", station_id=name)
        sent = [
            (item.action, item.payload)
            for item in station.sent
            if item.action in {"StartTransaction", "StopTransaction", "TransactionEvent"}
        ]
        answers = [await station.call(action, payload) for action, payload in [*sent, *sent]]
        other = await station.start(token, 2, 0)
        await station.stop(other, 10)
        await subscriber.wait_for("transaction.ended", 2, station_id=name)
    listed = await operator.done("GET", "auth", "/v1/transactions", params={"station_id": name})
    assert sorted(item["energy_wh"] for item in listed["data"]) == [10, 2000]
    assert len(subscriber.of("transaction.started", station_id=name)) == 2
    assert len(subscriber.of("transaction.ended", station_id=name)) == 2
    if protocol == "1.6":
        ids = {answer["transactionId"] for answer in answers if "transactionId" in answer}
        assert ids == {transaction.id}


@everywhere
async def test_a_register_above_31_bits(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """A meter of 4.3 GWh: the stop is answered at once, its end is told, and every list is shown.

    MongoDB keeps such an integer as 64 bits, for which bson has a type of its own.
    """
    name, password = await operator.station()
    token, _ = await operator.token()
    large = 4_296_944_685
    clock = Clock()
    around = Surroundings(now=clock)
    async with operator.connected(protocol, name, password, surroundings=around) as station:
        await station.boot()
        transaction = await station.start(token, 1, large)
        clock.time += timedelta(minutes=20)
        await station.meter(transaction, large + 500)
        clock.time += timedelta(minutes=20)
        begun = asyncio.get_running_loop().time()
        await station.stop(transaction, large + 1000)
        assert asyncio.get_running_loop().time() - begun < 10  # auth answers, not its silence
        (ended,) = await subscriber.wait_for("transaction.ended", station_id=name)
    assert (ended.meter_start_wh, ended.energy_wh, ended.doubts) == (large, 1000, ())
    listed = await operator.done("GET", "auth", "/v1/transactions", params={"station_id": name})
    (shown,) = listed["data"]
    assert (shown["meter_start_wh"], shown["energy_wh"]) == (large, 1000)
    path = f"/v1/transactions/{shown['transaction_ref']}"
    assert (await operator.done("GET", "auth", path))["meter_stop_wh"] == large + 1000
    assert (await operator.done("GET", "auth", "/v1/transactions"))["data"]


async def test_a_station_appears_with_all_it_says(operator: Operator) -> None:
    """What a station tells is what an operator reads: connection, boot data, connector states."""
    name, password = await operator.station()

    async def read() -> Any:
        return await operator.done("GET", "config", f"/v1/stations/{name}")

    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        await station.status(1, "Available")
        found = await until(read, lambda body: body["connected"] and body["connectors"])
        assert found["protocol"] == "ocpp2.0.1"
        assert found["vendor"] == "Voltbus"
    await until(read, lambda body: not body["connected"])
