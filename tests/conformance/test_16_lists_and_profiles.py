"""OCPP 1.6 Local Auth List Management and Smart Charging: the cases of a CSMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered, carried_out, transactions
from operating import until

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator

pytestmark = pytest.mark.stack


def update(version: int, kind: str, **tags: str | None) -> dict[str, Any]:
    """SendLocalList; a tag without a status is to be taken off."""
    entries = [
        {"idTag": tag, **({"idTagInfo": {"status": status}} if status else {})}
        for tag, status in tags.items()
    ]
    return {"listVersion": version, "updateType": kind, "localAuthorizationList": entries}


@pytest.mark.parametrize(
    "version", [pytest.param(-1, id="tc_042_1_not_supported"), pytest.param(0, id="tc_042_2_empty")]
)
async def test_local_list_version(operator: Operator, ready: Ready, version: int) -> None:
    """1.6 5.10: -1 says that there are no lists, 0 that it is empty."""
    async with ready("1.6") as station:
        station.answers["GetLocalListVersion"] = lambda _: {"listVersion": version}
        answer = await answered(operator, station.station_id, "GetLocalListVersion")
        assert answer == {"listVersion": version}


@pytest.mark.parametrize(
    "status", [pytest.param("NotSupported", id="tc_043_1"), pytest.param("Failed", id="tc_043_3")]
)
async def test_a_local_list_that_is_not_taken(
    operator: Operator, ready: Ready, status: str
) -> None:
    """1.6 5.15: NotSupported and Failed are the station's words, and kept as such."""
    async with ready("1.6") as station:
        station.answers["SendLocalList"] = lambda _: {"status": status}
        payload = update(1, "Full", AA01="Accepted")
        found = await carried_out(operator, station.station_id, "SendLocalList", payload)
        assert (found["status"], found["answer_status"]) == ("answered", status)


async def test_tc_043_4_tc_043_5_full_and_differential(operator: Operator, ready: Ready) -> None:
    """1.6 5.15: a full list, then one token more and one fewer; an old version is a mismatch."""
    async with ready("1.6") as station:
        name = station.station_id
        for payload, left in (
            (update(1, "Full", AA01="Accepted", AA02="Blocked"), {"AA01", "AA02"}),
            (update(2, "Differential", AA03="Accepted", AA01=None), {"AA02", "AA03"}),
        ):
            answer = await answered(operator, name, "SendLocalList", payload)
            assert (answer["status"], set(station.local_list.entries)) == ("Accepted", left)
        answer = await answered(operator, name, "SendLocalList", update(2, "Differential"))
        assert answer["status"] == "VersionMismatch"


def profile(purpose: str, **more: Any) -> dict[str, Any]:
    """A profile of 6 kW."""
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "chargingRateUnit": "W",
            "startSchedule": "2026-01-01T00:00:00Z",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6000.0}],
        },
        **more,
    }


async def test_tc_056_default_profile(operator: Operator, ready: Ready) -> None:
    """1.6 5.16: a TxDefaultProfile is set on a connector, and the schedule shows it."""
    async with ready("1.6") as station:
        name = station.station_id
        payload = {"connectorId": 1, "csChargingProfiles": profile("TxDefaultProfile")}
        answer = await answered(operator, name, "SetChargingProfile", payload)
        assert answer["status"] == "Accepted"
        wanted = {"connectorId": 1, "duration": 300, "chargingRateUnit": "W"}
        schedule = await answered(operator, name, "GetCompositeSchedule", wanted)
        (period,) = schedule["chargingSchedule"]["chargingSchedulePeriod"]
        assert period["limit"] == 6000


async def test_tc_057_profile_of_a_transaction(operator: Operator, ready: Ready) -> None:
    """1.6 5.16.1: a TxProfile names the transaction it is for."""
    token, _ = await operator.token()
    async with ready("1.6") as station:
        transaction = await station.start(token, 1)
        wanted = profile("TxProfile", transactionId=transaction.id)
        payload = {"connectorId": 1, "csChargingProfiles": wanted}
        answer = await answered(operator, station.station_id, "SetChargingProfile", payload)
        assert answer["status"] == "Accepted"


async def test_tc_059_remote_start_with_a_profile(operator: Operator, ready: Ready) -> None:
    """1.6 5.11: a remote start may bring the transaction's profile along."""
    token, _ = await operator.token()
    async with ready("1.6") as station:
        payload = {"idTag": token, "connectorId": 1, "chargingProfile": profile("TxProfile")}
        answer = await answered(operator, station.station_id, "RemoteStartTransaction", payload)
        assert answer["status"] == "Accepted"
        await until(lambda: transactions(operator, station.station_id), bool)
        await station.wait_until(lambda: station.profiles.held)


async def test_tc_067_clear_a_profile(operator: Operator, ready: Ready) -> None:
    """1.6 5.5: a profile is cleared by its id; one that is not there is Unknown."""
    async with ready("1.6") as station:
        name = station.station_id
        payload = {"connectorId": 1, "csChargingProfiles": profile("TxDefaultProfile")}
        await answered(operator, name, "SetChargingProfile", payload)
        words = [
            (await answered(operator, name, "ClearChargingProfile", {"id": 1}))["status"]
            for _ in range(2)
        ]
        assert words == ["Accepted", "Unknown"]
