"""`stations.events`: what belongs to transactions, and stations that are removed.

Meter values are added to the transaction that they name; those of OCPP 1.6 that name none, to the
only one that is open on their connector. Boots and connector states may show that a transaction is
over.

A consumer group of its own, so that a flood of meter values never stands before an Authorize. The
same transaction may be changed here and by `auth.requests` at once; the store's revisions decide,
and who loses folds again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.transactions.domain.intake import clean
from voltbus_auth.transactions.handlers import superseding
from voltbus_auth.transactions.handlers.jobs import Job
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.registry import METER_VALUES, STATION_REGISTERED
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.projections.handlers.ports import Projections
    from voltbus_auth.transactions.domain.record import Record as Transaction
    from voltbus_auth.transactions.handlers.bookkeeping import Bookkeeping
    from voltbus_auth.transactions.handlers.ports import Books
    from voltbus_auth.transactions.handlers.superseding import SupersededMarker
    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.stations import MeterValuesReported

TYPES = frozenset({METER_VALUES.name, STATION_REGISTERED.name}) | superseding.TYPES
UNNAMED = "meter values without a transactionId: taken for the only one open on the connector"


class Samples:
    """Adds what stations measure to the transactions it belongs to."""

    def __init__(
        self,
        bookkeeping: Bookkeeping,
        projections: Projections,
        books: Books,
        marker: SupersededMarker,
    ) -> None:
        self._bookkeeping = bookkeeping
        self._projections = projections
        self._books = books
        self._marker = marker

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The events of the transactions that changed."""
        removed = {
            event.message.station_id: event.message.at
            for event in events
            if event.type == STATION_REGISTERED.name and event.message.removed
        }
        if removed:
            await self._projections.drop_stations(removed)
        told: list[Record] = []
        jobs = await self._jobs([event for event in events if event.type == METER_VALUES.name])
        if jobs:
            # An id that we never gave belongs to no transaction of ours: the values stay events.
            await self._bookkeeping.record(jobs, opens=False)
            told += self._bookkeeping.tell(jobs)
        return told + await self._marker.handle(
            [event for event in events if event.type in superseding.TYPES]
        )

    async def _jobs(self, events: Sequence[Event]) -> list[Job]:
        unnamed = {event.message.station_id for event in events if _may_belong(event.message)}
        open_there = await self._books.records((), (), unnamed) if unnamed else []
        jobs = []
        for event in events:
            values: MeterValuesReported = event.message
            if values.transaction_id is not None:
                jobs.append(Job(event, _as_update(values)))
            elif _may_belong(values):
                record = _only_one(open_there, values)
                if record is not None:
                    named = msgspec.structs.replace(
                        values,
                        transaction_id=record.wire_id,
                        repairs=(*values.repairs, UNNAMED),
                    )
                    jobs.append(Job(event, _as_update(named)))
        return jobs


def _may_belong(values: MeterValuesReported) -> bool:
    """Whether meter values that name no transaction may be of one (1.6 §4.7: it is optional)."""
    return (
        values.transaction_id is None
        and values.protocol is Protocol.OCPP16
        and bool(values.connector_id)
    )


def _only_one(records: Sequence[Transaction], values: MeterValuesReported) -> Transaction | None:
    """The only open transaction of the connector, if it had begun by then."""
    found = [
        record
        for record in records
        if record.station_id == values.station_id
        and record.protocol is Protocol.OCPP16
        and record.connector_id == values.connector_id
        and record.start is not None
    ]
    if len(found) != 1 or values.at < found[0].first_at:
        return None
    return found[0]


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
        repairs=values.repairs,
    )
    return clean(update)
