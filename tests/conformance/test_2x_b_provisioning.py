"""B Provisioning: variables, reports and network profiles (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered, carried_out, every_2x
from voltbus.simulator.device2 import Variable

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


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
