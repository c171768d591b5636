"""`stations.events`: meter values that belong to a transaction, and stations that are removed.

A consumer group of its own, so that a flood of meter values never stands before an Authorize. The
same transaction may be changed here and by `auth.requests` at once; the store's revisions decide,
and who loses folds again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.domain.intake import clean
from voltbus_auth.handlers.jobs import Job
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.registry import METER_VALUES, STATION_REGISTERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.handlers.bookkeeping import Bookkeeping
    from voltbus_auth.handlers.ports import Projections
    from voltbus_backbone.contract.stations import MeterValuesReported
    from voltbus_backbone.envelope import Event, Record

TYPES = frozenset({METER_VALUES.name, STATION_REGISTERED.name})


class Samples:
    """Adds what stations measure to the transactions it belongs to."""

    def __init__(self, bookkeeping: Bookkeeping, projections: Projections) -> None:
        self._bookkeeping = bookkeeping
        self._projections = projections

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The events of the transactions that changed."""
        removed = {
            event.message.station_id: event.message.at
            for event in events
            if event.type == STATION_REGISTERED.name and event.message.removed
        }
        if removed:
            await self._projections.drop_stations(removed)
        jobs = [
            Job(event, _as_update(event.message))
            for event in events
            if event.type == METER_VALUES.name and event.message.transaction_id is not None
        ]
        if not jobs:
            return []
        # An id that we never gave belongs to no transaction of ours: the values stay events.
        await self._bookkeeping.record(jobs, opens=False)
        return self._bookkeeping.tell(jobs)


def _as_update(values: MeterValuesReported) -> TransactionMessage:
    update = TransactionMessage(
        station_id=values.station_id,
        protocol=values.protocol,
        phase=Phase.UPDATED,
        at=values.at,
        transaction_id=values.transaction_id,
        evse_id=values.evse_id,
        connector_id=values.connector_id,
        samples=values.samples,
    )
    return clean(update)
