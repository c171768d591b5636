"""Timestamps as real stations write them (design 9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.domain.wire.times import format_time, is_time, parse_time

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00z",
        "2026-03-01t12:00:00Z",
        "2026-03-01 12:00:00Z",
        "2026-03-01T12:00:00.000000000Z",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:00",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T04:30:00-07:30",
    ],
)
def test_the_same_moment(text: str) -> None:
    """Small letters, a blank, nanoseconds, an offset, or no zone at all (then it is UTC)."""
    assert parse_time(text) == NOON
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.000Z", "2017-01-01T01:59:60+02:00"]
)
def test_a_leap_second_is_the_moment_that_follows(text: str) -> None:
    """RFC 3339 §5.7: it exists, and a transaction that ended in it must not be refused for ever."""
    assert parse_time(text) == datetime(2017, 1, 1, tzinfo=UTC)


def test_digits_below_the_microsecond_are_dropped() -> None:
    """Nanosecond clocks lose three digits."""
    assert parse_time("2026-03-01T12:00:00.123456789Z").microsecond == 123456


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-03-01",
        "12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:00:60Z",
        "2026-03-01T12:00:00+99:00",
        "2026-W01-1T12:00:00Z",
        "20260301T120000000Z",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-01:00",
        "1772366400000000000",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """Garbage, a second 60 in the middle of the day, and what lies outside the calendar."""
    assert not is_time(text)


def test_writing() -> None:
    """UTC, milliseconds, Z: from any zone."""
    assert format_time(NOON) == "2026-03-01T12:00:00.000Z"
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert format_time(east.replace(microsecond=987654)) == "2026-03-01T12:00:00.987Z"


@given(st.datetimes(timezones=st.timezones()).filter(lambda moment: 2 < moment.year < 9998))
def test_what_we_write_we_read(moment: datetime) -> None:
    """Writing and reading loses less than a millisecond."""
    lost = moment - parse_time(format_time(moment))
    assert timedelta(0) <= lost < timedelta(milliseconds=1)


@given(st.text())
def test_nothing_makes_it_break(text: str) -> None:
    """Any text is a moment or is none."""
    assert is_time(text) in {True, False}
