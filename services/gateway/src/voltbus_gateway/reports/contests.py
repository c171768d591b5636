"""Two live connections with one identity: published, logged and slowed down (ADR 0019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.registry import DUPLICATE_IDENTITY
from voltbus_backbone.contract.stations import DuplicateIdentity
from voltbus_gateway.domain.door import contests as rules
from voltbus_gateway.metrics import CONTESTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_backbone.bus.ports import Publishing
    from voltbus_gateway.connection.connection import Connection

log = structlog.get_logger(__name__)

# A holder that says nothing for so long after it was asked is dead; a pong over GPRS takes 1 s.
_PROBE_S = 2.0


class ContestReports:
    """Knows which identities are contested, and who keeps the place for now."""

    def __init__(
        self,
        *,
        publisher: Publishing,
        gateway_id: str,
        source: str,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        probe_s: float = _PROBE_S,
    ) -> None:
        self._publisher = publisher
        self._gateway_id = gateway_id
        self._source = source
        self._now = now
        self._clock = clock
        self._probe_s = probe_s
        self._contests = rules.Contests()

    def record_takeover(self, connection: Connection) -> None:
        """Record that a newer connection replaced a live one; publish it in a contest."""
        takeover = connection.takeover
        if takeover is None:
            return
        contest = self._contests.record_takeover(
            connection.station_id, self._clock(), elsewhere=takeover.elsewhere
        )
        if contest is None:
            return
        CONTESTS.inc()
        log.warning(
            "station.duplicate_identity",
            station=connection.station_id,
            address=connection.address,
            other_address=takeover.address,
            count=contest.count,
            pause_s=contest.pause_s,
        )
        now = self._now()
        message = DuplicateIdentity(
            station_id=connection.station_id,
            gateway_id=self._gateway_id,
            at=now,
            address=connection.address,
            other_address=takeover.address,
            count=contest.count,
            pause_s=contest.pause_s,
        )
        self._publisher.post(
            envelope.event(
                DUPLICATE_IDENTITY,
                message,
                id=f"{connection.connection_id}/displaced",
                source=self._source,
                now=now,
            )
        )

    async def remaining_hold_s(self, station_id: str, holder: Connection | None) -> float:
        """Return for how many seconds a newcomer is refused; 0: it takes the place.

        Whoever holds it keeps it only while it lives: a station whose connection died comes in.
        """
        kept = self._contests.remaining_hold_s(station_id, self._clock())
        if kept <= 0:
            return 0.0
        if holder is None or holder.leaving:
            return kept if self._contests.is_elsewhere(station_id) else 0.0
        return kept if await holder.is_alive(self._probe_s) else 0.0
