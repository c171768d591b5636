"""Charging profiles of a simulated station and the schedule they add up to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus.simulator.charging import Profiles

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def profile(
    identity: int,
    limit: float,
    purpose: str = "TxDefaultProfile",
    *,
    stack: int = 0,
    kind: str = "Absolute",
    **more: Any,
) -> dict[str, Any]:
    """Return a 2.x profile with one period, or with those given."""
    periods = more.pop("periods", [{"startPeriod": 0, "limit": limit}])
    schedule = {
        "id": 1,
        "chargingRateUnit": more.pop("unit", "W"),
        "chargingSchedulePeriod": periods,
        **more.pop("schedule", {}),
    }
    return {
        "id": identity,
        "stackLevel": stack,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [schedule],
        **more,
    }


def limits(profiles: Profiles, seconds: int = 60, unit: str = "W") -> list[tuple[int, float]]:
    """Return (offset, limit) of EVSE 1's composite schedule from noon."""
    periods = profiles.composite(1, NOON, seconds, unit)
    return [(period["startPeriod"], period["limit"]) for period in periods]


def test_no_profile_no_schedule() -> None:
    """An empty station has nothing to say."""
    assert limits(Profiles()) == []


def test_the_lowest_of_the_purposes_rules() -> None:
    """Station maximum and default are met both: the lower limit wins (K08.FR.04)."""
    profiles = Profiles()
    profiles.install(0, profile(1, 7000, "ChargingStationMaxProfile"), charging=False)
    profiles.install(1, profile(2, 11000), charging=False)
    assert limits(profiles) == [(0, 7000)]


def test_the_highest_stack_level_rules_within_a_purpose() -> None:
    """Of two defaults the one with the higher stack level counts, though it allows more."""
    profiles = Profiles()
    profiles.install(1, profile(1, 7000, stack=0), charging=False)
    profiles.install(1, profile(2, 9000, stack=3), charging=False)
    assert limits(profiles) == [(0, 9000)]


def test_a_transactions_profile_replaces_the_default() -> None:
    """TxProfile overrules TxDefaultProfile on its EVSE (1.6 §3.13.1)."""
    profiles = Profiles()
    profiles.install(1, profile(1, 7000), charging=False)
    assert profiles.install(1, profile(2, 9000, "TxProfile"), charging=True) == "Accepted"
    assert limits(profiles) == [(0, 9000)]


def test_the_same_slot_is_replaced() -> None:
    """Same id, or same purpose and level on the EVSE: the newer one stays (K01.FR.05)."""
    profiles = Profiles()
    profiles.install(1, profile(1, 7000), charging=False)
    profiles.install(1, profile(2, 8000), charging=False)
    profiles.install(2, profile(2, 6000), charging=False)
    assert [(one.evse, one.identity) for one in profiles.held] == [(2, 2)]


def test_periods_and_durations() -> None:
    """Later periods take over, and after the duration the schedule is silent."""
    profiles = Profiles()
    periods = [{"startPeriod": 0, "limit": 5000}, {"startPeriod": 120, "limit": 3000}]
    schedule = {"startSchedule": NOON.isoformat(), "duration": 240}
    profiles.install(1, profile(1, 0, periods=periods, schedule=schedule), charging=False)
    assert limits(profiles, 600) == [(0, 5000), (120, 3000)]
    assert profiles.composite(1, NOON + timedelta(seconds=240), 60, "W") == []


def test_a_daily_schedule_comes_again() -> None:
    """A recurring schedule begun days ago rules at the same time today."""
    profiles = Profiles()
    schedule = {"startSchedule": (NOON - timedelta(days=3)).isoformat(), "duration": 3600}
    daily = profile(1, 4000, kind="Recurring", recurrencyKind="Daily", schedule=schedule)
    profiles.install(1, daily, charging=False)
    assert limits(profiles) == [(0, 4000)]
    assert profiles.composite(1, NOON + timedelta(hours=2), 60, "W") == []


def test_validity() -> None:
    """Before validFrom and from validTo on a profile is silent."""
    profiles = Profiles()
    later = (NOON + timedelta(minutes=1)).isoformat()
    end = (NOON + timedelta(minutes=2)).isoformat()
    profiles.install(1, profile(1, 4000, validFrom=later, validTo=end), charging=False)
    assert limits(profiles, 300) == [(60, 4000)]


@pytest.mark.parametrize(("unit", "limit"), [("W", 6900.0), ("A", 10.0)])
def test_units_are_converted(unit: str, limit: float) -> None:
    """10 A on three phases of 230 V are 6,900 W."""
    profiles = Profiles()
    profiles.install(1, profile(1, 10, unit="A"), charging=False)
    assert limits(profiles, unit=unit) == [(0, limit)]


@pytest.mark.parametrize(
    ("evse", "purpose", "more"),
    [
        (1, "ChargingStationMaxProfile", {}),
        (0, "ChargingStationMaxProfile", {"kind": "Relative"}),
        (1, "TxProfile", {}),
        (0, "TxDefaultProfile", {"stack": 9}),
    ],
)
def test_what_a_station_rejects(evse: int, purpose: str, more: dict[str, Any]) -> None:
    """A maximum off EVSE 0 or relative (K01.FR.38), a TxProfile while idle, too high a level."""
    assert Profiles().install(evse, profile(1, 1, purpose, **more), charging=False) == "Rejected"


def test_clearing_by_criteria() -> None:
    """Every given criterion must be met; none given clears all."""
    profiles = Profiles()
    profiles.install(1, profile(1, 1, stack=1), charging=False)
    profiles.install(2, profile(2, 1, stack=1), charging=False)
    assert profiles.clear(evse=1, stack_level=2) == 0
    assert profiles.clear(evse=1, stack_level=1) == 1
    assert profiles.clear() == 1


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 50_000)), min_size=1, max_size=8))
def test_the_composite_never_exceeds_the_station_maximum(
    defaults: list[tuple[int, int]],
) -> None:
    """Whatever defaults are installed, the station's maximum is kept."""
    profiles = Profiles()
    profiles.install(0, profile(99, 10_000, "ChargingStationMaxProfile"), charging=False)
    for number, (stack, limit) in enumerate(defaults):
        profiles.install(1, profile(number, limit, stack=stack), charging=False)
    assert all(limit <= 10_000 for _, limit in limits(profiles))
