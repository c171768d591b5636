"""G Availability: in and out of service, and what connectors report (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered, carried_out, connector_state, every_2x

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

EVSE = {"evse_id": 1}
CONNECTOR = {"evse_id": 1, "connector_id": 1}
STATION: dict[str, Any] = {}


@every_2x
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(EVSE, id="tc_g_03_tc_g_04_evse"),
        pytest.param(STATION, id="tc_g_05_tc_g_06_station"),
        pytest.param(CONNECTOR, id="tc_g_07_tc_g_08_connector"),
    ],
)
async def test_out_of_service_and_back(
    operator: Operator, ready: Ready, protocol: Protocol, place: dict[str, Any]
) -> None:
    """G03, G04: Inoperative and Operative are Accepted, and the new state is reported and shown."""
    async with ready(protocol) as station:
        for operative, state in ((False, "Unavailable"), (True, "Available")):
            wanted = {"operative": operative, **place}
            found = await carried_out(operator, station.station_id, "change_availability", wanted)
            assert found["answer_status"] == "Accepted"
            await connector_state(operator, station.station_id, state)
        sent = await station.wait_for("ChangeAvailability")
        assert sent["operationalStatus"] == "Inoperative"
        names = {"evse_id": "id", "connector_id": "connectorId"}
        assert sent.get("evse", {}) == {names[key]: value for key, value in place.items()}


@every_2x
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(EVSE, id="tc_g_11_evse"),
        pytest.param(STATION, id="tc_g_14_station"),
        pytest.param(CONNECTOR, id="tc_g_17_connector"),
    ],
)
async def test_out_of_service_while_charging(
    operator: Operator, ready: Ready, protocol: Protocol, place: dict[str, Any]
) -> None:
    """G03.FR.05, G04.FR.06: while someone charges it is Scheduled, and done when that ends."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        transaction = await station.start(token, 1)
        wanted = {"operative": False, **place}
        found = await carried_out(operator, station.station_id, "change_availability", wanted)
        assert (found["status"], found["answer_status"]) == ("answered", "Scheduled")
        await station.finish(transaction, 100, "Local")
        await connector_state(operator, station.station_id, "Unavailable")


@every_2x
async def test_g01_status_notification(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """G01.FR.01: every state of a connector is confirmed, told, and the latest is shown."""
    states = ("Available", "Reserved", "Unavailable", "Faulted")
    async with ready(protocol) as station:
        for state in states:
            await station.status(1, state)
        told = await subscriber.wait_for(
            "station.status", count=len(states), station_id=station.station_id
        )
        assert tuple(one.status for one in told) == states
        await connector_state(operator, station.station_id, "Faulted")


@every_2x
async def test_tc_g_20_lock_failure(
    ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """G05.FR.01: a connector lock that failed comes as an event, is confirmed and told."""
    async with ready(protocol) as station:
        event = {
            "eventId": 1,
            "timestamp": station.now(),
            "trigger": "Delta",
            "actualValue": "true",
            "eventNotificationType": "HardWiredNotification",
            "component": {"name": "ConnectorPlugRetentionLock", "evse": {"id": 1}},
            "variable": {"name": "Problem"},
        }
        payload = {"generatedAt": station.now(), "seqNo": 0, "eventData": [event]}
        assert await station.call("NotifyEvent", payload) == {}
        (told,) = await subscriber.wait_for(
            "station.reported", station_id=station.station_id, action="NotifyEvent"
        )
        assert told.payload["eventData"][0]["component"]["name"] == "ConnectorPlugRetentionLock"


@every_2x
async def test_g02_heartbeat(ready: Ready, protocol: Protocol) -> None:
    """G02.FR.02: a heartbeat is answered with the time."""
    async with ready(protocol) as station:
        assert (await station.heartbeat()).endswith("Z")


@every_2x
async def test_g04_an_unknown_evse_is_rejected_by_the_station(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """G03: the station's Rejected is an answer and no failure of the command."""
    async with ready(protocol) as station:
        payload = {"operationalStatus": "Inoperative", "evse": {"id": 99}}
        answer = await answered(operator, station.station_id, "ChangeAvailability", payload)
        assert answer["status"] == "Rejected"
