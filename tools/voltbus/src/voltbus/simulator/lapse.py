"""Time-lapse: a charge of an hour, told in a moment.

The station's clock is set back by as long as the charge would take, and every part of the charge
moves it forward, so that it shows the real time at the end. Whoever checks whether a session is
plausible (energy by time) finds nothing odd.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus.simulator.options import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

HOUR_S = 3600


class Lapse:
    """A clock for ``Surroundings(now=...)`` that is ``whole`` behind, until told otherwise."""

    def __init__(self, whole: timedelta, now: Callable[[], datetime] = utc_now) -> None:
        self._whole = whole
        self._now = now
        self._behind = whole

    def __call__(self) -> datetime:
        """Return the station's time."""
        return self._now() - self._behind

    def reach(self, part: float) -> None:
        """Move on to where this part (0 to 1) of the charge is done; never back."""
        self._behind = min(self._behind, self._whole * (1 - part))


def lasting(charge_wh: int, power_w: int) -> timedelta:
    """Return how long a charge takes at a constant power."""
    return timedelta(seconds=HOUR_S * charge_wh / power_w)
