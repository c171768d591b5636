"""What stations and gateways tell: who is connected where, seen when, in which state."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.registry import (
    DUPLICATE_IDENTITY,
    GATEWAY_BEAT,
    STATION_CONNECTED,
    STATION_DISCONNECTED,
    STATION_REFUSED,
    STATION_REPAIRED,
    STATION_SEEN,
    STATUS_REPORTED,
)
from voltbus_backbone.contract.stations import GatewayBeat
from voltbus_backbone.errors import Unavailable
from voltbus_config.domain.connections import Folded, Presence, Reported, fold
from voltbus_config.domain.emissions import close
from voltbus_config.handlers.records import stored_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_backbone.envelope import Event, Record
    from voltbus_config.handlers.records import Shell
    from voltbus_config.handlers.tending import Tending

_ROWS = (
    DUPLICATE_IDENTITY,
    GATEWAY_BEAT,
    STATION_CONNECTED,
    STATION_DISCONNECTED,
    STATION_REFUSED,
    STATION_REPAIRED,
    STATION_SEEN,
    STATUS_REPORTED,
)
TYPES = frozenset(row.name for row in _ROWS)

_TRIES = 10


class StationEvents:
    """The consumer of `stations.events`: one query and one bulk write a batch."""

    def __init__(self, shell: Shell, tending: Tending) -> None:
        self._shell = shell
        self._tending = tending
        self._boot_wait = timedelta(seconds=shell.settings.boot_wait_s)

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Handle a batch."""
        now, store = self._shell.now(), self._shell.store
        beats: dict[str, GatewayBeat] = {}
        told: dict[str, list[tuple[Reported, int]]] = {}
        for event in events:
            message = event.message
            if isinstance(message, GatewayBeat):
                beats[message.gateway_id] = message
            else:
                timed = msgspec.structs.replace(message, at=stored_time(message.at))
                told.setdefault(message.station_id, []).append((timed, event.offset))
        with store.reachable.watching():
            await store.gateways.heard(beats.values(), now)
            folded = await self._fold(told, now) if told else []
            arrived = {
                each.presence.id: max(now, each.presence.connection.ready_at)
                for each in folded
                if each.arrived and each.presence.connection is not None
            }
            await store.due.mark(arrived)
        if arrived:
            self._tending.wake(self._boot_wait.total_seconds())
        takeovers = [close(each.presence, old) for each in folded for old in each.takeovers]
        return self._shell.records(takeovers, now)

    async def _fold(
        self, told: dict[str, list[tuple[Reported, int]]], now: datetime
    ) -> list[Folded]:
        """Read, fold, write; again if someone else wrote one of them in between."""
        shelf = self._shell.store.presence
        for _ in range(_TRIES):
            known = await shelf.get(told)
            result, writes = [], []
            for station_id, events in told.items():
                before = known.get(station_id) or Presence(id=station_id)
                folded = fold(before, events, now, self._boot_wait)
                result.append(folded)
                if folded.presence != before:
                    after = msgspec.structs.replace(folded.presence, revision=before.revision + 1)
                    writes.append((after, before.revision))
            if await shelf.put_if_unchanged(writes):
                return result
        raise Unavailable("too many changes of the same connections at once")
