"""B Provisioning: registration, variables, reports, network profiles, resets (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from conformance.acting import (
    answered,
    carried_out,
    count_of,
    every_2x,
    order,
    register,
    takes_calls,
    transactions,
)
from conformance.by_hand import BOOT_2, by_hand, socket_of
from operating import until
from voltbus.simulator import CallFailedError, RefusedError, make_station
from voltbus.simulator.device2 import Variable

if TYPE_CHECKING:
    from conformance.acting import Ready
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
    name, password = await operator.station(registration=registration)
    async with operator.connected(protocol, name, password) as station:
        assert (await station.boot()).status == registration.capitalize()
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
    name, password = await operator.station(registration="pending")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        found = await carried_out(operator, name, "trigger", {"message": "boot"})
        assert found["answer_status"] == "Accepted"
        await station.wait_until(lambda: count_of(station, "BootNotification") == 2)


@every_2x
async def test_b02_fr_09_a_triggered_message_is_let_through(
    operator: Operator, protocol: Protocol
) -> None:
    """B02.FR.09: what a pending station was asked to send is taken; the rest is not."""
    name, password = await operator.station(registration="pending")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        before = len(station.mishaps)
        await carried_out(operator, name, "trigger", {"message": "status", "evse_id": 1})
        await station.wait_until(
            lambda: station.sent[-1].action == "StatusNotification", deadline=5.0
        )
        await station.status(1, "Available")
        with pytest.raises(CallFailedError):
            await station.heartbeat()
        assert len(station.mishaps) == before


@every_2x
async def test_b02_fr_05_no_remote_start_while_pending(
    operator: Operator, protocol: Protocol
) -> None:
    """B02.FR.05: a remote start waits until the station is Accepted."""
    name, password = await operator.station(registration="pending")
    token, _ = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
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
    name, password = await operator.station(registration="rejected")
    async with operator.connected(protocol, name, password) as station:
        assert (await station.boot()).status == "Rejected"
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
    name, password = await operator.station(registration=registration)
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await station.reconnect()
        assert await takes_calls(station) is (registration == "accepted")


@every_2x
async def test_b01_an_unknown_field_is_refused_by_name(
    operator: Operator, protocol: Protocol
) -> None:
    """Part 4 4.2.3: a payload with an unknown property is a FormatViolation that names it."""
    async with by_hand(operator, protocol, boot=False) as raw:
        answer = await raw.call("BootNotification", {**BOOT_2, "colour": "red"})
        assert answer[2] == "FormatViolation"
        assert "colour" in answer[3]


# ---- variables and reports (B05-B08) ----

VARIABLE = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "LocalPreAuthorize"}}
OTHER = {"component": {"name": "TxCtrlr"}, "variable": {"name": "EVConnectionTimeOut"}}


@every_2x
@pytest.mark.parametrize(
    "variables",
    [
        pytest.param([VARIABLE], id="tc_b_06_single"),
        pytest.param([VARIABLE, OTHER], id="tc_b_07_multiple"),
    ],
)
async def test_get_variables(
    operator: Operator, ready: Ready, protocol: Protocol, variables: list[dict[str, Any]]
) -> None:
    """B06.FR.01: GetVariables asks for one or for several values and keeps what is answered."""
    async with ready(protocol) as station:
        payload = {"getVariableData": variables}
        answer = await answered(operator, station.station_id, "GetVariables", payload)
        assert (await station.wait_for("GetVariables")) == payload
        values = [one["attributeValue"] for one in answer["getVariableResult"]]
        assert values == ["false", "60"][: len(variables)]


@every_2x
@pytest.mark.parametrize(
    "variables",
    [
        pytest.param([VARIABLE], id="tc_b_09_single"),
        pytest.param([VARIABLE, OTHER], id="tc_b_10_multiple"),
    ],
)
async def test_set_variables(
    operator: Operator, ready: Ready, protocol: Protocol, variables: list[dict[str, Any]]
) -> None:
    """B05.FR.01: SetVariables brings one or several values, each with its own status."""
    async with ready(protocol) as station:
        values = ["true", "90"]
        data = [
            {**one, "attributeValue": value} for one, value in zip(variables, values, strict=False)
        ]
        answer = await answered(
            operator, station.station_id, "SetVariables", {"setVariableData": data}
        )
        assert {one["attributeStatus"] for one in answer["setVariableResult"]} == {"Accepted"}
        assert station.settings["keys"]["AuthCtrlr.LocalPreAuthorize"] == "true"


@every_2x
@pytest.mark.parametrize(
    "base",
    [
        pytest.param("ConfigurationInventory", id="tc_b_12"),
        pytest.param("FullInventory", id="tc_b_13"),
        pytest.param("SummaryInventory", id="b07_summary"),
    ],
)
async def test_get_base_report(
    operator: Operator, ready: Ready, subscriber: Subscriber, protocol: Protocol, base: str
) -> None:
    """B07.FR.01/08: every part of a base report is confirmed and told, in order of its seqNo."""
    async with ready(protocol) as station:
        payload = {"requestId": 7, "reportBase": base}
        answer = await answered(operator, station.station_id, "GetBaseReport", payload)
        assert answer["status"] == "Accepted"
        reports = await subscriber.wait_for(
            "station.reported", count=3, station_id=station.station_id, action="NotifyReport"
        )
        assert [one.payload["seqNo"] for one in reports[:3]] == [0, 1, 2]
        assert {one.payload["requestId"] for one in reports} == {7}


@every_2x
async def test_tc_b_18_custom_report(
    operator: Operator, ready: Ready, subscriber: Subscriber, protocol: Protocol
) -> None:
    """B08.FR.01: a report by criteria and by component and variable."""
    async with ready(protocol) as station:
        payload = {
            "requestId": 8,
            "componentCriteria": ["Active"],
            "componentVariable": [
                {"component": {"name": "EVSE"}, "variable": {"name": "Power"}},
            ],
        }
        answer = await answered(operator, station.station_id, "GetReport", payload)
        assert answer["status"] == "Accepted"
        (report,) = await subscriber.wait_for(
            "station.reported", station_id=station.station_id, action="NotifyReport"
        )
        names = {one["variable"]["name"] for one in report.payload["reportData"]}
        assert names == {"Power"}


# ---- network profiles (B09, B10) ----

NETWORK = {
    "ocppVersion": "OCPP20",
    "ocppTransport": "JSON",
    "ocppCsmsUrl": "wss://csms.example/ocpp",
    "messageTimeout": 30,
    "securityProfile": 2,
    "ocppInterface": "Wired0",
}


@every_2x
@pytest.mark.parametrize(
    "status", [pytest.param("Accepted", id="tc_b_42"), pytest.param("Failed", id="tc_b_44")]
)
async def test_set_network_profile(
    operator: Operator, ready: Ready, protocol: Protocol, status: str
) -> None:
    """B09.FR.01: a network profile is sent to a slot; the station's word is kept as it is."""
    async with ready(protocol) as station:
        station.answers["SetNetworkProfile"] = lambda _: {"status": status}
        payload = {"configurationSlot": 2, "connectionData": NETWORK}
        answer = await answered(operator, station.station_id, "SetNetworkProfile", payload)
        assert answer["status"] == status
        assert (await station.wait_for("SetNetworkProfile")) == payload


async def test_tc_b_100_network_profile_with_identity_and_password(
    operator: Operator, ready: Ready, subscriber: Subscriber
) -> None:
    """B09 (2.1): identity and password travel in the profile and are shown nowhere."""
    name, password = await operator.station()
    async with ready("2.1") as station:
        data = {**NETWORK, "identity": name, "basicAuthPassword": password}
        found = await carried_out(
            operator,
            station.station_id,
            "SetNetworkProfile",
            {"configurationSlot": 1, "connectionData": data},
        )
        assert found["answer_status"] == "Accepted"
        assert password not in str(found)
        events = await subscriber.wait_for(
            "command.changed", command_id=found["id"], status="answered"
        )
        assert password not in str(events)
        taken = (await station.wait_for("SetNetworkProfile"))["connectionData"]
        async with operator.connected("2.1", taken["identity"], taken["basicAuthPassword"]) as new:
            assert (await new.boot()).status == "Accepted"


async def test_tc_b_105_network_configuration_by_set_variables(
    operator: Operator, ready: Ready
) -> None:
    """B09 (2.1): a network configuration is a component whose variables SetVariables sets."""
    component = {"name": "NetworkConfiguration", "instance": "2"}
    values = {"OcppCsmsUrl": "wss://csms.example/ocpp", "SecurityProfile": "2"}
    async with ready("2.1") as station:
        device: Any = getattr(station, "device")  # noqa: B009 - the 2.x station has one
        device.add(
            *(Variable("NetworkConfiguration", key, "", component_instance="2") for key in values)
        )
        data = [
            {"component": component, "variable": {"name": key}, "attributeValue": value}
            for key, value in values.items()
        ]
        answer = await answered(
            operator, station.station_id, "SetVariables", {"setVariableData": data}
        )
        assert {one["attributeStatus"] for one in answer["setVariableResult"]} == {"Accepted"}


# ---- resets (B11, B12) ----


@every_2x
async def test_tc_b_20_reset_when_idle(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """B11.FR.01: Reset OnIdle without a transaction: the station restarts and boots again."""
    async with ready(protocol) as station:
        found = await carried_out(operator, station.station_id, "reset", {"type": "on_idle"})
        assert found["answer_status"] == "Accepted"
        assert (await station.wait_for("Reset")) == {"type": "OnIdle"}
        await station.wait_until(
            lambda: (
                count_of(station, "BootNotification") == 1
                and station.sent[-1].action == "StatusNotification"
            )
        )
        assert station.mishaps == []


@every_2x
async def test_tc_b_21_reset_waits_for_the_transaction(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """B12.FR.01: Reset OnIdle while charging is Scheduled and happens after the transaction."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        transaction = await station.start(token)
        found = await carried_out(operator, station.station_id, "reset", {"type": "on_idle"})
        assert (found["status"], found["answer_status"]) == ("answered", "Scheduled")
        await station.finish(transaction, 0, "Local")
        assert (await station.authorize(token)).status == "Accepted"
        assert count_of(station, "BootNotification") == 1


@every_2x
async def test_tc_b_22_immediate_reset_ends_the_transaction(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """B12.FR.04: Reset Immediate while charging: the transaction ends with ImmediateReset."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        await station.start(token)
        found = await carried_out(operator, station.station_id, "reset", {"type": "immediate"})
        assert found["answer_status"] == "Accepted"
        (record,) = await until(
            lambda: transactions(operator, station.station_id),
            lambda rows: bool(rows) and rows[0]["state"] == "ended",
        )
        assert record["stopped_reason"] == "ImmediateReset"


@every_2x
@pytest.mark.parametrize(
    ("kind", "charging", "status"),
    [
        pytest.param("OnIdle", False, "Accepted", id="tc_b_25"),
        pytest.param("OnIdle", True, "Scheduled", id="tc_b_26"),
        pytest.param("Immediate", True, "Accepted", id="tc_b_27"),
    ],
)
async def test_reset_of_one_evse(
    ready: Ready,
    protocol: Protocol,
    kind: str,
    charging: bool,  # noqa: FBT001 - a row of the table
    status: str,
) -> None:
    """B11.FR.08, B12.FR.07/08: one EVSE is reset; the connection and the others stay."""
    token, _ = await ready.operator.token()
    async with ready(protocol) as station:
        if charging:
            await station.start(token, 1)
        station.answers["Reset"] = lambda _: {"status": status}
        answer = await answered(
            ready.operator, station.station_id, "Reset", {"type": kind, "evseId": 1}
        )
        assert answer["status"] == status
        assert (await station.wait_for("Reset")) == {"type": kind, "evseId": 1}
        await station.heartbeat()


@pytest.mark.parametrize(
    "charging", [pytest.param(True, id="tc_b_103"), pytest.param(False, id="tc_b_104")]
)
async def test_reset_immediate_and_resume(
    operator: Operator,
    ready: Ready,
    charging: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """B12 (2.1): after ImmediateAndResume the transaction goes on: the same record, still open."""
    token, _ = await operator.token()
    async with ready("2.1") as station:
        transaction = await station.start(token) if charging else None
        station.answers["Reset"] = lambda _: {"status": "Accepted"}
        answer = await answered(
            operator, station.station_id, "Reset", {"type": "ImmediateAndResume"}
        )
        assert answer["status"] == "Accepted"
        await station.reconnect()
        assert (await station.boot("RemoteReset")).status == "Accepted"
        if transaction is None:
            assert await transactions(operator, station.station_id) == []
            return
        resumed = {
            "eventType": "Updated",
            "timestamp": station.now(),
            "triggerReason": "TxResumed",
            "seqNo": transaction.seq_no,
            "transactionInfo": {"transactionId": transaction.id, "chargingState": "Charging"},
        }
        assert await station.call("TransactionEvent", resumed) == {}
        (record,) = await transactions(operator, station.station_id)
        assert (record["state"], record["missing_seq_nos"]) == ("active", [])


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
