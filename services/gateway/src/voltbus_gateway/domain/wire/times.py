"""Timestamps as stations write them, and as we write them (RFC 3339).

Stations give nanoseconds, offsets, a small "z", or no zone at all (then it is UTC, as both
versions recommend). A leap second is the moment that follows it. Anything else is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# "2026-01-01T00:00": the shortest text with a date and a time.
_SHORTEST = 16
_SECONDS = slice(17, 19)
_LAST = (23, 59, 59)


def parse_time(text: str) -> datetime:
    """Parse a moment to UTC; digits below the microsecond are dropped.

    Raises:
        ValueError: it is no date and time.
    """
    if len(text) < _SHORTEST or text[4] != "-" or text[7] != "-" or text[10] not in "Tt ":
        raise ValueError("no date and time")
    try:
        if text[_SECONDS] == "60":
            return _parse_leap_second(text)
        return _to_utc(datetime.fromisoformat(text.upper()))
    except OverflowError:
        raise ValueError("out of range") from None


def parse_time_or(text: str | None, otherwise: datetime) -> datetime:
    """Parse a moment to UTC, or return ``otherwise`` where there is none."""
    return otherwise if text is None else parse_time(text)


def _to_utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def _parse_leap_second(text: str) -> datetime:
    """RFC 3339 §5.7: 23:59:60 in UTC. A station would send what we refuse for ever."""
    before = _to_utc(datetime.fromisoformat(f"{text[:17]}59{text[19:]}".upper()))
    if (before.hour, before.minute, before.second) != _LAST:
        raise ValueError("no leap second")
    return before + timedelta(seconds=1)


def is_time(text: str) -> bool:
    """Whether ``parse_time`` reads it (the ``date-time`` format of our validators)."""
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def format_time(moment: datetime) -> str:
    """UTC with milliseconds and "Z": what every version's stations read."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
