"""Whose connection it is, with three gateway processes on the whole stack (design 3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.stage import basic
from operating import Operator, operating, until
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.stack

GATEWAYS = ("gateway", "gateway-2", "gateway-3")
STATIONS = 300
ROUNDS = 3
DEADLINE_S = 90.0
SILENCE_S = 3.0
BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def three() -> AsyncIterator[Operator]:
    """A stack of our own with three gateways; config soon gives up a silent one."""
    environment = {
        "gateway": {"VOLTBUS_BEAT_S": "0.5"},
        "config": {"VOLTBUS_GATEWAY_SILENCE_S": str(SILENCE_S)},
    }
    async with temporary_stack(environment=environment) as stack:
        await asyncio.gather(*(stack.add_replica("gateway") for _ in GATEWAYS[1:]))
        async with operating(stack) as operator:
            yield operator


class Car:
    """A station that checks that everything it gets is its own."""

    def __init__(self, stack: Stack, name: str, password: str, token: str) -> None:
        self._stack = stack
        self.name = name
        self._password = password
        self._token = token
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[str, asyncio.Future[list[Any]]] = {}
        self._count = 0
        self.hanging: list[ClientConnection] = []

    async def connect(self, gateway: str) -> None:
        """A new socket; whatever was before is left as it is."""
        self._socket = await connect(
            f"{self._stack.ocpp(gateway)}/{self.name}",
            subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers=basic(self.name, self._password),
            compression=None,
            ping_interval=None,
            open_timeout=DEADLINE_S,
            close_timeout=0.5,
        )
        self._reading = asyncio.create_task(self._read(self._socket))

    async def leave(self, how: str) -> None:
        """Close in order, drop TCP, or leave the old connection hanging."""
        assert self._socket is not None
        assert self._reading is not None
        if how == "hang":
            self._socket.transport.pause_reading()
            self.hanging.append(self._socket)
        elif how == "drop":
            self._socket.transport.abort()
        else:
            await self._socket.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                frame = json.loads(text)
                if frame[0] == 2:
                    # Only what was meant for us may come here.
                    assert frame[3].get("vendorId") == self.name
                    answer = {"status": "Accepted", "data": self.name}
                    await socket.send(json.dumps([3, frame[1], answer]))
                else:
                    self._answers.pop(frame[1]).set_result(frame)

    async def call(self, action: str, payload: dict[str, Any]) -> list[Any]:
        """A call and its answer."""
        assert self._socket is not None
        self._count += 1
        # The same ids at every station: an answer that goes astray would be taken for another's.
        id_ = str(self._count)
        future = self._answers[id_] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps([2, id_, action, payload]))
        async with asyncio.timeout(DEADLINE_S):
            frame: list[Any] = await future
        return frame

    async def authorize(self) -> None:
        """The answer names our own group, so it is the answer to our own question."""
        frame = await self.call("Authorize", {"idTag": self._token})
        assert frame[0] == 3, frame[2]
        assert frame[2]["idTagInfo"]["parentIdTag"] == f"G-{self.name}"

    async def drive(self, chance: random.Random) -> None:
        """Some rounds at random gateways."""
        for number in range(ROUNDS):
            await self.connect(chance.choice(GATEWAYS))
            if number == 0 or chance.random() < 0.3:
                frame = await self.call("BootNotification", BOOT)
                assert frame[2]["status"] == "Accepted"
            await asyncio.gather(self.authorize(), self.authorize())
            if number < ROUNDS - 1:
                await self.leave(chance.choice(["close", "drop", "hang"]))

    async def end(self) -> None:
        """Close everything."""
        for socket in self.hanging:
            socket.transport.abort()
        if self._socket is not None:
            await self._socket.close()


async def make_car(operator: Operator, name: str) -> Car:
    """A registered station with a token of its own."""
    _, password = await operator.station(name)
    token, _ = await operator.token(group_id=f"G-{name}")
    return Car(operator.stack, name, password, token)


async def list_events(operator: Operator, car: Car) -> dict[str, Any]:
    """A command through config to the station; its end."""
    made = await operator.done(
        "POST",
        "config",
        f"/v1/stations/{car.name}/commands",
        json={"action": "DataTransfer", "payload": {"vendorId": car.name}, "timeout_s": 10},
    )

    async def ask() -> dict[str, Any]:
        found: dict[str, Any] = await operator.done("GET", "config", f"/v1/commands/{made['id']}")
        return found

    return await until(ask, lambda found: found["status"] not in {"queued", "sent"})


async def test_no_call_is_misrouted_and_none_unanswered(three: Operator) -> None:
    """300 stations hop between three gateways, with old connections closed, dropped or hanging."""
    gate = asyncio.Semaphore(20)

    async def ready(number: int) -> Car:
        async with gate:
            return await make_car(three, f"HOP-{number}")

    cars = await asyncio.gather(*(ready(number) for number in range(STATIONS)))
    seed = 7
    await asyncio.gather(
        *(car.drive(random.Random(f"{seed}/{car.name}")) for car in cars)  # noqa: S311 - a repeatable shuffle
    )

    async def check(car: Car) -> None:
        async with gate:
            ended = await list_events(three, car)
        assert ended["status"] == "answered", ended
        assert ended["answer"]["data"] == car.name

    await asyncio.gather(*(check(car) for car in cars))
    shown = 0
    for gateway in GATEWAYS:
        page = await three.client.get(three.stack.http(gateway) + "/v1/connections?limit=1")
        shown += page.json()["total"]
    assert shown >= STATIONS
    await asyncio.gather(*(car.end() for car in cars))


async def test_another_gateway_takes_over_while_the_old_connection_hangs(three: Operator) -> None:
    """The old TCP connection hangs; commands reach the new one, and the old one is closed."""
    car = await make_car(three, "TAKE-1")
    await car.connect("gateway")
    await car.call("BootNotification", BOOT)
    await car.leave("hang")
    await car.connect("gateway-2")
    await car.call("BootNotification", BOOT)
    assert (await list_events(three, car))["status"] == "answered"

    async def at_the_first() -> int:
        url = three.stack.http("gateway") + "/v1/connections?limit=100"
        page = (await three.client.get(url)).json()
        return sum(entry["station_id"] == car.name for entry in page["data"])

    await until(at_the_first, lambda count: count == 0)
    await car.end()


async def test_the_connections_of_a_dead_gateway_are_declared_lost(three: Operator) -> None:
    """Kill -9: no disconnected event comes, the beats stop, config shows the station as gone."""
    car = await make_car(three, "LOST-1")
    await car.connect("gateway-3")
    await car.call("BootNotification", BOOT)

    async def wait_connected() -> bool:
        found = await three.done("GET", "config", f"/v1/stations/{car.name}")
        return bool(found["connected"])

    await until(wait_connected, lambda there: there)
    await three.stack.kill("gateway-3")
    await until(wait_connected, lambda there: not there)
    await car.connect("gateway")
    await until(wait_connected, lambda there: there)
    assert (await list_events(three, car))["status"] == "answered"
    await car.end()
