"""What all readings of an ended transaction show together: doubts that no message raises alone.

Judged anew whenever the transaction changes after its end, so that the same messages raise the
same doubts in whatever order they came.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from voltbus_auth.transactions.domain.account import registers
from voltbus_auth.transactions.domain.registers import Reading, falls, is_register, timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.transactions.domain.record import Record
    from voltbus_backbone.contract.values import Sample

BACKWARDS = "register_backwards"
JUMP = "register_jump"
UNIT = "register_unit"

# No car takes more today; whoever charges lorries (MCS) sets more.
PLAUSIBLE_W = 500_000.0
# What meters, their rounding and clocks that count whole seconds may be off by.
_SLACK_WH = 1000
_KILO = 1000
_NEAR = 0.02
# Of two registers of which one is in kWh, the lower is at least this: it counts a meter's life.
_LEAST_TOLD = 100
# kWh that are called Wh come to less than this: 350 kW divided by 1000.
_SLOWEST_W = 350.0
_SHORTEST_S = 600.0
_LEAST_MEASURED_W = 1000.0
_TIMES_MORE = 100.0
_POWER = "Power.Active.Import"
_IN_W = {"": 1.0, "W": 1.0, "kW": 1000.0}


def review(record: Record, samples: Sequence[Sample], most_w: float) -> frozenset[str]:
    """Judge every step between neighbouring readings. ``most_w``: what no outlet carries more of.

    ``samples`` are all that were kept of the transaction, in any order.
    """
    begin, later = timeline(samples, summed=registers(record).summed)
    found = set()
    if falls(begin, later):
        found.add(BACKWARDS)
    steps = _in_order(record, begin, later)
    if any(_is_jump(first, second, most_w) for first, second in pairwise(steps)):
        found.add(JUMP)
    if len(steps) > 1 and (
        any(_is_thousandth(first.wh, second.wh) for first, second in pairwise(steps))
        or _is_too_slow(steps[0], steps[-1], samples)
    ):
        found.add(UNIT)
    return frozenset(found)


def _in_order(record: Record, begin: Reading | None, later: list[Reading]) -> list[Reading]:
    """The register from start to end. An end whose clock is before the start's is the last."""
    known, start, stop = registers(record), begin, record.stop
    if record.start is not None and known.start_wh is not None:
        start = Reading(record.start.at, known.start_wh)
    steps = later
    if start is not None:
        steps = [start, *(reading for reading in later if reading.at >= start.at)]
    if stop is None or known.stop_wh is None:
        return steps
    end = Reading(stop.at, known.stop_wh)
    if start is not None and end.at < start.at:
        return [*steps, end]
    before = [reading for reading in steps if reading.at <= end.at]
    return [*before, end, *steps[len(before) :]]


def _is_jump(first: Reading, second: Reading, most_w: float) -> bool:
    seconds = (second.at - first.at).total_seconds()
    if seconds < 0:  # a clock was set back: nothing can be said of the time between
        return False
    return second.wh - first.wh > _SLACK_WH + most_w * seconds / 3600.0


def _is_thousandth(one: int, other: int) -> bool:
    """Whether neighbours differ as kWh and Wh do; small numbers may do so by themselves."""
    low, high = sorted((one, other))
    return low >= _LEAST_TOLD and abs(low * _KILO - high) <= _NEAR * high


def _is_too_slow(first: Reading, last: Reading, samples: Sequence[Sample]) -> bool:
    """Whether next to nothing was charged, although decimals or the power measured say more."""
    seconds = (last.at - first.at).total_seconds()
    if seconds < _SHORTEST_S or last.wh <= first.wh:
        return False
    average_w = (last.wh - first.wh) * 3600.0 / seconds
    if average_w > _SLOWEST_W:
        return False
    if any(_has_three_decimals(sample) for sample in samples):
        return True
    power = [_watts(sample) for sample in samples if _is_power(sample)]
    measured_w = sum(power) / len(power) if power else 0.0
    return measured_w >= _LEAST_MEASURED_W and measured_w >= _TIMES_MORE * average_w


def _has_three_decimals(sample: Sample) -> bool:
    """A register in Wh with the decimals of one in kWh; meters do not measure so finely."""
    if not is_register(sample) or sample.unit not in {"", "Wh"} or sample.multiplier:
        return False
    if isinstance(sample.value, str):
        return False
    text = f"{sample.value:.4f}"
    return text[-1] == "0" and text[-2] != "0"


def _is_power(sample: Sample) -> bool:
    return (
        sample.measurand == _POWER
        and sample.phase is None
        and sample.unit in _IN_W
        and not isinstance(sample.value, str)
    )


def _watts(sample: Sample) -> float:
    return float(sample.value) * _IN_W[sample.unit] * 10.0 ** min(sample.multiplier, 9)
