"""Energy registers out of samples: Wh at a time, whatever unit and multiplier they came in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

from voltbus_auth.domain.intake import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_backbone.contract.values import Sample

_REGISTER = "Energy.Active.Import.Register"
_IN_WH = {"": 1.0, "Wh": 1.0, "kWh": 1000.0, "MWh": 1_000_000.0}
_MOST_WH = 10**15
_MOST_MULTIPLIER = 30
_BEGIN = "Transaction.Begin"
_END = "Transaction.End"


@dataclass(frozen=True, slots=True, order=True)
class Reading:
    """The register stood at ``wh`` at this time."""

    at: datetime
    wh: int


@dataclass(frozen=True, slots=True)
class Readings:
    """What a message's samples say of the register.

    ``begin`` and ``end`` are marked by the station as the transaction's (sample context).
    ``unreadable``: a register was there, but not as energy.
    """

    first: Reading | None = None
    last: Reading | None = None
    begin: Reading | None = None
    end: Reading | None = None
    fell: bool = False
    unreadable: bool = False


NOTHING = Readings()


def falls(samples: Iterable[Sample]) -> bool:
    """Whether the register goes backwards anywhere in a whole transaction's samples."""
    found = sorted(
        Reading(to_milliseconds(sample.at), wh)
        for sample in samples
        if _is_register(sample) and (wh := in_wh(sample)) is not None
    )
    return any(later.wh < earlier.wh for earlier, later in pairwise(found))


def readings(samples: Iterable[Sample]) -> Readings:
    """The whole-outlet import register in a message's samples.

    Single phases, signed texts and other locations are left to whoever reads the samples.
    """
    found: list[Reading] = []
    begin: Reading | None = None
    end: Reading | None = None
    unreadable = False
    for sample in samples:
        if not _is_register(sample):
            continue
        wh = in_wh(sample)
        if wh is None:
            unreadable = True
            continue
        reading = Reading(to_milliseconds(sample.at), wh)
        found.append(reading)
        if sample.context == _BEGIN:
            begin = reading if begin is None else min(begin, reading)
        elif sample.context == _END:
            end = reading if end is None else max(end, reading)
    if not found:
        return Readings(unreadable=unreadable) if unreadable else NOTHING
    found.sort()
    fell = any(later.wh < earlier.wh for earlier, later in pairwise(found))
    return Readings(found[0], found[-1], begin, end, fell, unreadable)


def in_wh(sample: Sample) -> int | None:
    """A sample's energy in Wh, rounded; None when it is no number or no energy."""
    factor = _IN_WH.get(sample.unit)
    if factor is None or isinstance(sample.value, str):
        return None
    if abs(sample.multiplier) > _MOST_MULTIPLIER:
        return None
    wh = sample.value * factor * 10.0**sample.multiplier
    return round(wh) if isfinite(wh) and abs(wh) <= _MOST_WH else None


def _is_register(sample: Sample) -> bool:
    return (
        sample.measurand == _REGISTER
        and sample.phase is None
        and sample.location == "Outlet"
        and sample.format == "Raw"
    )
