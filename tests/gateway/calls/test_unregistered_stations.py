"""Who may speak before it is accepted, also after a reconnection without Boot (A20, A21)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from gateway.stage import GATEWAY_ID, Stage
from voltbus_backbone.contract import gateway, registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}


def count_asked(stage: Stage) -> int:
    """How often config was asked for a registration."""
    return sum(
        event.type == registry.REGISTRATION.name for event in stage.bus.events("config.requests")
    )


async def test_a_reconnection_without_boot_asks_config_once(stage: Stage) -> None:
    """A20: registration lives outside the gateway, and one question per connection is enough."""
    async with stage.station("CP-1") as station:
        for number in range(3):
            assert (await station.call("Heartbeat", {}, str(number)))[0] == 3
    assert count_asked(stage) == 1


async def test_a_station_that_boots_is_not_asked_for(stage: Stage) -> None:
    """The answer to BootNotification is the registration."""
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT))[0] == 3
        assert (await station.call("Heartbeat", {}))[0] == 3
    assert count_asked(stage) == 0


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize("boots", [True, False])
async def test_before_acceptance_calls_get_a_security_error(
    stage: Stage, status: str, *, boots: bool
) -> None:
    """A21 (B02.FR.09, B03.FR.07): only BootNotification is let through."""
    stage.services.registrations["CP-1"] = status
    async with stage.station("CP-1") as station:
        if boots:
            assert (await station.call("BootNotification", BOOT))[2]["status"] == status
        assert (await station.call("Heartbeat", {}))[2] == "SecurityError"
        assert (await station.call("BootNotification", BOOT))[2]["status"] == status


async def test_a_pending_station_may_send_what_it_was_asked_for(stage: Stage) -> None:
    """B02.FR.09: a triggered message passes while the station is pending."""
    stage.services.registrations["CP-1"] = "Pending"
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT))[2]["status"] == "Pending"
        assert (await station.call("StatusNotification", status))[2] == "SecurityError"
        await stage.command("CP-1", "TriggerMessage", {"requestedMessage": "StatusNotification"})
        _, id_, action, _ = await station.receive()
        assert action == "TriggerMessage"
        await station.send(3, id_, {"status": "Accepted"})
        assert (await station.call("StatusNotification", status))[0] == 3


@pytest.mark.parametrize("how", ["another boot", "a newer connection", "after a break"])
async def test_what_a_pending_station_was_asked_for_stays_allowed(stage: Stage, how: str) -> None:
    """B02.FR.09: the triggered message may come behind a repeated Boot, or a reconnection."""
    stage.services.registrations["CP-1"] = "Pending"
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    async with stage.station("CP-1") as station, contextlib.AsyncExitStack() as stack:
        assert (await station.call("BootNotification", BOOT))[2]["status"] == "Pending"
        await stage.command("CP-1", "TriggerMessage", {"requestedMessage": "StatusNotification"})
        _, id_, _, _ = await station.receive()
        await station.send(3, id_, {"status": "Accepted"})
        if how == "another boot":
            assert (await station.call("BootNotification", BOOT))[2]["status"] == "Pending"
        else:
            if how == "after a break":
                station.socket.transport.abort()
                await stage.event(registry.STATION_DISCONNECTED, "CP-1")
            newer = await stack.enter_async_context(stage.station("CP-1"))
            await station.wait_closed()
            station.socket = newer.socket
        assert (await station.call("StatusNotification", status))[0] == 3


async def test_acceptance_by_an_operator_opens_the_gate(stage: Stage) -> None:
    """Config says that the registration has changed; the station need not boot again."""
    stage.services.registrations["CP-1"] = "Pending"
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT))[2]["status"] == "Pending"
        await stage.send_to_inbox(
            gateway.RegistrationChanged(
                gateway_id=GATEWAY_ID, station_id="CP-1", connection_id="any", status="Accepted"
            ),
            registry.REGISTRATION_CHANGED,
        )
        await stage.command("CP-1", "ClearCache", {})
        assert (await station.receive())[2] == "ClearCache"
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_while_config_is_silent_a_station_with_a_password_goes_on(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """A fleet reconnects while config is away: its transactions must not be refused for good."""
    stage = await start(registration_deadline_s=0.05)
    stage.services.silent.add(registry.REGISTRATION.name)
    async with stage.station("CP-1") as station:
        for number in range(3):
            assert (await station.call("Heartbeat", {}, str(number)))[0] == 3
    assert count_asked(stage) == 1


async def test_boot_without_an_answer_is_an_error(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """Undecided is no rejection: the station tries again."""
    stage = await start(answer_deadline_s=0.05)
    stage.services.silent.add(registry.BOOT.name)
    async with stage.station("CP-1") as station:
        assert (await station.call("BootNotification", BOOT))[2] == "InternalError"
        stage.services.silent.clear()
        assert (await station.call("BootNotification", BOOT))[2]["status"] == "Accepted"
