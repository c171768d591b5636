"""K Smart charging: profiles set, read, replaced and cleared by order (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered, every_2x, transactions
from operating import until

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


def profile(
    purpose: str = "TxDefaultProfile", identity: int = 1, stack_level: int = 0, **more: Any
) -> dict[str, Any]:
    """A charging profile of 6 kW."""
    schedule = {
        "id": identity,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6000.0}],
        **more.pop("schedule", {}),
    }
    return {
        "id": identity,
        "stackLevel": stack_level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [{**schedule, "startSchedule": "2026-01-01T00:00:00Z"}],
        **more,
    }


async def put(operator: Operator, name: str, evse: int, one: dict[str, Any]) -> str:
    """Send a profile; the station's word."""
    payload = {"evseId": evse, "chargingProfile": one}
    answer = await answered(operator, name, "SetChargingProfile", payload)
    return str(answer["status"])


@every_2x
@pytest.mark.parametrize(
    ("evse", "one", "status"),
    [
        pytest.param(1, profile(), "Accepted", id="tc_k_01_default_of_an_evse"),
        pytest.param(1, profile("TxProfile"), "Rejected", id="k01_fr_09_no_transaction"),
        pytest.param(0, profile("ChargingStationMaxProfile"), "Accepted", id="tc_k_03"),
        pytest.param(
            1,
            profile(chargingProfileKind="Recurring", recurrencyKind="Daily"),
            "Accepted",
            id="tc_k_19_recurring",
        ),
    ],
)
async def test_set_charging_profile(
    ready: Ready, protocol: Protocol, evse: int, one: dict[str, Any], status: str
) -> None:
    """K01.FR.01: a profile goes out as it is wanted, and the station's word is kept."""
    async with ready(protocol) as station:
        assert await put(ready.operator, station.station_id, evse, one) == status
        sent = await station.wait_for("SetChargingProfile")
        assert sent == {"evseId": evse, "chargingProfile": one}


@every_2x
async def test_tc_k_04_replace_a_profile(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """K01.FR.05: a profile with the id of an installed one takes its place."""
    async with ready(protocol) as station:
        for level in (0, 3):
            one = profile(identity=1, stack_level=level)
            assert await put(operator, station.station_id, 1, one) == "Accepted"
        (held,) = station.profiles.held
        assert held.stack_level == 3


@every_2x
async def test_tc_k_70_several_profiles(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """K01.FR.06: profiles of several levels and purposes go out one after the other."""
    async with ready(protocol) as station:
        for evse, one in (
            (0, profile("ChargingStationMaxProfile", 1)),
            (0, profile("TxDefaultProfile", 2)),
            (1, profile("TxDefaultProfile", 3, 1)),
        ):
            assert await put(operator, station.station_id, evse, one) == "Accepted"
        assert len(station.profiles.held) == 3


@every_2x
async def test_tc_k_60_profile_of_a_transaction(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """K01.FR.03/39: a TxProfile names the transaction that it is for."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        transaction = await station.start(token, 1)
        one = profile("TxProfile", transactionId=transaction.id)
        assert await put(operator, station.station_id, 1, one) == "Accepted"


@every_2x
async def test_tc_k_37_remote_start_with_a_profile(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """K05.FR.01: a remote start may bring the transaction's profile along."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        payload = {
            "idToken": {"idToken": token, "type": "ISO14443"},
            "remoteStartId": 9,
            "evseId": 1,
            "chargingProfile": profile("TxProfile"),
        }
        answer = await answered(operator, station.station_id, "RequestStartTransaction", payload)
        assert answer["status"] == "Accepted"
        await until(lambda: transactions(operator, station.station_id), bool)
        await station.wait_until(lambda: station.profiles.held)


@every_2x
@pytest.mark.parametrize(
    ("criteria", "status"),
    [
        pytest.param({"chargingProfileId": 1}, "Accepted", id="tc_k_05_by_id"),
        pytest.param(
            {
                "chargingProfileCriteria": {
                    "stackLevel": 0,
                    "chargingProfilePurpose": "TxDefaultProfile",
                }
            },
            "Accepted",
            id="tc_k_06_by_level_and_purpose",
        ),
        pytest.param({"chargingProfileId": 404}, "Unknown", id="tc_k_08_none_such"),
    ],
)
async def test_clear_charging_profile(
    ready: Ready, protocol: Protocol, criteria: dict[str, Any], status: str
) -> None:
    """K10.FR.01/03: profiles are cleared by id or by criteria; where none fits it is Unknown."""
    async with ready(protocol) as station:
        await put(ready.operator, station.station_id, 1, profile())
        answer = await answered(
            ready.operator, station.station_id, "ClearChargingProfile", criteria
        )
        assert answer["status"] == status


CRITERIA = [
    pytest.param(0, {"chargingLimitSource": ["CSO"]}, id="tc_k_29"),
    pytest.param(1, {"chargingLimitSource": ["CSO"]}, id="tc_k_30_tc_k_34"),
    pytest.param(None, {"chargingLimitSource": ["CSO"]}, id="tc_k_31"),
    pytest.param(None, {"chargingProfileId": [1]}, id="tc_k_32"),
    pytest.param(1, {"stackLevel": 0}, id="tc_k_33"),
    pytest.param(1, {"chargingProfilePurpose": "TxDefaultProfile"}, id="tc_k_35"),
    pytest.param(1, {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}, id="tc_k_36"),
]


@every_2x
@pytest.mark.parametrize(("evse", "criteria"), CRITERIA)
async def test_get_charging_profiles(
    ready: Ready,
    subscriber: Subscriber,
    protocol: Protocol,
    evse: int | None,
    criteria: dict[str, Any],
) -> None:
    """K09.FR.01/03: profiles are asked for by criteria, and the report is confirmed and told."""
    async with ready(protocol) as station:
        name = station.station_id
        await put(ready.operator, name, evse or 0, profile())
        payload: dict[str, Any] = {"requestId": 3, "chargingProfile": criteria}
        if evse is not None:
            payload["evseId"] = evse
        answer = await answered(ready.operator, name, "GetChargingProfiles", payload)
        assert answer["status"] == "Accepted"
        (told,) = await subscriber.wait_for(
            "station.reported", station_id=name, action="ReportChargingProfiles"
        )
        assert told.payload["requestId"] == 3


@every_2x
@pytest.mark.parametrize(
    "evse", [pytest.param(1, id="tc_k_43_evse"), pytest.param(0, id="tc_k_44_station")]
)
async def test_get_composite_schedule(
    operator: Operator, ready: Ready, protocol: Protocol, evse: int
) -> None:
    """K08.FR.02: the schedule that all profiles add up to, of an EVSE or of the station."""
    async with ready(protocol) as station:
        await put(operator, station.station_id, 0, profile("ChargingStationMaxProfile"))
        payload = {"duration": 300, "evseId": evse, "chargingRateUnit": "W"}
        answer = await answered(operator, station.station_id, "GetCompositeSchedule", payload)
        (period,) = answer["schedule"]["chargingSchedulePeriod"]
        assert (answer["status"], period["limit"]) == ("Accepted", 6000)


@every_2x
async def test_k15_charging_needs_are_answered(ready: Ready, protocol: Protocol) -> None:
    """K15.FR.03: no schedule is made for a car, and the station is told so at once."""
    async with ready(protocol) as station:
        needs = {
            "evseId": 1,
            "chargingNeeds": {
                "requestedEnergyTransfer": "AC_three_phase",
                "acChargingParameters": {
                    "energyAmount": 20000,
                    "evMinCurrent": 6,
                    "evMaxCurrent": 32,
                    "evMaxVoltage": 400,
                },
            },
        }
        answer = await station.call("NotifyEVChargingNeeds", needs)
        expected = {"2.0.1": "Rejected", "2.1": "NoChargingProfile"}
        assert answer["status"] == expected[protocol]
