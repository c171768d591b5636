"""Opening hours: what is open when, and when that changes (ocpp-rules C, opening times)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltbus_backbone.contract.values import OpeningHours
from voltbus_backbone.values.hours import WEEKDAYS, is_open, next_change, validate

STOCKHOLM = ZoneInfo("Europe/Stockholm")
SHOP = OpeningHours(
    timezone="Europe/Stockholm",
    weekly=dict.fromkeys(WEEKDAYS, (("06:00", "22:00"),)),
)
SPRING = date(2026, 3, 29)  # 02:00 becomes 03:00 in Stockholm, at 01:00 UTC
AUTUMN = date(2026, 10, 25)  # 03:00 becomes 02:00 in Stockholm, at 01:00 UTC


def local(day: date, time: str, fold: int = 0) -> datetime:
    """A wall-clock time in Stockholm."""
    hour, minute = (int(part) for part in time.split(":"))
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=STOCKHOLM, fold=fold)


def utc(day: date, time: str) -> datetime:
    """A time in UTC."""
    return local(day, time).replace(tzinfo=UTC)


def on(day: date, *periods: tuple[str, str]) -> OpeningHours:
    """Open on this date only."""
    return OpeningHours(
        timezone="Europe/Stockholm", weekly={}, exceptions={day.isoformat(): periods}
    )


@pytest.mark.parametrize(
    ("time", "expected"),
    [("05:59", False), ("06:00", True), ("21:59", True), ("22:00", False)],
)
def test_a_period_is_half_open(time: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """The first minute belongs to a period and the last named one does not."""
    assert is_open(SHOP, local(date(2026, 6, 1), time)) is expected


def test_hours_are_those_of_the_site_and_not_of_utc() -> None:
    """06:00 in Stockholm is 04:00 UTC in summer and 05:00 UTC in winter."""
    assert is_open(SHOP, utc(date(2026, 7, 1), "04:00"))
    assert not is_open(SHOP, utc(date(2026, 1, 7), "04:00"))
    assert is_open(SHOP, utc(date(2026, 1, 7), "05:00"))


def test_a_weekday_left_out_is_closed() -> None:
    """Only Monday is open; the next change after it closes is the Monday after."""
    hours = OpeningHours(timezone="UTC", weekly={"mon": (("00:00", "24:00"),)})
    assert is_open(hours, utc(date(2026, 6, 1), "23:59"))
    assert not is_open(hours, utc(date(2026, 6, 2), "00:00"))
    assert next_change(hours, utc(date(2026, 6, 2), "00:00")) == utc(date(2026, 6, 8), "00:00")


def test_midnight_between_two_open_days_is_no_change() -> None:
    """24:00 and the next day's 00:00 join, so that a night period is written as two."""
    hours = OpeningHours(
        timezone="UTC", weekly={"mon": (("22:00", "24:00"),), "tue": (("00:00", "05:00"),)}
    )
    assert next_change(hours, utc(date(2026, 6, 1), "23:00")) == utc(date(2026, 6, 2), "05:00")


def test_an_exception_replaces_its_date_and_an_empty_one_closes_it() -> None:
    """A holiday is closed whatever the weekday says, and the next change is the day after."""
    holiday = OpeningHours(
        timezone=SHOP.timezone, weekly=SHOP.weekly, exceptions={"2026-06-19": ()}
    )
    assert not is_open(holiday, local(date(2026, 6, 19), "12:00"))
    assert next_change(holiday, local(date(2026, 6, 18), "23:00")) == local(
        date(2026, 6, 20), "06:00"
    )


def test_always_open_and_always_closed_never_change() -> None:
    """There is no next change, so nothing needs to be scheduled."""
    always = OpeningHours(timezone="UTC", weekly=dict.fromkeys(WEEKDAYS, (("00:00", "24:00"),)))
    never = OpeningHours(timezone="UTC", weekly={})
    assert next_change(always, utc(date(2026, 6, 1), "12:00")) is None
    assert next_change(never, utc(date(2026, 6, 1), "12:00")) is None


def test_a_far_exception_of_a_site_that_is_always_open_is_found() -> None:
    """A change a year ahead is the next change when nothing happens before it."""
    hours = OpeningHours(
        timezone="UTC",
        weekly=dict.fromkeys(WEEKDAYS, (("00:00", "24:00"),)),
        exceptions={"2027-12-24": (("00:00", "12:00"),)},
    )
    assert next_change(hours, utc(date(2026, 6, 1), "12:00")) == utc(date(2027, 12, 24), "12:00")


def test_a_month_of_closed_days_is_looked_across() -> None:
    """Exceptions that hide the weekly plan for long do not hide its return."""
    closed: dict[str, tuple[tuple[str, str], ...]] = {
        (date(2026, 6, 1) + timedelta(days=n)).isoformat(): () for n in range(40)
    }
    hours = OpeningHours(timezone=SHOP.timezone, weekly=SHOP.weekly, exceptions=closed)
    assert next_change(hours, local(date(2026, 6, 1), "12:00")) == local(date(2026, 7, 11), "06:00")


def test_ordinary_hours_move_with_the_spring_change() -> None:
    """The morning after the clock jumped ahead, 06:00 is an hour earlier in UTC."""
    assert next_change(SHOP, local(date(2026, 3, 28), "23:00")) == utc(SPRING, "04:00")


def test_ordinary_hours_move_with_the_autumn_change() -> None:
    """The morning after the clock went back, 06:00 is an hour later in UTC."""
    assert next_change(SHOP, local(date(2026, 10, 24), "23:00")) == utc(AUTUMN, "05:00")


def test_in_spring_a_time_that_never_comes_means_the_jump() -> None:
    """02:30 does not exist: a period that begins or ends then does so at 03:00 summer time."""
    begins = on(SPRING, ("02:30", "06:00"))
    ends = on(SPRING, ("01:00", "02:30"))
    midnight = local(SPRING, "00:00")
    assert next_change(begins, midnight) == utc(SPRING, "01:00")
    assert next_change(ends, utc(SPRING, "00:30")) == utc(SPRING, "01:00")


def test_in_spring_a_period_within_the_jump_is_empty() -> None:
    """02:10 to 02:50 does not exist on that day, so the site stays closed."""
    assert next_change(on(SPRING, ("02:10", "02:50")), local(SPRING, "00:00")) is None


def test_a_weekly_period_lost_to_the_jump_comes_back_a_week_later() -> None:
    """Sundays 02:10 to 02:40: the next one after a lost Sunday is found."""
    hours = OpeningHours(timezone="Europe/Stockholm", weekly={"sun": (("02:10", "02:40"),)})
    assert next_change(hours, local(date(2026, 3, 23), "12:00")) == local(date(2026, 4, 5), "02:10")


def test_in_autumn_a_time_that_comes_twice_means_the_first() -> None:
    """02:30 to 04:00 is one unbroken stretch of two and a half hours."""
    hours = on(AUTUMN, ("02:30", "04:00"))
    opens = utc(AUTUMN, "00:30")
    assert next_change(hours, local(AUTUMN, "00:00")) == opens
    assert is_open(hours, local(AUTUMN, "02:10", fold=1))
    assert next_change(hours, opens) == utc(AUTUMN, "03:00")


@pytest.mark.parametrize(
    ("hours", "problem"),
    [
        ({"timezone": "Mars/Olympus", "weekly": {}}, "timezone"),
        ({"timezone": "../etc/passwd", "weekly": {}}, "timezone"),
        ({"timezone": "Europe", "weekly": {}}, "timezone"),
        ({"timezone": "", "weekly": {}}, "timezone"),
        ({"timezone": "UTC", "weekly": {"monday": ()}}, "the days are"),
        ({"timezone": "UTC", "weekly": {"mon": (("6:00", "22:00"),)}}, "HH:MM"),
        ({"timezone": "UTC", "weekly": {"mon": (("06:00", "24:01"),)}}, "HH:MM"),
        ({"timezone": "UTC", "weekly": {"mon": (("22:00", "06:00"),)}}, "split a night"),
        ({"timezone": "UTC", "weekly": {"mon": (("06:00", "12:00"), ("11:00", "13:00"))}}, "overl"),
        ({"timezone": "UTC", "weekly": {}, "exceptions": {"24/12": ()}}, "YYYY-MM-DD"),
        ({"timezone": "UTC", "weekly": {}, "exceptions": {"2026-02-30": ()}}, "YYYY-MM-DD"),
    ],
)
def test_what_is_wrong_is_said_in_words(hours: dict[str, Any], problem: str) -> None:
    """Each mistake gets a sentence, and asking anyway is an error rather than a wrong answer."""
    malformed = OpeningHours(**hours)
    assert any(problem in found for found in validate(malformed))
    with pytest.raises(ValueError, match="malformed"):
        is_open(malformed, utc(date(2026, 6, 1), "12:00"))


def test_good_hours_have_no_problems() -> None:
    """A whole week with a break at noon and a holiday is fine."""
    noon = OpeningHours(
        timezone="Europe/Stockholm",
        weekly=dict.fromkeys(WEEKDAYS, (("06:00", "12:00"), ("13:00", "24:00"))),
        exceptions={"2026-12-24": ()},
    )
    assert validate(noon) == []


_times = st.integers(0, 96).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")


@st.composite
def _days(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    bounds = sorted(draw(st.sets(_times, max_size=4)))
    return tuple(zip(bounds[::2], bounds[1::2], strict=False))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(WEEKDAYS), _days()),
    st.dictionaries(st.integers(-2, 3), _days(), max_size=2),
    st.sampled_from([SPRING, AUTUMN, date(2026, 6, 1), date(2026, 12, 31)]),
    st.sampled_from(["Europe/Stockholm", "America/Sao_Paulo", "Africa/Cairo", "Asia/Kathmandu"]),
    st.integers(0, 1439),
)
def test_the_next_change_is_the_first(
    weekly: dict[str, tuple[tuple[str, str], ...]],
    exceptions: dict[int, tuple[tuple[str, str], ...]],
    around: date,
    zone: str,
    minute: int,
) -> None:
    """Stepping through time in quarters of an hour meets no other state before the next change."""
    hours = OpeningHours(
        timezone=zone,
        weekly=weekly,
        exceptions={
            (around + timedelta(days=offset)).isoformat(): periods
            for offset, periods in exceptions.items()
        },
    )
    assert validate(hours) == []
    at = utc(around, "00:00") - timedelta(days=1) + timedelta(minutes=minute)
    state = is_open(hours, at)
    change = next_change(hours, at)
    until = min(change or at + timedelta(days=3), at + timedelta(days=3))
    step = at
    while step < until:
        assert is_open(hours, step) is state
        step += timedelta(minutes=15)
    if change is not None:
        assert change > at
        assert is_open(hours, change) is not state
        assert is_open(hours, change - timedelta(seconds=1)) is state
