"""What a transaction's record comes to: energy in Wh with its source, doubts, the public event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.transactions.domain.record import OPERATOR, read_details
from voltbus_auth.transactions.domain.superseding import has_overlap, is_superseded
from voltbus_backbone.contract.auth import TransactionChanged
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.domain.registers import Reading
    from voltbus_backbone.contract.values import Sample

ACTIVE = "active"
ENDED = "ended"

# No charging cable carries more (MCS ends at 3.75 MW); a faster register is a broken one.
_MOST_W = 4_000_000
_SLACK_WH = 1000
_TOLERANCE_S = 60.0
_OLDEST_CLOCK = 2015
_MOST_MISSING = 100
# A message that is so much older than the start has another clock.
_CLOCK_SET_BACK = timedelta(days=1)
SUMMED = "samples: the register is the sum of single phases"


@dataclass(frozen=True, slots=True)
class Registers:
    """What is known of the register: at the start, at the end, and the readings between.

    ``summed``: only single phases were told, and are added up.
    """

    start_wh: int | None
    stop_wh: int | None
    first: Reading | None
    last: Reading | None
    summed: bool = False


def registers(record: Record) -> Registers:
    """The readings that count: of the whole outlet, else of its phases."""
    start = record.start.meter_wh if record.start is not None else None
    if start is None and record.begin is not None:
        start = record.begin.wh
    stop = record.stop.meter_wh if record.stop is not None else None
    if stop is None and record.stop is not None and record.end is not None:
        stop = record.end.wh
    phases = record.phases
    if start is None and stop is None and record.first is None and phases.first is not None:
        return Registers(
            phases.begin.wh if phases.begin is not None else None,
            phases.end.wh if phases.end is not None and record.stop is not None else None,
            phases.first,
            phases.last,
            summed=True,
        )
    return Registers(start, stop, record.first, record.last)


def energy(record: Record) -> tuple[int | None, str]:
    """Energy in Wh and how it is known: register, samples or unknown.

    Without a reading at the start it is counted from the first between, which is a lower bound; one
    reading alone says nothing.
    """
    found = registers(record)
    start, stop, first, last = found.start_wh, found.stop_wh, found.first, found.last
    source = "samples"
    if start is not None and stop is not None and not found.summed:
        source = "register"
    top = stop if stop is not None else (last.wh if last is not None else None)
    if start is None and first is not None:
        alone = (last is None or first.at >= last.at) and top == first.wh
        start = None if alone else first.wh
    if start is None or top is None or top < start:
        return None, "unknown"
    return top - start, source


def has_readings(record: Record) -> bool:
    """Whether any message had a reading of the register."""
    return record.first is not None or record.phases.first is not None


def meter_start(record: Record) -> int | None:
    """The register when it began."""
    return registers(record).start_wh


def meter_stop(record: Record) -> int | None:
    """The register when it ended; None while it is open."""
    return registers(record).stop_wh


def missing_seq_nos(record: Record) -> tuple[int, ...]:
    """Sequence numbers below the highest seen that never came (2.x counts from 0 at the start)."""
    if not record.seqs:
        return ()
    low = 0
    if record.start is not None and record.start.seq_no is not None:
        low = record.start.seq_no
    missing: list[int] = []
    for first, last in record.seqs:
        missing.extend(range(low, min(first, low + _MOST_MISSING)))
        low = max(low, last + 1)
    return tuple(missing[:_MOST_MISSING])


def doubts(record: Record) -> tuple[str, ...]:
    """What whoever bills should look at first, sorted; docs/transactions.md explains each."""
    return tuple(sorted({*record.flags, *record.judged, *_doubts(record)}))


def repairs(record: Record) -> tuple[str, ...]:
    """What of its messages was read otherwise than it came, a sentence each, sorted."""
    notes = {SUMMED} if registers(record).summed else set()
    return tuple(sorted({*record.repairs, *notes}))


def _doubts(record: Record) -> Iterator[str]:
    yield from _clock_doubts(record)
    yield from _end_doubts(record)
    if record.ended:
        if record.start is None:
            yield "no_start"
        if energy(record)[0] is None:
            yield "no_energy"
        if _is_without_token(record):
            yield "no_token"
    if meter_start(record) is None and (record.ended or _has_begun(record)):
        yield "no_start_register"
    yield from _register_doubts(record)
    yield from _window_doubts(record)


def _clock_doubts(record: Record) -> Iterator[str]:
    start, stop = record.start, record.stop
    if record.first_at.year < _OLDEST_CLOCK:
        yield "clock"
    if start is not None and start.at - record.first_at > _CLOCK_SET_BACK:
        yield "clock"
    if start is not None and stop is not None and stop.at < start.at:
        yield "ends_before_start"


def _end_doubts(record: Record) -> Iterator[str]:
    """That nobody told its end, or that its EVSE did something else before it."""
    if has_overlap(record):
        yield "overlap"
    if record.stop is not None:
        return
    if is_superseded(record):
        yield "superseded"
    if record.closed is not None and record.closed.by == OPERATOR:
        yield "closed_by_operator"


def _is_without_token(record: Record) -> bool:
    """Nobody was named, and nobody had to be (C02); 1.6 has no start without an idTag."""
    return (
        record.token is None
        and not record.anonymous
        and record.protocol is not Protocol.OCPP16
        and record.start is not None
    )


def _has_begun(record: Record) -> bool:
    """The start is known and a reading came after it, none with it."""
    return record.start is not None and registers(record).first is not None


def _register_doubts(record: Record) -> Iterator[str]:
    found = registers(record)
    first, last, begun, ended = found.first, found.last, found.start_wh, found.stop_wh
    if begun is not None and ended is not None and ended < begun:
        yield "register_backwards"
    if first is not None and last is not None and last.wh < first.wh:
        yield "register_backwards"
    if last is not None and ended == 0 and last.wh > 0:
        yield "zero_at_end"
    if (
        begun == 0
        and first is not None
        and record.start is not None
        and _too_fast(first.wh, record.start.at, first.at)
    ):
        yield "zero_at_start"
    wh, _ = energy(record)
    if wh is not None and _too_fast(wh, record.first_at, record.last_at):
        yield "implausible_power"


def _window_doubts(record: Record) -> Iterator[str]:
    first, last = record.first, record.last
    if record.start is not None and first is not None:
        early = (record.start.at - first.at).total_seconds()
        if early > _TOLERANCE_S:
            yield "sample_outside"
    if record.stop is not None and last is not None:
        late = (last.at - record.stop.at).total_seconds()
        if late > _TOLERANCE_S:
            yield "sample_outside"


def _too_fast(wh: int, since: datetime, until: datetime) -> bool:
    seconds = max((until - since).total_seconds(), 0.0)
    return wh > _SLACK_WH + _MOST_W * seconds / 3600.0


def snapshot(record: Record, *, at: datetime, samples: tuple[Sample, ...]) -> TransactionChanged:
    """The record as anyone may know it, with the samples that the causing message brought."""
    wh, source = energy(record)
    start, stop, token = record.start, record.stop, record.token
    return TransactionChanged(
        transaction_ref=record.ref,
        station_id=record.station_id,
        protocol=record.protocol,
        transaction_id=record.wire_id,
        revision=record.revision,
        state=ENDED if record.ended else ACTIVE,
        at=at,
        evse_id=record.evse_id,
        connector_id=record.connector_id,
        token_ref=token.token_ref if token is not None else None,
        agreement_id=token.agreement_id if token is not None else None,
        authorization=token.status if token is not None else None,
        authorization_reference=token.authorization_reference if token is not None else None,
        started_at=start.at if start is not None else None,
        ended_at=ended_at(record),
        meter_start_wh=meter_start(record),
        meter_stop_wh=meter_stop(record),
        energy_wh=wh,
        energy_source=source,
        stopped_reason=stop.reason if stop is not None else None,
        charging_state=record.live.state if record.live is not None else None,
        reservation_id=record.reservation_id,
        remote_start_id=record.remote_start_id,
        offline=record.offline,
        samples=samples,
        missing_seq_nos=missing_seq_nos(record),
        doubts=doubts(record),
        details=read_details(record.details),
        repairs=repairs(record),
        closed_by=record.closed.by if record.closed is not None and stop is None else None,
    )


def ended_at(record: Record) -> datetime | None:
    """When it ended; of one that was closed without an end, when it was last heard of."""
    if record.stop is not None:
        return record.stop.at
    return record.last_at if record.closed is not None else None
