"""Repaired messages: counted each time, published once an hour per station and place."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.registry import STATION_REPAIRED
from voltbus_backbone.contract.stations import StationRepaired
from voltbus_gateway.domain.repairs.repair import to_sentences
from voltbus_gateway.metrics import REPAIRS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_gateway.connection.connection import Connection
    from voltbus_gateway.domain.repairs.repair import Repair
    from voltbus_gateway.reports.reports import Reports

log = structlog.get_logger(__name__)

_EVERY_S = 3600.0
# So many stations are remembered, each with so many places: what comes on top is only counted.
_STATIONS = 20_000
_PLACES = 100

Place = tuple[str, str]


class ReportedPlaces:
    """The places of a station's messages that were reported within the hour. Bounded memory.

    Each station has its own bound, so that no station makes us repeat another's reports.
    """

    def __init__(self, *, stations: int = _STATIONS, places: int = _PLACES) -> None:
        self._most_stations = stations
        self._most_places = places
        self._reported: OrderedDict[str, dict[Place, float]] = OrderedDict()

    def select_new(
        self, station_id: str, action: str, repairs: Sequence[Repair], now: float
    ) -> tuple[Repair, ...]:
        """Return the repairs to report now (monotonic seconds) and mark them as reported."""
        reported = self._reported.setdefault(station_id, {})
        self._reported.move_to_end(station_id)
        if len(self._reported) > self._most_stations:
            self._reported.popitem(last=False)
        for place in [place for place, at in reported.items() if at + _EVERY_S <= now]:
            del reported[place]
        fresh = [repair for repair in repairs if (action, repair.place) not in reported]
        room = max(self._most_places - len(reported), 0)
        places = dict.fromkeys((action, repair.place) for repair in fresh)
        reported |= dict.fromkeys(list(places)[:room], now)
        return tuple(repair for repair in fresh if (action, repair.place) in reported)


class RepairReports:
    """A log line and an event for what is new: one an hour per station, action and place.

    ``clock`` gives monotonic seconds, ``now`` aware moments.
    """

    def __init__(
        self,
        *,
        reports: Reports,
        source: str,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._reports = reports
        self._source = source
        self._now = now
        self._clock = clock
        self._count = 0
        self._reported = ReportedPlaces()

    def report(self, connection: Connection, action: str, repairs: Sequence[Repair]) -> None:
        """Count the repairs of a message; log and publish those that are new."""
        if not repairs:
            return
        for repair in repairs:
            REPAIRS.labels(connection.protocol.value, action, repair.kind.value).inc()
        fresh = self._reported.select_new(connection.station_id, action, repairs, self._clock())
        if not fresh:
            return
        said = to_sentences(fresh)
        log.warning(
            "message.repaired",
            station=connection.station_id,
            protocol=connection.protocol.value,
            action=action,
            repairs=list(said),
        )
        self._publish(connection, action, said)

    def _publish(self, connection: Connection, action: str, repairs: tuple[str, ...]) -> None:
        now = self._now()
        self._count += 1
        message = StationRepaired(
            station_id=connection.station_id,
            protocol=connection.protocol,
            action=action,
            at=now,
            repairs=repairs,
        )
        record = envelope.event(
            STATION_REPAIRED,
            message,
            id=f"{connection.connection_id}/repaired/{self._count}",
            source=self._source,
            now=now,
        )
        self._reports.report(record)
