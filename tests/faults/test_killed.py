"""kill -9, at the worst moment, of each part: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from charging import PATIENT, insist, start_of
from operating import subscribed, until
from voltbus.simulator import AnswerTimeoutError, CallFailedError, ConnectionLostError, Options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack

everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])


@asynccontextmanager
async def stopped(stack: Stack, part: str) -> AsyncIterator[None]:
    """A process that stands still, as on a machine that hangs."""
    await stack.signal(part, signal.SIGSTOP)
    try:
        yield
    finally:
        await stack.signal(part, signal.SIGCONT)


@everywhere
async def test_auth_is_killed_between_a_request_and_its_answer(
    fragile: Stack, operator: Operator, protocol: Protocol
) -> None:
    """After the restart the same request gets its answer, and there is one transaction."""
    name, password = await operator.station()
    token, _ = await operator.token()
    action, payload = start_of(protocol, token)
    async with (
        subscribed(fragile) as subscriber,
        operator.connected(protocol, name, password, PATIENT) as station,
    ):
        await station.boot()
        await fragile.signal("auth", signal.SIGSTOP)
        asking = asyncio.create_task(insist(station, action, payload))
        await until(lambda: _sent(station, action), bool)
        await fragile.kill("auth")
        await fragile.restart("auth")
        first = await asking
        again = await insist(station, action, payload)
        await subscriber.wait_for("transaction.started", station_id=name)
    assert said(again) == said(first)
    listed = await operator.done("GET", "auth", "/v1/transactions", params={"station_id": name})
    assert len(listed["data"]) == 1
    refs = {item.transaction_ref for item in subscriber.of("transaction.started", station_id=name)}
    assert len(refs) == 1


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without its cache expiry: each time decided anew."""
    moving = {"expiryDate", "cacheExpiryDateTime"}
    return {
        name: said(value) if isinstance(value, dict) else value
        for name, value in answer.items()
        if name not in moving
    }


async def _sent(station: Station16 | Station2, action: str) -> bool:
    return any(item.action == action for item in station.sent)


async def test_auth_is_killed_right_after_it_stored(fragile: Stack, operator: Operator) -> None:
    """Killed between store and commit, the record comes again: same transactionId, one effect."""
    name, password = await operator.station()
    token, _ = await operator.token()
    async with operator.connected("1.6", name, password, PATIENT) as station:
        await station.boot()
        asking = asyncio.create_task(insist(station, *start_of("1.6", token)))

        async def stored() -> int:
            answer = await operator.done(
                "GET", "auth", "/v1/transactions", params={"station_id": name}
            )
            return len(answer["data"])

        await until(stored, lambda count: count == 1)
        await fragile.kill("auth")
        await fragile.restart("auth")
        first = await asking
        again = await insist(station, *start_of("1.6", token))
    assert again["transactionId"] == first["transactionId"]
    assert await stored() == 1


async def test_the_gateway_is_killed_while_a_car_charges(
    fragile: Stack, operator: Operator
) -> None:
    """The station reconnects without a boot and stops: one transaction with its energy (A20)."""
    name, password = await operator.station()
    token, _ = await operator.token()
    options = Options(timeout=20.0, reconnect=True, queue_offline=True)
    async with (
        subscribed(fragile) as subscriber,
        operator.connected("2.0.1", name, password, options) as station,
    ):
        await station.boot()
        transaction = await station.start(token, 1, 0)
        await fragile.kill("gateway")
        await station.stop(transaction, 4000)
        await fragile.restart("gateway")
        (ended,) = await subscriber.wait_for("transaction.ended", station_id=name)
    assert ended.energy_wh == 4000


async def test_kafka_is_killed_and_comes_back(fragile: Stack, operator: Operator) -> None:
    """What the gateway confirmed before, during and after an outage is there; nothing twice."""
    name, password = await operator.station()
    token, _ = await operator.token()
    options = Options(timeout=20.0, reconnect=True, queue_offline=True)
    async with operator.connected("1.6", name, password, options) as station:
        await station.boot()
        before = await station.start(token, 1, 0)
        await fragile.kill("kafka")
        stopping = asyncio.create_task(_stop(station, before))
        await fragile.restart("kafka")
        for service in ("auth", "config", "agreements", "gateway"):
            await fragile.wait_ready(service)
        await stopping

        async def read() -> Any:
            return await operator.done(
                "GET", "auth", "/v1/transactions", params={"station_id": name}
            )

        found = await until(
            read, lambda body: [item["energy_wh"] for item in body["data"]] == [2500], deadline_s=90
        )
    assert len(found["data"]) == 1


async def _stop(station: Station16 | Station2, transaction: Any) -> None:
    """Queue the stop; the station replays it until it is confirmed."""
    try:
        await station.stop(transaction, 2500)
    except (CallFailedError, ConnectionLostError, AnswerTimeoutError):
        await until(lambda: _flushed(station), bool, deadline_s=90)


async def _flushed(station: Station16 | Station2) -> bool:
    await station.flush()
    return not station.outbox
