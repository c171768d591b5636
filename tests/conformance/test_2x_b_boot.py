"""B Provisioning: from the WebSocket to a registration (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from conformance.acting import (
    answered,
    booted,
    carried_out,
    count_of,
    every_2x,
    order,
    register,
    takes_calls,
)
from conformance.by_hand import BOOT_2, by_hand, socket_of
from operating import until
from voltbus.simulator import CallFailedError, RefusedError, make_station

if TYPE_CHECKING:
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


# ---- boot and registration (B01-B03) ----


@every_2x
async def test_tc_b_01_cold_boot_accepted(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """B01.FR.02: a known station's boot is Accepted, with the time and a heartbeat interval."""
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        boot = await station.boot()
        assert boot.status == "Accepted"
        assert boot.interval > 0
        assert boot.answer["currentTime"].endswith("Z")
        await station.status(1, "Available")
        (told,) = await subscriber.wait_for("station.booted", station_id=name)
        assert (told.status, told.reason) == ("Accepted", "PowerUp")


@every_2x
async def test_tc_b_02_pending_is_configured_and_then_accepted(
    operator: Operator, protocol: Protocol
) -> None:
    """B02.FR.01/06: Pending keeps the socket and takes settings; then a new boot is Accepted."""
    name, password = await operator.station(registration="pending")
    async with operator.connected(protocol, name, password) as station:
        boot = await station.boot()
        assert (boot.status, boot.interval > 0) == ("Pending", True)
        variable = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "ResetRetries"}}
        set_ = {"setVariableData": [{**variable, "attributeValue": "3"}]}
        answer = await answered(operator, name, "SetVariables", set_)
        assert answer["setVariableResult"][0]["attributeStatus"] == "Accepted"
        get = {"getVariableData": [variable]}
        answer = await answered(operator, name, "GetVariables", get)
        assert answer["getVariableResult"][0]["attributeValue"] == "3"
        await register(operator, name, "accepted")
        trigger = await station.wait_for("TriggerMessage")
        assert trigger["requestedMessage"] == "BootNotification"
        await station.wait_until(lambda: station.sent[-1].action == "BootNotification")
        await until(lambda: takes_calls(station), bool)


@every_2x
@pytest.mark.parametrize("registration", ["pending", "rejected"])
async def test_tc_b_30_security_error_before_acceptance(
    operator: Operator, protocol: Protocol, registration: str
) -> None:
    """B02.FR.09, B03.FR.07: until Accepted, anything but a boot gets SecurityError."""
    async with booted(operator, protocol, registration=registration) as station:
        with pytest.raises(CallFailedError) as failed:
            await station.status(1, "Available")
        assert failed.value.code == "SecurityError"
        with pytest.raises(CallFailedError) as failed:
            await station.authorize("04A2B3C4")
        assert failed.value.code == "SecurityError"
        assert (await station.boot()).status == registration.capitalize()


@every_2x
async def test_tc_b_31_trigger_message_while_pending(
    operator: Operator, protocol: Protocol
) -> None:
    """B02.FR.06, F06: a pending station can be triggered to boot before its interval is over."""
    async with booted(operator, protocol, registration="pending") as station:
        found = await carried_out(operator, station.station_id, "trigger", {"message": "boot"})
        assert found["answer_status"] == "Accepted"
        await station.wait_until(lambda: count_of(station, "BootNotification") == 2)


@every_2x
async def test_b02_fr_09_a_triggered_message_is_let_through(
    operator: Operator, protocol: Protocol
) -> None:
    """B02.FR.09: what a pending station was asked to send is taken; the rest is not."""
    async with booted(operator, protocol, registration="pending") as station:
        before = len(station.mishaps)
        await carried_out(
            operator, station.station_id, "trigger", {"message": "status", "evse_id": 1}
        )
        await station.wait_until(lambda: station.sent[-1].action == "StatusNotification")
        await station.status(1, "Available")
        with pytest.raises(CallFailedError):
            await station.heartbeat()
        assert len(station.mishaps) == before


@every_2x
async def test_b02_fr_05_no_remote_start_while_pending(
    operator: Operator, protocol: Protocol
) -> None:
    """B02.FR.05: a remote start waits until the station is Accepted."""
    token, _ = await operator.token()
    async with booted(operator, protocol, registration="pending") as station:
        name = station.station_id
        await order(operator, name, "remote_start", {"id_token": token, "type": "ISO14443"})
        await carried_out(operator, name, "trigger", {"message": "boot"})
        await register(operator, name, "accepted")
        await station.wait_for("RequestStartTransaction")
        asked = [action for action, _ in station.received]
        assert asked.index("TriggerMessage") < asked.index("RequestStartTransaction")


@every_2x
async def test_b03_fr_03_nothing_is_sent_to_a_rejected_station(
    operator: Operator, protocol: Protocol
) -> None:
    """B03.FR.03: a rejected station is sent nothing; what waits goes out after it was Accepted."""
    async with booted(operator, protocol, registration="rejected") as station:
        name = station.station_id
        await order(operator, name, "ClearCache")
        await register(operator, name, "accepted")
        assert station.received == []
        assert (await station.boot()).status == "Accepted"
        await station.wait_for("ClearCache")
        assert [action for action, _ in station.received] == ["ClearCache"]


@every_2x
@pytest.mark.parametrize("registration", ["accepted", "pending", "rejected"])
async def test_p4_reconnecting_without_boot_keeps_the_registration(
    operator: Operator, protocol: Protocol, registration: str
) -> None:
    """Part 4, Reconnecting (A20): a station need not boot again, and stands as it stood."""
    async with booted(operator, protocol, registration=registration) as station:
        await station.reconnect()
        assert await takes_calls(station) is (registration == "accepted")


@every_2x
async def test_b01_an_unknown_field_is_refused_by_name(
    operator: Operator, protocol: Protocol
) -> None:
    """Part 4 4.2.3: a payload with an unknown property is a FormatViolation that names it.

    Of a fact, such as a boot, it is left out instead: a detail locks no station out (ADR 12).
    """
    async with by_hand(operator, protocol, boot=False) as raw:
        answer = await raw.call("Heartbeat", {"colour": "red"})
        assert answer[2] == "FormatViolation"
        assert "colour" in answer[3]
        answer = await raw.call("BootNotification", {**BOOT_2, "colour": "red"})
        assert answer[2]["status"] == "Accepted"


# ---- the WebSocket (Part 4 3) ----


@every_2x
async def test_tc_b_58_subprotocol_negotiation(operator: Operator, protocol: Protocol) -> None:
    """Part 4 3.1.2: of what is offered the first that is spoken is chosen; none in common: none."""
    name, password = await operator.station()
    ours = f"ocpp{protocol}"
    async with socket_of(operator, protocol, name, password, offered=["ocpp9.9", ours]) as raw:
        assert raw.socket.subprotocol == ours
        assert (await raw.boot())[2]["status"] == "Accepted"
    with pytest.raises(InvalidStatus) as refused:
        async with socket_of(operator, protocol, name, password, offered=["ocpp9.9"]):
            pass
    assert refused.value.response.status_code == 400


async def test_p4_an_unknown_station_is_not_found(operator: Operator) -> None:
    """Part 4 3.3: an identity that nobody registered gets HTTP 404."""
    with pytest.raises(RefusedError) as refused:
        await make_station("2.0.1").connect(operator.stack.ocpp(), "CP-NONE", "x" * 20)
    assert refused.value.status == 404
