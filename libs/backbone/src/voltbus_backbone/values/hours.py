"""When a site is open: opening hours read in their own time zone, over daylight-saving changes.

Pure. A boundary such as "06:00" happens at the first instant of its date at which the clock on the
wall reads that time or later. So when the clock goes back, a time that it shows twice means the
first showing; when it jumps ahead, a time that it never shows means the jump itself. A period is
therefore always one unbroken stretch of time, and one that lies within the jump is empty.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voltbus_backbone.contract.values import OpeningHours

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Periods = tuple[tuple[str, str], ...]
# A period of one date as UTC epoch seconds, half-open.
_Stretch = tuple[float, float]

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY = timedelta(days=1)
# A weekly plan repeats after a week; a clock change may hide one occurrence of a boundary, never
# two in a row. So what doesn't change within two weeks of plain days doesn't change at all.
_LOOK_AHEAD_DAYS = 15
_DATES_REMEMBERED = 64


def is_open(hours: OpeningHours, at: datetime) -> bool:
    """Whether the site is open at this (aware) time.

    Raises:
        ValueError: the hours are malformed; ``validate`` says how.
    """
    return _plan_of(hours).is_open(at)


def next_change(hours: OpeningHours, at: datetime) -> datetime | None:
    """The first time after ``at`` at which ``is_open`` answers differently, in UTC.

    None for a site that from now on is always open or always closed.

    Raises:
        ValueError: the hours are malformed; ``validate`` says how.
    """
    return _plan_of(hours).next_change(at)


def validate(hours: OpeningHours) -> list[str]:
    """What is wrong with the hours, in words for whoever wrote them; empty when nothing is."""
    problems: list[str] = []
    if _zone(hours.timezone) is None:
        problems.append("timezone: no IANA time zone of that name (such as Europe/Stockholm)")
    for day, periods in hours.weekly.items():
        if day not in WEEKDAYS:
            problems.append(f"weekly: the days are {', '.join(WEEKDAYS)}")
        else:
            problems.extend(f"weekly.{day}: {problem}" for problem in _problems(periods))
    for text, periods in hours.exceptions.items():
        if _date(text) is None:
            problems.append("exceptions: name each date as YYYY-MM-DD")
        else:
            problems.extend(f"exceptions.{text}: {problem}" for problem in _problems(periods))
    return problems


class _Plan:
    """Opening hours, parsed once; remembers the stretches of the dates it was asked about."""

    def __init__(
        self, zone: ZoneInfo, weekly: dict[int, Periods], other: dict[date, Periods]
    ) -> None:
        self._zone = zone
        self._weekly = weekly
        self._other = other
        self._known: dict[date, tuple[_Stretch, ...]] = {}

    def is_open(self, at: datetime) -> bool:
        moment = at.timestamp()
        return any(
            start <= moment < end for start, end in self._on(at.astimezone(self._zone).date())
        )

    def next_change(self, at: datetime) -> datetime | None:
        now_open = self.is_open(at)
        moment = at.timestamp()
        for day in self._days_to_look_at(at.astimezone(self._zone).date()):
            boundaries = {boundary for stretch in self._on(day) for boundary in stretch}
            for boundary in sorted(boundaries):
                if boundary > moment:
                    when = datetime.fromtimestamp(boundary, UTC)
                    if self.is_open(when) != now_open:
                        return when
        return None

    def _days_to_look_at(self, today: date) -> list[date]:
        yesterday = today - _DAY  # its last boundary may be today's first instant
        wanted = {yesterday + index * _DAY for index in range(_LOOK_AHEAD_DAYS + 1)}
        for exception in self._other:
            if exception >= yesterday:
                wanted.update(exception + index * _DAY for index in range(-1, _LOOK_AHEAD_DAYS + 1))
        return sorted(wanted)

    def _on(self, day: date) -> tuple[_Stretch, ...]:
        found = self._known.get(day)
        if found is None:
            found = tuple(self._stretches(day))
            if len(self._known) >= _DATES_REMEMBERED:
                self._known.clear()
            self._known[day] = found
        return found

    def _stretches(self, day: date) -> Iterator[_Stretch]:
        periods = self._other.get(day)
        if periods is None:
            periods = self._weekly.get(day.weekday(), ())
        for start, end in periods:
            first, last = (_instant(day, _minutes(text), self._zone) for text in (start, end))
            if first < last:
                yield first, last


def _plan_of(hours: OpeningHours) -> _Plan:
    return _plan(hours.timezone, tuple(hours.weekly.items()), tuple(hours.exceptions.items()))


@lru_cache(maxsize=8192)
def _plan(
    timezone: str,
    weekly: tuple[tuple[str, Periods], ...],
    exceptions: tuple[tuple[str, Periods], ...],
) -> _Plan:
    zone = _zone(timezone)
    days = {_date(text): periods for text, periods in exceptions}
    malformed = any(
        problem for _, periods in (*weekly, *exceptions) for problem in _problems(periods)
    )
    if zone is None or malformed or None in days or any(day not in WEEKDAYS for day, _ in weekly):
        raise ValueError("malformed opening hours")
    return _Plan(
        zone,
        {WEEKDAYS.index(day): periods for day, periods in weekly},
        {day: periods for day, periods in days.items() if day is not None},
    )


def _instant(day: date, minutes: int, zone: ZoneInfo) -> float:
    """The first instant at which the wall clock reads this time of this date, or later."""
    wall = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minutes)
    moment = wall.timestamp()
    if datetime.fromtimestamp(moment, zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return moment
    # The clock never shows it: the jump lies between its two readings by the two offsets (PEP 495).
    before, after = sorted((moment, wall.replace(fold=1).timestamp()))
    offset = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _problems(periods: Iterable[tuple[str, str]]) -> Iterator[str]:
    until = -1
    for start, end in periods:
        if _TIME.fullmatch(start) is None or _TIME.fullmatch(end) is None:
            yield "write times as HH:MM, from 00:00 to 24:00"
            return
        if _minutes(start) >= _minutes(end):
            yield f"{start}-{end} ends before it begins (split a night at 24:00)"
        elif _minutes(start) < until:
            yield f"{start}-{end} overlaps the period before it (write them in order)"
        until = _minutes(end)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _date(text: str) -> date | None:
    if _DATE.fullmatch(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
