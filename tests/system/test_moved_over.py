"""What an operator sees and need not do when stations come from elsewhere, on the real stack."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gateway.stage import basic
from operating import DEADLINE_S, until
from voltbus.simulator import SUBPROTOCOLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

BOOTS: dict[str, dict[str, Any]] = {
    "1.6": {"chargePointVendor": "Acme", "chargePointModel": "One"},
    "2.0.1": {
        "reason": "Triggered",
        "chargingStation": {"vendorName": "Acme", "model": "One"},
    },
}


@asynccontextmanager
async def connected(
    operator: Operator, name: str, password: str, protocol: Protocol
) -> AsyncIterator[ClientConnection]:
    """A station's socket, with nothing of ours at its end."""
    async with connect(
        f"{operator.stack.ocpp()}//{name}/",  # as it was typed
        subprotocols=[Subprotocol(SUBPROTOCOLS[protocol])],
        additional_headers=basic(name, password),
    ) as socket:
        yield socket


async def said(socket: ClientConnection) -> list[Any]:
    """The next frame."""
    async with asyncio.timeout(DEADLINE_S):
        frame: list[Any] = json.loads(await socket.recv())
    return frame


async def call(socket: ClientConnection, action: str, payload: dict[str, Any]) -> list[Any]:
    """A call of the station, and the next frame."""
    await socket.send(json.dumps([2, action, action, payload]))
    return await said(socket)


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1"])
async def test_a_running_station_with_a_new_url_is_accepted_by_itself(
    operator: Operator, protocol: Protocol
) -> None:
    """It does not boot; it is asked to, does, and its next call is taken (1.6 §5.17; 2.x F06)."""
    name, password = await operator.station()
    async with connected(operator, name, password, protocol) as socket:
        assert (await call(socket, "Heartbeat", {}))[2] == "SecurityError"
        _, id_, action, payload = await said(socket)
        assert (action, payload) == ("TriggerMessage", {"requestedMessage": "BootNotification"})
        await socket.send(json.dumps([3, id_, {"status": "Accepted"}]))
        assert (await call(socket, "BootNotification", BOOTS[protocol]))[2]["status"] == "Accepted"
        assert (await call(socket, "Heartbeat", {}))[0] == 3

        async def page() -> dict[str, Any]:
            found: dict[str, Any] = await operator.done("GET", "config", f"/v1/stations/{name}")
            return found

        shown = await until(
            page, lambda found: found["last_refusal"] is not None and not found["boot_request"]
        )
    assert shown["vendor"] == "Acme"
    refusal = shown["last_refusal"]
    assert (refusal["kind"], refusal["reason"]) == ("call", "SecurityError")
    assert (refusal["action"], refusal["address"]) == ("Heartbeat", "127.0.0.1")


async def test_a_2x_station_that_was_accepted_elsewhere_is_taken_so(operator: Operator) -> None:
    """F06.FR.17: it refuses to boot, since its last BootNotification was accepted."""
    name, password = await operator.station()
    async with connected(operator, name, password, "2.0.1") as socket:
        assert (await call(socket, "Heartbeat", {}))[2] == "SecurityError"
        _, id_, action, _ = await said(socket)
        assert action == "TriggerMessage"
        await socket.send(json.dumps([3, id_, {"status": "Rejected"}]))

        async def heartbeat() -> list[Any]:
            return await call(socket, "Heartbeat", {})

        assert (await until(heartbeat, lambda frame: frame[0] == 3))[0] == 3


async def test_a_wrong_password_is_shown_at_the_station(operator: Operator) -> None:
    """The operator sees why a registered station is not there, and from where it knocks."""
    name, _ = await operator.station()
    with pytest.raises(InvalidStatus):
        async with connected(operator, name, "not-its-password-01", "1.6"):
            pass

    async def refusal() -> dict[str, Any] | None:
        page = await operator.done("GET", "config", f"/v1/stations/{name}")
        found: dict[str, Any] | None = page["last_refusal"]
        return found

    shown = await until(refusal, lambda found: found is not None)
    assert shown is not None
    assert (shown["kind"], shown["reason"]) == ("login", "wrong_password")
    listed = await operator.done("GET", "gateway", "/v1/refusals")
    assert [one["reason"] for one in listed["data"] if one["station_id"] == name] == [
        "wrong_password"
    ]
