"""Settings an operator wants, at the station: stored, sent, answered, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from operating import ALWAYS, until

if TYPE_CHECKING:
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])

HOURS = {"timezone": "Europe/Stockholm", "weekly": ALWAYS}
SPEED = {"limit": 11000, "unit": "W"}


async def state_of(operator: Operator, name: str) -> dict[str, Any]:
    body = await operator.done("GET", "config", f"/v1/stations/{name}/settings")
    settings: dict[str, Any] = body["settings"]
    return settings


@everywhere
async def test_a_setting_reaches_a_connected_station(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """A charging speed set by REST is a charging profile at the station, and in_sync (rules C)."""
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await operator.done(
            "PUT",
            "config",
            f"/v1/stations/{name}/settings",
            json={"charging_speed": SPEED, "opening_hours": HOURS},
        )
        await station.wait_for("SetChargingProfile")
        found = await until(
            lambda: state_of(operator, name),
            lambda settings: settings["charging_speed"]["state"] == "in_sync",
        )
        assert found["charging_speed"]["wanted"] == SPEED
        await subscriber.wait_for(
            "station.setting-changed", station_id=name, key="charging_speed", state="in_sync"
        )


@everywhere
async def test_a_setting_waits_for_a_station_that_is_away(
    operator: Operator, protocol: Protocol
) -> None:
    """Desired while offline, pending; sent at the next connection; the same twice sends nothing."""
    name, password = await operator.station()
    body = {"charging_speed": SPEED}
    await operator.done("PUT", "config", f"/v1/stations/{name}/settings", json=body)
    assert (await state_of(operator, name))["charging_speed"]["state"] == "pending"
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await until(
            lambda: state_of(operator, name),
            lambda settings: settings["charging_speed"]["state"] == "in_sync",
        )
        await operator.done("PUT", "config", f"/v1/stations/{name}/settings", json=body)
        await operator.done(
            "PUT",
            "config",
            f"/v1/stations/{name}/settings",
            json={"charging_speed": {"limit": 7000, "unit": "W"}},
        )
        await until(
            lambda: state_of(operator, name),
            lambda settings: (
                settings["charging_speed"]["wanted"]["limit"] == 7000
                and settings["charging_speed"]["state"] == "in_sync"
            ),
        )
        sent = [action for action, _ in station.received if action == "SetChargingProfile"]
        assert len(sent) == 2


async def test_keys_are_told_by_the_stations_own_answers(operator: Operator) -> None:
    """1.6 ChangeConfiguration: Accepted is in_sync, NotSupported is unsupported (1.6 5.3)."""
    name, password = await operator.station()
    async with operator.connected("1.6", name, password) as station:
        await station.boot()
        keys = {"MeterValueSampleInterval": "30", "NoSuchKeyAnywhere": "1"}
        await operator.done("PUT", "config", f"/v1/stations/{name}/settings", json={"keys": keys})
        found = await until(
            lambda: state_of(operator, name),
            lambda settings: all(settings[f"keys.{key}"]["state"] != "pending" for key in keys),
        )
    assert found["keys.MeterValueSampleInterval"]["state"] == "in_sync"
    assert found["keys.NoSuchKeyAnywhere"]["state"] == "unsupported"


@pytest.mark.parametrize(
    "body",
    [
        {"charging_speed": {"limit": -1, "unit": "W"}},
        {"charging_speed": {"limit": 1, "unit": "horses"}},
        {"opening_hours": {"timezone": "Mars/Olympus", "weekly": ALWAYS}},
        {"opening_hours": {"timezone": "UTC", "weekly": {"mon": [["22:00", "06:00"]]}}},
        {"no_such_setting": 1},
    ],
)
async def test_a_senseless_setting_is_a_problem_document(
    operator: Operator, body: dict[str, Any]
) -> None:
    """422 with the field at fault, and nothing stored."""
    name, _ = await operator.station()
    answer = await operator.send("PUT", "config", f"/v1/stations/{name}/settings", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
    settings = (await operator.done("GET", "config", f"/v1/stations/{name}/settings"))["settings"]
    assert settings == {}
