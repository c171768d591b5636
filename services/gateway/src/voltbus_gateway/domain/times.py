"""Timestamps as stations write them, and as we write them (RFC 3339).

Stations give nanoseconds, offsets, a small "z", or no zone at all (then it is UTC, as both
versions recommend). Anything that is no moment is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime

# "2026-01-01T00:00": the shortest text with a date and a time.
_SHORTEST = 16


def parse_time(text: str) -> datetime:
    """A moment in UTC; digits below the microsecond are dropped.

    Raises:
        ValueError: it is no date and time.
    """
    if len(text) < _SHORTEST or text[4] != "-" or text[7] != "-" or text[10] not in "Tt ":
        raise ValueError("no date and time")
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is UTC:
            return moment
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


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
