"""Readers and background loops: started again after they broke, and seen in readiness meanwhile."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.supervision import STEADY_S, Supervised


class Bench:
    """A loop that breaks as laid out; ``None`` is an orderly end. Time passes while it runs."""

    def __init__(self, *ends: BaseException | None, lasting_s: float = 0.0) -> None:
        self._ends = list(ends)
        self._lasting_s = lasting_s
        self.now = 0.0
        self.rests: list[float] = []
        self.seen: list[bool] = []
        self.reader = Supervised("bench", self._run, rest=self._rest, clock=lambda: self.now)

    async def _run(self) -> None:
        self.seen.append(self.reader.ready())
        self.now += self._lasting_s
        end = self._ends.pop(0)
        if end is not None:
            raise end

    async def _rest(self, seconds: float) -> None:
        self.seen.append(self.reader.ready())
        self.rests.append(seconds)
        self.now += seconds


async def test_what_broke_is_started_again_with_growing_pauses() -> None:
    """Any exception: a loop that ended for good would leave a process that does nothing."""
    bench = Bench(*(ZeroDivisionError() for _ in range(10)), None)
    with structlog.testing.capture_logs() as logs:
        await bench.reader.run()
    assert bench.rests[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(bench.rests) == bench.rests[-1] == 10.0
    assert {(log["event"], log["reader"], log["log_level"]) for log in logs} == {
        ("reader.broke", "bench", "error")
    }


async def test_it_is_not_ready_until_it_has_held() -> None:
    """A loop that breaks again and again must not look ready between two breaks."""
    bench = Bench(ZeroDivisionError(), ZeroDivisionError(), None)
    await bench.reader.run()
    assert bench.seen == [True, False, False, False, False]
    bench.now += STEADY_S
    assert bench.reader.ready()


async def test_once_it_has_held_the_pauses_begin_anew() -> None:
    """A fault a day is answered at once, however many days."""
    bench = Bench(*(ZeroDivisionError() for _ in range(4)), None, lasting_s=STEADY_S + 1)
    await bench.reader.run()
    assert bench.rests == [0.1] * 4


async def test_a_server_that_is_away_is_a_line_in_the_log() -> None:
    """Not a fault of ours: a warning, and no long pause once it may be back."""
    bench = Bench(Unavailable("no broker"), None)
    with structlog.testing.capture_logs() as logs:
        await bench.reader.run()
    assert [(log["event"], log["reason"]) for log in logs] == [("reader.waiting", "no broker")]
    assert bench.rests == [0.1]
    away = Bench(*(Unavailable("no broker") for _ in range(9)), None)
    await away.reader.run()
    assert max(away.rests) == away.rests[-1] == 2.0


async def test_a_cancelled_loop_is_not_started_again() -> None:
    """The process ends."""
    bench = Bench(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await bench.reader.run()
    assert bench.rests == []
