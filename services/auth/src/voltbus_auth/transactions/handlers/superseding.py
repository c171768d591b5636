"""Boots and connector states, as far as they show that a transaction is over (ADR 0014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.decisions.domain.reservations import Occupy, Release
from voltbus_auth.projections.domain.places import evse_of
from voltbus_auth.transactions.domain.ledger import Entry, Ledger
from voltbus_auth.transactions.domain.superseding import (
    after_available,
    after_boot,
    is_over,
    mark,
    still_charging,
)
from voltbus_auth.transactions.handlers.bookkeeping import TRIES, ContendedError
from voltbus_auth.transactions.handlers.jobs import amend_mark, arrival, cause_of, reoccupy
from voltbus_auth.transactions.handlers.telling import changed_event
from voltbus_backbone.contract.registry import STATION_BOOTED, STATUS_REPORTED
from voltbus_backbone.contract.stations import StationBooted, StatusReported
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.handlers.ports import Occupancy
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.handlers.ports import Books
    from voltbus_backbone.bus import envelope
    from voltbus_backbone.bus.envelope import Event

TYPES = frozenset({STATION_BOOTED.name, STATUS_REPORTED.name})
# OCPP 2.x BootReasonEnumType: it was only asked to say so, and did not boot.
_TRIGGERED = "Triggered"
_AVAILABLE = "Available"
# OCPP 1.6 ChargePointStatus within a transaction; 2.x says only that the connector is occupied.
_CHARGING = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})


class SupersededMarker:
    """Marks open transactions that are over, frees their places, and takes the mark back."""

    def __init__(
        self, books: Books, occupancy: Occupancy, *, source: str, now: Callable[[], datetime]
    ) -> None:
        self._books = books
        self._occupancy = occupancy
        self._source = source
        self._now = now

    async def handle(self, events: Sequence[Event]) -> list[envelope.Record]:
        """The events of the transactions that changed.

        Raises:
            ContendedError: other replicas keep changing the same transactions.
        """
        telling = [event for event in events if _says_something(event.message)]
        stations = {event.message.station_id for event in telling}
        if not stations:
            return []
        for _ in range(TRIES):
            records = await self._books.records((), (), stations)
            if not records:
                return []
            now = self._now()
            pages = Ledger.of(records, now_s=int(now.timestamp()))
            entries = [one for event in telling for one in _apply(event, pages, now)]
            if not await self._write(records, pages):
                told = (changed_event(entry, source=self._source, now=now) for entry in entries)
                return [record for record in told if record is not None]
        raise ContendedError("other replicas keep changing the same transactions")

    async def _write(self, before: Sequence[Record], pages: Ledger) -> set[str]:
        """Write what changed, then move places; the references that others changed meanwhile.

        In this order nothing is freed that turns out to go on. Cut short in between, the same
        events come again and free what is over.
        """
        changed = pages.changed()
        lost = await self._books.write(changed, pages.loaded) if changed else set()
        steps = _steps(before, pages) if not lost else []
        if steps:
            await self._occupancy.occupy(steps)
        return lost


def _steps(before: Sequence[Record], pages: Ledger) -> list[Occupy | Release]:
    """Places that become free, and those that are taken again. Done twice they change nothing."""
    steps: list[Occupy | Release] = []
    for known in before:
        record = pages.by_ref[known.ref]
        if not record.holds:
            continue
        if is_over(record):
            steps.append(Release(record.ref, record.holds))
        elif is_over(known):
            steps.append(reoccupy(record))
    return steps


def _says_something(message: StationBooted | StatusReported) -> bool:
    if isinstance(message, StationBooted):
        return message.reason != _TRIGGERED
    if evse_of(message.protocol, message.evse_id, message.connector_id) is None:
        return False
    return message.status == _AVAILABLE or _is_charging(message)


def _is_charging(message: StatusReported) -> bool:
    return message.protocol is Protocol.OCPP16 and message.status in _CHARGING


def _apply(event: Event, pages: Ledger, now: datetime) -> list[Entry]:
    """What the event comes to in each open transaction of its station."""
    entries = []
    for record in list(pages.by_ref.values()):
        if record.station_id != event.message.station_id:
            continue
        known = pages.find_told(record.ref, cause_of(event))
        if known is not None:
            entries.append(known)
            continue
        after = _after(record, event, now)
        changed = mark(record, after, now) if after is not record else None
        if changed is not None:
            entries.append(amend_mark(pages, record, changed, cause_of(event)))
    return entries


def _after(record: Record, event: Event, now: datetime) -> Record:
    message = event.message
    if record.ended:
        return record
    if isinstance(message, StationBooted):
        return after_boot(record, message.at)
    if not _is_there(record, message):
        return record
    if message.status == _AVAILABLE:
        return after_available(record, message.at)
    return still_charging(record, arrival(event) or now)


def _is_there(record: Record, status: StatusReported) -> bool:
    """Whether it is the transaction's connector; an EVSE of 2.x may have several."""
    evse = evse_of(status.protocol, status.evse_id, status.connector_id)
    if record.outlet is None or record.outlet != evse:
        return False
    return status.protocol is Protocol.OCPP16 or record.connector_id == status.connector_id
