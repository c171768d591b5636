"""What stations and gateways tell: who is connected where, seen when, in which state."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog
from prometheus_client import Counter

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
from voltbus_config.domain.connections import (
    MOST_CONNECTORS,
    LogEntry,
    Presence,
    PresenceUpdate,
    apply_log,
)
from voltbus_config.domain.outgoing import build_close_connection
from voltbus_config.handlers.context import to_stored_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.reconciler import Reconciler

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

log = structlog.get_logger(__name__)

_TRIES = 10
# How many stations are remembered to have been logged; a forgotten one is logged once more.
_REMEMBERED = 10_000

CONNECTORS_DROPPED = Counter(
    "voltbus_config_connectors_dropped_total",
    "Statuses of connectors beyond those that are kept of a station",
)


class StationEventHandler:
    """The consumer of `stations.events`: one query and one bulk write a batch."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler
        self._boot_wait = timedelta(seconds=context.settings.boot_wait_s)
        self._logged: OrderedDict[str, None] = OrderedDict()

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Handle a batch."""
        now, store = self._context.now(), self._context.store
        beats: dict[str, GatewayBeat] = {}
        told: dict[str, list[LogEntry]] = {}
        for event in events:
            message = event.message
            if isinstance(message, GatewayBeat):
                beats[message.gateway_id] = message
            else:
                timed = msgspec.structs.replace(message, at=to_stored_time(message.at))
                entry = LogEntry(timed, event.offset, _received_at(event, now))
                told.setdefault(message.station_id, []).append(entry)
        with store.reachable.watching():
            await store.gateways.record_beats(beats.values(), now)
            folded = await self._fold(told, now) if told else []
            arrived = {
                each.presence.id: max(now, each.presence.connection.ready_at)
                for each in folded
                if each.arrived and each.presence.connection is not None
            }
            await store.schedule.mark_due(arrived)
        if arrived:
            self._reconciler.wake(self._boot_wait.total_seconds())
        self._report_dropped(folded)
        takeovers = [
            build_close_connection(each.presence, old) for each in folded for old in each.takeovers
        ]
        return self._context.build_records(takeovers, now)

    async def _fold(self, told: dict[str, list[LogEntry]], now: datetime) -> list[PresenceUpdate]:
        """Read, fold, write; again if someone else wrote one of them in between."""
        presence_repository = self._context.store.presence
        for _ in range(_TRIES):
            known = await presence_repository.get(told)
            result, writes = [], []
            for station_id, events in told.items():
                before = known.get(station_id) or Presence(id=station_id)
                folded = apply_log(before, events, now, self._boot_wait)
                result.append(folded)
                if folded.presence != before:
                    after = msgspec.structs.replace(folded.presence, revision=before.revision + 1)
                    writes.append((after, before.revision))
            if await presence_repository.put_if_unchanged(writes):
                return result
        raise Unavailable("too many changes of the same connections at once")

    def _report_dropped(self, folded: Iterable[PresenceUpdate]) -> None:
        """Count what was beyond the bound of connectors; name each station once."""
        for each in folded:
            if not each.dropped:
                continue
            CONNECTORS_DROPPED.inc(each.dropped)
            station_id = each.presence.id
            if station_id in self._logged:
                continue
            log.warning("connectors.dropped", station_id=station_id, most=MOST_CONNECTORS)
            self._logged[station_id] = None
            if len(self._logged) > _REMEMBERED:
                self._logged.popitem(last=False)


def _received_at(event: Event, now: datetime) -> datetime:
    """When its writer had it, by ``ce_time``; now, where that is no time or is yet to come."""
    try:
        return min(to_stored_time(datetime.fromisoformat(event.time)), now)
    except (ValueError, OverflowError):
        return now
