"""What a transaction's record comes to: energy in Wh with its source, doubts, the public event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.contract.auth import TransactionChanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from voltbus_auth.domain.record import Record
    from voltbus_backbone.contract.values import Sample

ACTIVE = "active"
ENDED = "ended"

# No charging cable carries more (MCS ends at 3.75 MW); a faster register is a broken one.
_MOST_W = 4_000_000
_SLACK_WH = 1000
_TOLERANCE_S = 60.0
_OLDEST_CLOCK = 2015
_MOST_MISSING = 100


def energy(record: Record) -> tuple[int | None, str]:
    """Energy in Wh and how it is known: register, samples or unknown."""
    start, stop = meter_start(record), meter_stop(record)
    if start is not None and stop is not None:
        return (stop - start, "register") if stop >= start else (None, "unknown")
    first = start if start is not None else (record.first.wh if record.first else None)
    last = record.last.wh if record.last else None
    if first is None or last is None or last < first:
        return None, "unknown"
    return last - first, "samples"


def meter_start(record: Record) -> int | None:
    """The register when it began."""
    if record.start is not None and record.start.meter_wh is not None:
        return record.start.meter_wh
    return record.begin.wh if record.begin is not None else None


def meter_stop(record: Record) -> int | None:
    """The register when it ended; None while it is open."""
    if record.stop is None:
        return None
    if record.stop.meter_wh is not None:
        return record.stop.meter_wh
    return record.end.wh if record.end is not None else None


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
    """What whoever bills should look at first, sorted."""
    return tuple(sorted({*record.flags, *_doubts(record)}))


def _doubts(record: Record) -> Iterator[str]:
    start, stop = record.start, record.stop
    if record.first_at.year < _OLDEST_CLOCK:
        yield "clock"
    if stop is not None:
        if start is None:
            yield "no_start"
        elif stop.at < start.at:
            yield "ends_before_start"
        if energy(record)[0] is None:
            yield "no_energy"
    yield from _register_doubts(record)
    yield from _window_doubts(record)


def _register_doubts(record: Record) -> Iterator[str]:
    first, last = record.first, record.last
    begun, ended = meter_start(record), meter_stop(record)
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
        state=ACTIVE if stop is None else ENDED,
        at=at,
        evse_id=record.evse_id,
        connector_id=record.connector_id,
        token_ref=token.token_ref if token is not None else None,
        agreement_id=token.agreement_id if token is not None else None,
        authorization=token.status if token is not None else None,
        authorization_reference=token.authorization_reference if token is not None else None,
        started_at=start.at if start is not None else None,
        ended_at=stop.at if stop is not None else None,
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
    )
