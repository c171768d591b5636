"""Ids, intervals, and how a station stands (rules A1, A20, A21, C)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.config_examples import NOW
from voltbus_config.domain.boot_requests import owes_boot
from voltbus_config.domain.stations import (
    Intervals,
    LastBoot,
    RegisteredStation,
    Registration,
    add_jitter,
    choose_interval,
    effective_registration,
    find_id_problem,
    sendable_registration,
)

ACCEPTED, PENDING, REJECTED = Registration.ACCEPTED, Registration.PENDING, Registration.REJECTED


def station(registration: Registration, told: Registration | None) -> RegisteredStation:
    boot = None if told is None else LastBoot(event_id="e", at=NOW, status=told, connection_id="c")
    return RegisteredStation(
        id="CS-1",
        registration=registration,
        revision=1,
        created_at=NOW,
        updated_at=NOW,
        boot=boot,
    )


@pytest.mark.parametrize("good", ["CS-1", "x" * 48, "SE*ABC*E1", "a b", "a.b", "A+B|C@D=E_F"])
def test_these_are_station_ids(good: str) -> None:
    """What stations are called in the field (A1)."""
    assert find_id_problem(good) is None


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "x" * 49, "a:b", "a/b", "a?b", "a#b", "å", "a\nb", " a", "a "]
)
def test_these_are_not(bad: str) -> None:
    """Too long, a colon, or what a URL or a log would trip over (A1)."""
    assert find_id_problem(bad) is not None


@given(st.integers(0, 100_000), st.text(min_size=1, max_size=48))
def test_intervals_differ_by_station_and_stay_near(base: int, name: str) -> None:
    """At most a tenth either way, and the same for the same station."""
    found = add_jitter(base, name)
    assert abs(found - base) <= base // 10 + 1
    assert found == add_jitter(base, name)
    assert found > 0 or base == 0


def test_a_fleet_is_spread() -> None:
    """A thousand stations with one interval do not beat in one second."""
    assert len({add_jitter(300, f"CS-{number}") for number in range(1000)}) == 61


def test_the_interval_is_a_heartbeat_or_a_wait() -> None:
    """Accepted: heartbeat; else the time before the next Boot (rules C)."""
    intervals = Intervals(heartbeat_s=1000, retry_s=10)
    assert choose_interval(ACCEPTED, "CS-1", intervals) >= 900
    assert choose_interval(PENDING, "CS-1", intervals) <= 11
    assert choose_interval(REJECTED, "CS-1", intervals) <= 11


@pytest.mark.parametrize(
    ("registration", "told", "stands", "reached"),
    [
        (ACCEPTED, None, PENDING, REJECTED),
        (ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED),
        (ACCEPTED, PENDING, PENDING, PENDING),
        (ACCEPTED, REJECTED, REJECTED, REJECTED),
        (PENDING, None, PENDING, REJECTED),
        (PENDING, ACCEPTED, PENDING, PENDING),
        (REJECTED, None, REJECTED, REJECTED),
        (REJECTED, ACCEPTED, REJECTED, REJECTED),
    ],
)
def test_a_station_stands_as_the_lower_of_what_we_say_and_what_it_was_told(
    registration: Registration,
    told: Registration | None,
    stands: Registration,
    reached: Registration,
) -> None:
    """Accepted by the operator is not yet told to the station; nothing is sent before a Boot."""
    found = station(registration, told)
    assert effective_registration(found, REJECTED) is stands
    assert sendable_registration(found) is reached


@pytest.mark.parametrize("policy", list(Registration))
def test_an_unknown_station_stands_by_policy_and_is_sent_nothing(policy: Registration) -> None:
    """Whatever the policy, commands need a registered station."""
    assert effective_registration(None, policy) is policy
    assert sendable_registration(None) is REJECTED


@pytest.mark.parametrize(
    ("registration", "told", "expected"),
    [
        (ACCEPTED, None, True),
        (PENDING, None, True),
        (REJECTED, None, False),
        (ACCEPTED, PENDING, True),
        (PENDING, ACCEPTED, True),
        (ACCEPTED, ACCEPTED, False),
        (PENDING, PENDING, False),
        (REJECTED, ACCEPTED, False),
        (ACCEPTED, REJECTED, False),
    ],
)
def test_a_station_owes_a_boot_while_it_was_told_something_else(
    registration: Registration,
    told: Registration | None,
    expected: bool,  # noqa: FBT001 - a table
) -> None:
    """It is asked for one, but not the rejected, who are sent nothing (B03.FR.03)."""
    assert owes_boot(station(registration, told), REJECTED) is expected


@pytest.mark.parametrize("policy", list(Registration))
def test_an_unknown_station_owes_a_boot_by_policy(policy: Registration) -> None:
    """Where unknown stations are let in, the Boot is what makes them known."""
    assert owes_boot(None, policy) is (policy is not REJECTED)
