"""N Diagnostics: logs, monitors, customer information (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ocpp.exceptions import OccurrenceConstraintViolationError

from conformance.acting import answered, carried_out, every_2x

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

POWER = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
ZONE = {"component": {"name": "ClockCtrlr"}, "variable": {"name": "TimeZone"}}


# ---- logs (N01) ----


@every_2x
@pytest.mark.parametrize("kind", ["diagnostics", "security"])
async def test_n01_get_log(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber, kind: str
) -> None:
    """N01.FR.02/12: an upload is ordered, and each of its steps is told under the order's id."""
    async with ready(protocol) as station:
        wanted = {"location": "https://files.example/log", "kind": kind}
        found = await carried_out(operator, station.station_id, "get_log", wanted)
        assert found["answer_status"] == "Accepted"
        sent = await station.wait_for("GetLog")
        steps = await subscriber.wait_for(
            "station.log-status", count=2, station_id=station.station_id
        )
        assert [one.status for one in steps] == ["Uploading", "Uploaded"]
        assert {one.request_id for one in steps} == {sent["requestId"]}


# ---- monitors (N02-N07) ----


def monitor(variable: dict[str, Any], kind: str = "Delta") -> dict[str, Any]:
    """A monitor of a variable."""
    return {"value": 1.0, "type": kind, "severity": 5, **variable}


@every_2x
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({"monitoringCriteria": ["DeltaMonitoring"]}, id="tc_n_01"),
        pytest.param({"componentVariable": [ZONE]}, id="tc_n_02"),
        pytest.param(
            {"monitoringCriteria": ["DeltaMonitoring"], "componentVariable": [ZONE]},
            id="tc_n_03",
        ),
    ],
)
async def test_get_monitoring_report(
    ready: Ready, subscriber: Subscriber, protocol: Protocol, wanted: dict[str, Any]
) -> None:
    """N02.FR.01/11: monitors are asked for by kind and by variable; the report is told."""
    async with ready(protocol) as station:
        name = station.station_id
        data = {"setMonitoringData": [monitor(ZONE)]}
        await answered(ready.operator, name, "SetVariableMonitoring", data)
        answer = await answered(
            ready.operator, name, "GetMonitoringReport", {"requestId": 4, **wanted}
        )
        assert answer["status"] == "Accepted"
        (told,) = await subscriber.wait_for(
            "station.reported", station_id=name, action="NotifyMonitoringReport"
        )
        assert told.payload["monitor"][0]["variable"] == ZONE["variable"]


@every_2x
@pytest.mark.parametrize("base", ["All", "FactoryDefault", "HardWiredOnly"])
async def test_tc_n_05_set_monitoring_base(
    operator: Operator, ready: Ready, protocol: Protocol, base: str
) -> None:
    """N03.FR.01: which monitors are active is set for the whole station."""
    async with ready(protocol) as station:
        payload = {"monitoringBase": base}
        answer = await answered(operator, station.station_id, "SetMonitoringBase", payload)
        assert answer["status"] == "Accepted"


@every_2x
@pytest.mark.parametrize(
    "variables",
    [pytest.param([ZONE], id="tc_n_08_one"), pytest.param([ZONE, POWER], id="n04_several")],
)
async def test_set_variable_monitoring(
    operator: Operator, ready: Ready, protocol: Protocol, variables: list[dict[str, Any]]
) -> None:
    """N04.FR.01/04: one or several monitors, each with its own status and id."""
    async with ready(protocol) as station:
        data = {"setMonitoringData": [monitor(one) for one in variables]}
        answer = await answered(operator, station.station_id, "SetVariableMonitoring", data)
        results = answer["setMonitoringResult"]
        assert [one["status"] for one in results] == ["Accepted"] * len(variables)


@every_2x
@pytest.mark.parametrize(
    ("severity", "status"),
    [
        pytest.param(4, "Accepted", id="tc_n_16"),
        pytest.param(42, "Rejected", id="tc_n_17_out_of_range"),
    ],
)
async def test_set_monitoring_level(
    ready: Ready, protocol: Protocol, severity: int, status: str
) -> None:
    """N05.FR.01/02: the level up to which events are reported; out of range is Rejected."""
    async with ready(protocol) as station:
        payload = {"severity": severity}
        answer = await answered(ready.operator, station.station_id, "SetMonitoringLevel", payload)
        assert answer["status"] == status


@every_2x
async def test_tc_n_18_clear_too_many_monitors(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """N06.FR.07: the station refuses with a CALLERROR, and the command ends as rejected."""

    def refuse(_: dict[str, Any]) -> None:
        raise OccurrenceConstraintViolationError

    async with ready(protocol) as station:
        station.answers["ClearVariableMonitoring"] = refuse
        found = await carried_out(
            operator, station.station_id, "ClearVariableMonitoring", {"id": [1, 2, 3]}
        )
        assert found["status"] == "rejected"
        assert found["error_code"] == "OccurrenceConstraintViolation"


@every_2x
async def test_n07_an_event_of_a_monitor(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """N07.FR.06: what a monitor notices comes as an event, is confirmed and told."""
    async with ready(protocol) as station:
        data = {"setMonitoringData": [monitor(ZONE)]}
        await answered(operator, station.station_id, "SetVariableMonitoring", data)
        changing: Any = station
        await changing.change_variable("ClockCtrlr", "TimeZone", "Europe/Stockholm")
        (told,) = await subscriber.wait_for(
            "station.reported", station_id=station.station_id, action="NotifyEvent"
        )
        assert told.payload["eventData"][0]["actualValue"] == "Europe/Stockholm"


# ---- customer information (N09, N10) ----

TOKEN = {"idToken": {"idToken": "AA01", "type": "ISO14443"}}
HASH = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "ab",
    "issuerKeyHash": "cd",
    "serialNumber": "1",
}
REPORT, CLEAR, BOTH = (
    {"report": True, "clear": False},
    {"report": False, "clear": True},
    {"report": True, "clear": True},
)


@every_2x
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        pytest.param({**REPORT, **TOKEN}, ("Accepted", "a person"), id="tc_n_27"),
        pytest.param({**REPORT, **TOKEN}, ("Accepted", ""), id="tc_n_28_no_data"),
        pytest.param({**REPORT, **TOKEN}, ("Rejected", None), id="tc_n_29"),
        pytest.param({**BOTH, **TOKEN}, ("Accepted", "a person"), id="tc_n_30"),
        pytest.param({**BOTH, **TOKEN}, ("Accepted", ""), id="tc_n_31_no_data"),
        pytest.param({**CLEAR, **TOKEN}, ("Accepted", ""), id="tc_n_32_no_report"),
        pytest.param({**CLEAR, "customerIdentifier": "C-1"}, ("Accepted", ""), id="tc_n_62"),
        pytest.param({**CLEAR, "customerCertificate": HASH}, ("Accepted", ""), id="n10_by_hash"),
    ],
)
async def test_customer_information(
    ready: Ready,
    subscriber: Subscriber,
    protocol: Protocol,
    wanted: dict[str, Any],
    said: tuple[str, str | None],
) -> None:
    """N09.FR.01, N10.FR.01/02: ordered and confirmed; what it says of a person is no event."""
    status, data = said
    async with ready(protocol) as station:
        station.answers["CustomerInformation"] = lambda _: {"status": status}
        answer = await answered(
            ready.operator, station.station_id, "CustomerInformation", {"requestId": 6, **wanted}
        )
        assert answer["status"] == status
        if data is None:
            return
        report = {"requestId": 6, "seqNo": 0, "generatedAt": station.now(), "data": data}
        assert await station.call("NotifyCustomerInformation", report) == {}
        (told,) = await subscriber.wait_for(
            "station.reported", station_id=station.station_id, action="NotifyCustomerInformation"
        )
        assert "data" not in told.payload


@every_2x
async def test_tc_n_46_a_cleared_customer_leaves_the_local_list(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """N10.FR.06/07: who was cleared is taken off the local list by the next update."""
    async with ready(protocol) as station:
        name, line = station.station_id, {**TOKEN, "idTokenInfo": {"status": "Accepted"}}
        first = {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": [line]}
        await answered(operator, name, "SendLocalList", first)
        payload = {"requestId": 6, **BOTH, **TOKEN}
        assert (await answered(operator, name, "CustomerInformation", payload))["status"]
        second = {
            "versionNumber": 2,
            "updateType": "Differential",
            "localAuthorizationList": [TOKEN],
        }
        answer = await answered(operator, name, "SendLocalList", second)
        assert (answer["status"], station.local_list.entries) == ("Accepted", {})
