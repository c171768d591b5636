"""Energy registers out of samples: Wh at a time, whatever unit and multiplier they came in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_backbone.contract.values import Sample

_REGISTER = "Energy.Active.Import.Register"
_IN_WH = {"": 1.0, "Wh": 1.0, "kWh": 1000.0, "MWh": 1_000_000.0}
_MOST_WH = 10**15
_MOST_MULTIPLIER = 30
# A phase by itself, also when it is named with its neutral; what is between two phases is none.
_PHASES = {"L1": "1", "L1-N": "1", "L2": "2", "L2-N": "2", "L3": "3", "L3-N": "3"}
_BEGIN = "Transaction.Begin"
_END = "Transaction.End"


@dataclass(frozen=True, slots=True, order=True)
class Reading:
    """The register stood at ``wh`` at this time."""

    at: datetime
    wh: int


@dataclass(frozen=True, slots=True)
class Span:
    """The register's first and last reading, and those marked as the transaction's.

    ``begin`` and ``end`` have that sample context. ``last`` is never a ``begin``, which some
    stations repeat beside each later reading.
    """

    first: Reading | None = None
    last: Reading | None = None
    begin: Reading | None = None
    end: Reading | None = None


NO_SPAN = Span()


@dataclass(frozen=True, slots=True)
class Readings:
    """What a message's samples say of the register.

    ``whole``: of the whole outlet; ``phases``: the sum of single phases, where the message has no
    reading of the whole. ``unreadable``: a register was there, but not as energy.
    """

    whole: Span = NO_SPAN
    phases: Span = NO_SPAN
    fell: bool = False
    unreadable: bool = False


NOTHING = Readings()
# A reading with its sample context.
_Found = list[tuple[Reading, str]]


def readings(samples: Iterable[Sample]) -> Readings:
    """The import register in a message's samples: of the whole outlet, else of its phases summed.

    Signed texts and other locations are left to whoever reads the samples.
    """
    whole, phases, unreadable = _found(samples)
    if not whole and not phases:
        return Readings(unreadable=unreadable) if unreadable else NOTHING
    if whole:
        return Readings(_span(whole), NO_SPAN, _falls(whole), unreadable)
    return Readings(NO_SPAN, _span(phases), unreadable=unreadable)


def timeline(
    samples: Iterable[Sample], *, summed: bool = False
) -> tuple[Reading | None, list[Reading]]:
    """The reading at the beginning, if one is marked so, and the others in the order of time.

    ``summed``: those of single phases, added up, else those of the whole outlet.
    """
    whole, phases, _ = _found(samples)
    found = phases if summed else whole
    begins = [reading for reading, context in found if context == _BEGIN]
    return min(begins, default=None), _others(found)


def falls(begin: Reading | None, later: list[Reading]) -> bool:
    """Whether the register goes backwards anywhere."""
    if any(second.wh < first.wh for first, second in pairwise(later)):
        return True
    after = next((one for one in later if begin is not None and one.at >= begin.at), None)
    return begin is not None and after is not None and after.wh < begin.wh


def _found(samples: Iterable[Sample]) -> tuple[_Found, _Found, bool]:
    """Readings of the whole outlet, sums of its phases, and whether one was no energy."""
    whole: _Found = []
    parts: dict[tuple[datetime, str], dict[str, int]] = {}
    unreadable = False
    for sample in samples:
        if not is_register(sample):
            continue
        phase = _PHASES.get(sample.phase) if sample.phase is not None else None
        if sample.phase is not None and phase is None:
            continue
        wh = in_wh(sample)
        if wh is None:
            unreadable = unreadable or phase is None
            continue
        at = to_milliseconds(sample.at)
        if phase is None:
            whole.append((Reading(at, wh), sample.context))
        else:
            parts.setdefault((at, sample.context), {})[phase] = wh
    if whole or not parts:
        return whole, [], unreadable
    phases = [
        (Reading(at, sum(by_phase.values())), context) for (at, context), by_phase in parts.items()
    ]
    return whole, phases, unreadable


def _others(found: _Found) -> list[Reading]:
    """All but the begins, in the order of time; at the same time an end comes last."""
    ranked = [(one.at, context == _END, one.wh, one) for one, context in found if context != _BEGIN]
    return [reading for *_, reading in sorted(ranked)]


def _falls(found: _Found) -> bool:
    begins = [reading for reading, context in found if context == _BEGIN]
    return falls(min(begins, default=None), _others(found))


def _span(found: _Found) -> Span:
    every = [reading for reading, _ in found]
    begins = [reading for reading, context in found if context == _BEGIN]
    ends = [reading for reading, context in found if context == _END]
    others = [reading for reading, context in found if context != _BEGIN]
    return Span(
        first=min(every),
        last=max(others, default=None),
        begin=min(begins, default=None),
        end=max(ends, default=None),
    )


def in_wh(sample: Sample) -> int | None:
    """A sample's energy in Wh, rounded; None when it is no number or no energy."""
    factor = _IN_WH.get(sample.unit)
    if factor is None or isinstance(sample.value, str):
        return None
    if abs(sample.multiplier) > _MOST_MULTIPLIER:
        return None
    wh = sample.value * factor * 10.0**sample.multiplier
    return round(wh) if isfinite(wh) and abs(wh) <= _MOST_WH else None


def is_register(sample: Sample) -> bool:
    """Whether it is the outlet's import register, of whichever phase."""
    return sample.measurand == _REGISTER and sample.location == "Outlet" and sample.format == "Raw"
