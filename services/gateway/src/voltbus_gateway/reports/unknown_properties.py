"""Unknown properties that the policy accepts: counted, and logged once an hour."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from voltbus_gateway.metrics import DROPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voltbus_gateway.connection.connection import Connection

log = structlog.get_logger(__name__)

_EVERY_S = 3600.0
_REMEMBERED = 1000


class UnknownProperties:
    """Counts and logs properties beyond the schema: one line an hour for the same property.

    A fleet of one maker sends the same property with every message; the line names one station.
    ``clock`` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str, tuple[str, ...]], float] = OrderedDict()

    def report(self, connection: Connection, action: str, places: Sequence[str]) -> None:
        """Count and log unknown properties of a message; ``places`` hold no values."""
        if not places:
            return
        DROPPED.labels("unknown_property_passed").inc(len(places))
        what = (connection.protocol.value, action, tuple(places))
        now = self._clock()
        if now < self._logged.get(what, float("-inf")) + _EVERY_S:
            return
        self._logged[what] = now
        self._logged.move_to_end(what)
        if len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)
        log.info(
            "message.unknown_properties",
            station=connection.station_id,
            protocol=connection.protocol.value,
            action=action,
            places=list(places),
        )
