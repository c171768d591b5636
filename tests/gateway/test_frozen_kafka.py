"""A broker that hangs, seen by real processes (design 4)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from gateway.stage import Station, basic
from operating import operating, until
from voltbus.embedded.stack import temporary_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from operating import Operator

pytestmark = pytest.mark.stack

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}
STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
PATIENCE = 90.0  # seconds for what ends a test that hangs


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def frozen_operator() -> AsyncIterator[Operator]:
    """A stack of our own whose gateway soon calls it an outage."""
    environment = {"gateway": {"VOLTBUS_OUTAGE_S": "4", "VOLTBUS_GRACE_S": "4"}}
    async with temporary_stack(environment=environment) as stack, operating(stack) as operator:
        yield operator


async def open_socket(operator: Operator, name: str, password: str) -> ClientConnection:
    """A station's socket."""
    return await connect(
        f"{operator.stack.ocpp()}/{name}",
        subprotocols=[Subprotocol("ocpp1.6")],
        additional_headers=basic(name, password),
        compression=None,
    )


async def to_the_end(station: Station) -> list[str]:
    """What a station hears until its socket is closed."""
    heard: list[str] = []
    with contextlib.suppress(ConnectionClosed):
        async for text in station.socket:
            heard.append(str(text))  # noqa: PERF401 - kept although the loop ends by an exception
    return heard


async def ready(operator: Operator) -> bool:
    """Whether the gateway says that it is."""
    async with httpx.AsyncClient() as client:
        url = operator.stack.http("gateway") + "/readyz"
        return (await client.get(url)).status_code == 200


async def test_a_frozen_broker_sends_stations_away_until_it_thaws(
    frozen_operator: Operator,
) -> None:
    """No false confirmation; 1012 and 503 while it lasts; ready again by itself."""
    stack = frozen_operator.stack
    name, password = await frozen_operator.station()
    station = Station(await open_socket(frozen_operator, name, password))
    assert (await station.call("BootNotification", BOOT))[2]["status"] == "Accepted"
    await stack.signal("kafka", signal.SIGSTOP)
    try:
        await station.send(2, "s", "StatusNotification", STATUS)
        async with asyncio.timeout(PATIENCE):
            heard = await to_the_end(station)
        assert station.socket.close_code == 1012
        assert not [text for text in heard if text.startswith("[3")]
        assert not await ready(frozen_operator)
        with pytest.raises(InvalidStatus) as caught:
            await open_socket(frozen_operator, name, password)
        assert caught.value.response.status_code == 503
    finally:
        await stack.signal("kafka", signal.SIGCONT)
    await until(lambda: ready(frozen_operator), lambda there: there)
    station = Station(await open_socket(frozen_operator, name, password))
    assert await station.call("StatusNotification", STATUS) == [3, "m1", {}]
    await station.socket.close()


async def test_the_end_while_the_broker_hangs_keeps_the_grace_period(
    frozen_operator: Operator,
) -> None:
    """SIGTERM in an outage: the process does not wait for a broker that does not answer."""
    stack = frozen_operator.stack
    name, password = await frozen_operator.station()
    socket = await open_socket(frozen_operator, name, password)
    assert (await Station(socket).call("BootNotification", BOOT))[0] == 3
    await stack.signal("kafka", signal.SIGSTOP)
    try:
        assert await stack.stop_part("gateway") == 0
        async with asyncio.timeout(PATIENCE):
            await socket.wait_closed()
        assert socket.close_code in {1001, 1012}
    finally:
        await stack.signal("kafka", signal.SIGCONT)


async def test_every_service_ends_while_the_broker_hangs(frozen_operator: Operator) -> None:
    """SIGTERM in an outage ends auth, config and agreements in order, long before SIGKILL."""
    stack = frozen_operator.stack
    services = ("auth", "config", "agreements")
    await stack.signal("kafka", signal.SIGSTOP)
    try:
        codes = await asyncio.gather(*(stack.stop_part(service) for service in services))
    finally:
        await stack.signal("kafka", signal.SIGCONT)
    assert codes == [0, 0, 0]
