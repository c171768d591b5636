"""Slowing down who tries key codes one after another (OCPP 2.0.1 C04.FR.06)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

KEY_CODE = "keycode"
_FREE = 3  # a driver mistypes
_FIRST = timedelta(seconds=5)
_LONGEST = timedelta(minutes=15)
_FORGOTTEN = timedelta(hours=1)
_STATIONS = 100_000


@dataclass(slots=True)
class _Tries:
    wrong: int
    last: datetime
    until: datetime


class Patience:
    """Wrong key codes per station; after the third, each doubles the wait before the next try.

    While a station waits, its key codes are not looked up at all, so that a right one cannot be
    told from a wrong one. Kept by the replica that has the station's partition.
    """

    def __init__(self) -> None:
        self._tries: dict[str, _Tries] = {}

    def waits(self, station_id: str, now: datetime) -> bool:
        """Whether this station must wait."""
        tries = self._tries.get(station_id)
        return tries is not None and now < tries.until

    def wrong(self, station_id: str, now: datetime) -> None:
        """Count a wrong key code."""
        tries = self._tries.get(station_id)
        count = 1 if tries is None or now - tries.last > _FORGOTTEN else tries.wrong + 1
        over = count - _FREE
        wait = min(_FIRST * 2 ** min(over, 30), _LONGEST) if over >= 0 else timedelta()
        if len(self._tries) >= _STATIONS:
            self._tries.clear()
        self._tries[station_id] = _Tries(count, now, now + wait)

    def right(self, station_id: str) -> None:
        """Forget: the right one was found."""
        self._tries.pop(station_id, None)
