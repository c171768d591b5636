"""Transactions that are over although no end was told: the station booted, or went on without it.

A station that crashes loses the end of its transaction. What it says next shows that the
transaction is over (ADR 0014); any later message of the transaction shows that it is not. Each
piece of evidence is a time that only grows, so that the order of arrival does not matter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.transactions.domain.record.model import Record


def evidence(record: Record) -> frozenset[str]:
    """Name what shows that an open transaction is over: boot, start, available."""
    if record.stop is not None:
        return frozenset()
    found = set()
    heard = record.arrived_at or record.last_at
    if record.booted_at is not None and record.booted_at >= heard:
        found.add("boot")
    if record.replaced_at is not None and record.replaced_at > record.last_at:
        found.add("start")
    if record.available_at is not None and record.available_at > record.last_at:
        found.add("available")
    return frozenset(found)


def is_superseded(record: Record) -> bool:
    """Whether it is over as far as can be seen, although no end was told."""
    return bool(evidence(record))


def after_boot(record: Record, at: datetime) -> Record:
    """Note that its station booted. ``at``: our time."""
    return replace(record, booted_at=_latest(record.booted_at, at))


def after_available(record: Record, at: datetime) -> Record:
    """Note that its connector was available. ``at``: the station's time."""
    if at <= _began(record):
        return record
    return replace(record, available_at=_latest(record.available_at, at))


def after_start(record: Record, at: datetime) -> Record:
    """Note that another transaction began on its EVSE. ``at``: the station's time."""
    if at <= _began(record):
        return record
    shared = at if record.shared_from is None else min(record.shared_from, at)
    return replace(record, replaced_at=_latest(record.replaced_at, at), shared_from=shared)


def still_charging(record: Record, at: datetime) -> Record:
    """Note a sign of life that is no message of it. ``at``: our time."""
    return replace(record, arrived_at=_latest(record.arrived_at, at))


def mark(before: Record, after: Record, now: datetime) -> Record | None:
    """The record with the evidence, where that can make a difference; None where it cannot.

    A boot or a state that is older than what was heard of the transaction never can. While it is
    superseded every newer piece is kept: a message that comes late may be newer than the others.
    """
    if after == before:
        return None
    starts = (before.replaced_at, before.shared_from) != (after.replaced_at, after.shared_from)
    if not starts and not is_superseded(after) and not is_superseded(before):
        return None
    return settle(before, after, now)


def settle(before: Record, after: Record, now: datetime) -> Record:
    """The record with since when it is superseded, in our time."""
    if not is_superseded(after):
        return replace(after, superseded_at=None) if after.superseded_at else after
    since = before.superseded_at if is_superseded(before) else None
    return replace(after, superseded_at=since or now)


def has_overlap(record: Record) -> bool:
    """Whether it went on after another transaction had begun on its EVSE."""
    return record.shared_from is not None and record.shared_from < record.last_at


def on_one_outlet(one: Record, other: Record) -> bool:
    """Whether both are of the same EVSE, which carries one transaction at a time."""
    return (
        one.ref != other.ref
        and one.station_id == other.station_id
        and one.outlet is not None
        and one.outlet == other.outlet
    )


def is_over(record: Record) -> bool:
    """Whether it takes no place under its driver's limits any more."""
    return record.ended or is_superseded(record)


def _began(record: Record) -> datetime:
    return record.start.at if record.start is not None else record.first_at


def _latest(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
