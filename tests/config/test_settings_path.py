"""Settings from REST to the station's answer: stored, compiled, sent, judged, shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CallOutcome, CommandChanged
from voltbus_backbone.contract.gateway import SendCall
from voltbus_backbone.contract.stations import SettingChanged, StationState
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.conftest import Replica

pytestmark = pytest.mark.stack

SPEED = {"limit": 11000, "unit": "W"}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHOP = {
    "timezone": "Europe/Stockholm",
    "weekly": {day: [["06:00", "22:00"]] for day in DAYS},
}
ACCEPTED = {"status": "Accepted"}


async def state(replica: Replica, key: str) -> str:
    found: str = (await replica.settings("CS-1"))[key]["state"]
    return found


async def test_a_setting_for_a_connected_station_is_sent_at_once(replica: Replica) -> None:
    """Stored, one SetChargingProfile, in_sync with the station's Accepted (rules C)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    shown = await replica.set("CS-1", charging_speed=SPEED)
    assert shown["charging_speed"]["state"] == "pending"
    assert shown["charging_speed"]["wanted"] == SPEED
    await replica.end(await replica.call("CS-1", "SetChargingProfile"), ACCEPTED)
    found = (await replica.settings("CS-1"))["charging_speed"]
    assert (found["state"], found["reported"]) == ("in_sync", SPEED)
    states = replica.told("stations.events", SettingChanged, key="charging_speed")
    assert [each.state for each in states] == ["pending", "in_sync"]


async def test_a_setting_waits_for_a_station_that_is_away(replica: Replica) -> None:
    """Pending while offline; sent after the next Boot is accepted."""
    await replica.register("CS-1")
    await replica.set("CS-1", charging_speed=SPEED)
    await replica.settle()
    assert replica.calls("CS-1") == []
    assert await state(replica, "charging_speed") == "pending"
    await replica.arrive("CS-1", Protocol.OCPP201)
    call = await replica.call("CS-1", "SetChargingProfile")
    assert call.payload["chargingProfile"]["chargingProfilePurpose"] == "ChargingStationMaxProfile"


async def test_a_station_that_reconnects_without_boot_gets_its_settings(replica: Replica) -> None:
    """Stations should not boot again on reconnect (A20): after a while of silence calls go out."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.disconnect("CS-1")
    await replica.set("CS-1", charging_speed=SPEED)
    await replica.connect("CS-1")
    await replica.settle()
    assert replica.calls("CS-1") == []
    replica.hands.move(10.0)
    await replica.call("CS-1", "SetChargingProfile")


async def test_the_same_settings_twice_send_nothing(replica: Replica) -> None:
    """The same generation twice sends nothing (rules C)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", charging_speed=SPEED)
    await replica.end(await replica.call("CS-1", "SetChargingProfile"), ACCEPTED)
    again = await replica.set("CS-1", charging_speed={"limit": 11000.0, "unit": "W"})
    await replica.settle()
    assert again["charging_speed"]["state"] == "in_sync"
    assert len(replica.calls("CS-1")) == 1


async def test_a_newer_wish_overtakes_the_one_on_its_way(replica: Replica) -> None:
    """The answer for an old generation does not make the new one in_sync."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", charging_speed=SPEED)
    old = await replica.call("CS-1", "SetChargingProfile")
    await replica.set("CS-1", charging_speed={"limit": 7000, "unit": "W"})
    await replica.end(old, ACCEPTED)
    assert await state(replica, "charging_speed") == "pending"
    new = await replica.call("CS-1", "SetChargingProfile")
    periods = new.payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
    assert periods == [{"startPeriod": 0, "limit": 7000}]
    await replica.end(new, ACCEPTED)
    assert await state(replica, "charging_speed") == "in_sync"


async def test_a_wish_that_changes_while_queued_sends_only_the_last(replica: Replica) -> None:
    """Queued calls of an older generation are cancelled, not sent."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.command("CS-1", "ClearCache")
    for limit in (1000, 2000, 3000):
        await replica.set("CS-1", charging_speed={"limit": limit, "unit": "W"})
    await replica.end(await replica.call("CS-1", "ClearCache"), ACCEPTED)
    await replica.end(await replica.call("CS-1", "SetChargingProfile"), ACCEPTED)
    assert [call.action for call in replica.calls("CS-1")] == ["ClearCache", "SetChargingProfile"]
    assert (await replica.settings("CS-1"))["charging_speed"]["reported"]["limit"] == 3000
    ends = replica.told("commands.events", CommandChanged, action="SetChargingProfile")
    assert [each.status.value for each in ends].count("cancelled") == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Accepted", "in_sync"),
        ("RebootRequired", "reboot_required"),
        ("NotSupported", "unsupported"),
        ("Rejected", "rejected"),
        ("Perhaps", "rejected"),
    ],
)
async def test_what_a_1_6_station_answers_is_the_settings_state(
    replica: Replica, answer: str, expected: str
) -> None:
    """ChangeConfiguration's four statuses (1.6 §5.3); an unknown word is a refusal."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", keys={"HeartbeatInterval": 60})
    call = await replica.call("CS-1", "ChangeConfiguration")
    assert call.payload == {"key": "HeartbeatInterval", "value": "60"}
    await replica.end(call, {"status": answer})
    assert await state(replica, "keys.HeartbeatInterval") == expected


async def test_variables_of_2_x_travel_together_and_are_judged_one_by_one(
    replica: Replica,
) -> None:
    """SetVariables with a status for each variable (B05)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1", Protocol.OCPP201)
    await replica.set(
        "CS-1",
        keys={
            "OCPPCommCtrlr.HeartbeatInterval": 60,
            "AuthCtrlr.LocalPreAuthorize": True,
            "NoSuchCtrlr.Thing": "1",
        },
    )
    call = await replica.call("CS-1", "SetVariables")
    answers = {"OCPPCommCtrlr": "Accepted", "AuthCtrlr": "RebootRequired"}
    results = [
        {
            "attributeStatus": answers.get(each["component"]["name"], "UnknownComponent"),
            "component": each["component"],
            "variable": each["variable"],
        }
        for each in call.payload["setVariableData"]
    ]
    await replica.end(call, {"setVariableResult": results[::-1]})
    assert await state(replica, "keys.OCPPCommCtrlr.HeartbeatInterval") == "in_sync"
    assert await state(replica, "keys.AuthCtrlr.LocalPreAuthorize") == "reboot_required"
    assert await state(replica, "keys.NoSuchCtrlr.Thing") == "unsupported"


async def test_payment_methods_are_unsupported_in_1_6(replica: Replica) -> None:
    """1.6 has vendor keys only; without one configured nothing is sent (rules C)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", payment_methods=["rfid", "app"])
    await replica.settle()
    assert await state(replica, "payment_methods") == "unsupported"
    assert replica.calls("CS-1") == []


async def test_silence_is_tried_again_later_and_a_refusal_is_final(replica: Replica) -> None:
    """Timeouts retry with a back-off; a reject is final for its generation (rules C)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", keys={"A": "1"})
    await replica.end(
        await replica.call("CS-1", "ChangeConfiguration"), outcome=CallOutcome.TIMED_OUT
    )
    found = (await replica.settings("CS-1"))["keys.A"]
    assert (found["state"], found["attempts"]) == ("pending", 1)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 1
    replica.hands.move(13)
    await replica.end(
        await replica.call("CS-1", "ChangeConfiguration"),
        outcome=CallOutcome.REJECTED,
        error_code="SecurityError",
    )
    assert len(replica.calls("CS-1")) == 2
    assert await state(replica, "keys.A") == "rejected"
    replica.hands.move(7200)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 2


async def test_an_unsupported_setting_is_tried_anew_in_another_version(replica: Replica) -> None:
    """What 1.6 could not do, the same station may do after its upgrade to 2.0.1."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", payment_methods=["rfid"])
    await replica.settle()
    assert await state(replica, "payment_methods") == "unsupported"
    await replica.arrive("CS-1", Protocol.OCPP201)
    await replica.call("CS-1", "SetVariables")
    assert await state(replica, "payment_methods") == "pending"


async def test_a_restart_brings_what_needed_one(replica: Replica) -> None:
    """RebootRequired (1.6 §5.3, B05) ends with the next BootNotification."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", keys={"A": "1"})
    call = await replica.call("CS-1", "ChangeConfiguration")
    await replica.end(call, {"status": "RebootRequired"})
    await replica.disconnect("CS-1")
    replica.hands.move(30)
    await replica.connect("CS-1")
    replica.hands.move(2)
    await replica.settle()
    assert await state(replica, "keys.A") == "reboot_required"  # it only reconnected
    await replica.boot("CS-1")
    await replica.settle()
    assert await state(replica, "keys.A") == "in_sync"
    assert len(replica.calls("CS-1")) == 1


async def test_the_service_does_all_this_by_itself(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """The background loops send what became due, without anyone's help."""
    replica = await make_replica(boot_lag_s=0, boot_wait_s=0)
    work = [
        asyncio.create_task(replica.reconciler.run()),
        asyncio.create_task(replica.context.outbox.run()),
    ]
    try:
        await replica.register("CS-1")
        await replica.set("CS-1", charging_speed=SPEED)
        await replica.connect("CS-1")
        await replica.ask(event(registry.BOOT, replica.a_boot("CS-1")))
        await replica.bus.wait_for(
            "gateway.inbox", lambda found: isinstance(found.message, SendCall)
        )
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


# Opening hours.


async def test_opening_hours_open_and_close_the_station_by_the_clock(replica: Replica) -> None:
    """OCPP has no hours: ChangeAvailability at each boundary (rules C)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", opening_hours=SHOP)  # it is 14:00 there
    now = await replica.call("CS-1", "ChangeAvailability")
    assert now.payload == {"connectorId": 0, "type": "Operative"}
    await replica.end(now, ACCEPTED)
    assert await state(replica, "opening_hours") == "in_sync"
    replica.hands.move(8 * 3600)
    evening = await replica.call("CS-1", "ChangeAvailability")
    assert evening.payload["type"] == "Inoperative"
    await replica.end(evening, {"status": "Scheduled"})
    assert await state(replica, "opening_hours") == "in_sync"
    replica.hands.move(8 * 3600)
    morning = await replica.call("CS-1", "ChangeAvailability")
    assert morning.payload["type"] == "Operative"


async def test_a_boundary_passed_while_offline_is_made_up_for(replica: Replica) -> None:
    """A station that was away at closing time is closed when it is back."""
    await replica.register("CS-1")
    await replica.arrive("CS-1", Protocol.OCPP21)
    await replica.set("CS-1", opening_hours=SHOP)
    await replica.end(await replica.call("CS-1", "ChangeAvailability"), ACCEPTED)
    await replica.disconnect("CS-1")
    replica.hands.move(9 * 3600)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 1
    await replica.arrive("CS-1", Protocol.OCPP21)
    call = await replica.call("CS-1", "ChangeAvailability")
    assert call.payload == {"operationalStatus": "Inoperative"}


async def test_a_closed_station_is_opened_when_its_hours_are_taken_away(replica: Replica) -> None:
    """Without hours a station is open; nobody has to remember to open it."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", opening_hours={"timezone": "UTC", "weekly": {}})
    call = await replica.call("CS-1", "ChangeAvailability")
    assert call.payload["type"] == "Inoperative"
    await replica.end(call, ACCEPTED)
    await replica.set("CS-1")
    call = await replica.call("CS-1", "ChangeAvailability")
    assert call.payload["type"] == "Operative"
    await replica.end(call, ACCEPTED)
    assert await replica.settings("CS-1") == {}


async def test_a_charging_speed_taken_away_is_cleared_at_the_station(replica: Replica) -> None:
    """The profile that we set is the one that we clear."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.set("CS-1", charging_speed=SPEED)
    sent = await replica.call("CS-1", "SetChargingProfile")
    await replica.end(sent, ACCEPTED)
    await replica.set("CS-1")
    call = await replica.call("CS-1", "ClearChargingProfile")
    assert call.payload == {"id": sent.payload["csChargingProfiles"]["chargingProfileId"]}
    await replica.end(call, {"status": "Unknown"})
    assert await replica.settings("CS-1") == {}


async def test_opening_hours_reach_auth_by_the_stations_snapshot(replica: Replica) -> None:
    """stations.state carries the hours, with a growing revision, and only when it changed."""
    await replica.register("CS-1", site_id="site-1")
    await replica.set("CS-1", opening_hours=SHOP)
    await replica.set("CS-1", opening_hours=SHOP)
    await replica.settle()
    states: list[StationState] = replica.told("stations.state", StationState, station_id="CS-1")
    assert [each.revision for each in states] == [1, 2]
    assert states[1].site_id == "site-1"
    assert states[1].opening_hours is not None
    assert states[1].opening_hours.weekly["mon"] == (("06:00", "22:00"),)


# Bad input.


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"charging_speed": {"limit": -1}}, "charging_speed.limit"),
        ({"charging_speed": {"limit": 1, "unit": "horses"}}, "charging_speed.unit"),
        ({"payment_methods": ["gold"]}, "payment_methods.0"),
        ({"opening_hours": {"timezone": "Mars/Olympus", "weekly": {}}}, "opening_hours.timezone"),
        (
            {"opening_hours": {"timezone": "UTC", "weekly": {"mon": [["22:00", "06:00"]]}}},
            "opening_hours.weekly.mon",
        ),
        ({"keys": {"a": "1", "A": "2"}}, "keys"),
        ({"keys": {"AuthorizationKey": "secret"}}, "keys"),
        ({"keys": {"": "1"}}, "keys..[key]"),
        ({"no_such_setting": 1}, "body"),
        ({"charging_speed": {"limit": 1, "colour": "red"}}, "charging_speed"),
    ],
)
async def test_a_senseless_setting_is_refused_with_its_field(
    replica: Replica, body: dict[str, Any], field: str
) -> None:
    """422 as a problem document that names the field, and nothing is stored."""
    await replica.register("CS-1")
    answer = await replica.client.put("/v1/stations/CS-1/settings", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert "secret" not in answer.text
    assert await replica.settings("CS-1") == {}


async def test_settings_of_an_unknown_station_are_not_found(replica: Replica) -> None:
    """404 for reading and for writing."""
    assert (await replica.client.get("/v1/stations/CS-9/settings")).status_code == 404
    assert (await replica.client.put("/v1/stations/CS-9/settings", json={})).status_code == 404


async def test_a_secret_is_written_and_never_shown(replica: Replica) -> None:
    """A shared secret goes to the station, and is in no answer and no event (rules C)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1", Protocol.OCPP21)
    await replica.set("CS-1", keys={"WebPaymentsCtrlr.SharedSecret": "tell-nobody"})
    call = await replica.call("CS-1", "SetVariables")
    assert call.payload["setVariableData"][0]["attributeValue"] == "tell-nobody"
    shown = await replica.client.get("/v1/stations/CS-1/settings")
    assert "tell-nobody" not in shown.text
    public = [
        record.value or b""
        for topic in ("stations.events", "commands.events", "stations.state")
        for record in replica.bus.records(topic)
    ]
    assert not any(b"tell-nobody" in value for value in public)
