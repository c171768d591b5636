"""Opening hours for the demonstration: always open, and closed right now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import datetime

ZONE = "Europe/Stockholm"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NOON = 12


def always_open() -> dict[str, Any]:
    """Return hours that never close."""
    return _daily("00:00", "24:00")


def closed_at(now: datetime) -> dict[str, Any]:
    """Return ordinary-looking hours that are closed at ``now``, and stay so for an hour or more."""
    if now.astimezone(ZoneInfo(ZONE)).hour < NOON:
        return _daily("14:00", "22:00")
    return _daily("06:00", "11:00")


def _daily(opens: str, closes: str) -> dict[str, Any]:
    return {"timezone": ZONE, "weekly": {day: [[opens, closes]] for day in DAYS}}
