"""Background work: it looks while there is some, rests else, and outlives a server's absence."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import structlog

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.lookout import SHORTEST_PAUSE_S, Lookout, set_or_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EVERY_S = 0.5
AWAY = Unavailable("no server")


class OverError(Exception):
    """The work has seen all that was laid out for it."""


class Bench:
    """A lookout whose looks find what is laid out; what it did, in order.

    A rest is told by its seconds; one that a wake ends is told by ``woken``.
    """

    def __init__(self, *finds: int | Exception | None, first_after_s: float = 0.0) -> None:
        self._finds = list(finds)
        self.done: list[object] = []
        self.during_look: Callable[[], None] = lambda: None
        self.during_rest: Callable[[], None] = lambda: None
        self.lookout = Lookout(
            "bench", self._look, every_s=EVERY_S, first_after_s=first_after_s, rest=self._rest
        )

    async def run(self) -> list[object]:
        with suppress(OverError):
            await self.lookout.run()
        return self.done

    async def _look(self) -> int | None:
        if not self._finds:
            raise OverError
        found = self._finds.pop(0)
        self.done.append("look")
        self.during_look()
        if isinstance(found, Exception):
            raise found
        return found

    async def _rest(self, event: asyncio.Event, seconds: float) -> None:
        self.during_rest()
        self.done.append("woken" if event.is_set() else seconds)


async def test_while_there_is_work_it_does_not_rest() -> None:
    """What was found may have more behind it: the next look is at once."""
    assert await Bench(3, 1, 0).run() == ["look", "look", "look", EVERY_S]


@pytest.mark.parametrize("nothing", [0, None, False])
async def test_without_work_it_looks_by_the_clock(nothing: int | None) -> None:
    """Nothing was found: the next look is after the time between two."""
    assert await Bench(nothing, nothing).run() == ["look", EVERY_S, "look", EVERY_S]


async def test_a_wake_ends_the_rest_once() -> None:
    """Whoever marked something due has it looked at now; the rest after it is a whole one."""
    bench = Bench(0, 0)
    wakes = [bench.lookout.wake]
    bench.during_rest = lambda: wakes.pop()() if wakes else None
    assert await bench.run() == ["look", "woken", "look", EVERY_S]


async def test_a_wake_during_a_look_is_not_lost() -> None:
    """What is marked due while a look is under way may be behind it: it is looked at once more."""
    bench = Bench(0, 0)
    wakes = [bench.lookout.wake]
    bench.during_look = lambda: wakes.pop()() if wakes else None
    assert await bench.run() == ["look", "woken", "look", EVERY_S]


async def test_a_server_that_is_away_is_asked_again_after_a_pause() -> None:
    """It is a line in the log, and no wake has the server asked without end."""
    bench = Bench(AWAY, AWAY, 0)
    bench.during_rest = bench.during_look = bench.lookout.wake
    with structlog.testing.capture_logs() as logs:
        done = await bench.run()
    assert done == ["look", SHORTEST_PAUSE_S, "look", SHORTEST_PAUSE_S, "look", "woken"]
    told = {"event": "bench.waiting", "reason": "no server", "log_level": "warning"}
    assert logs == [told, told]


async def test_any_other_error_ends_the_work() -> None:
    """A fault of ours is for the process to end with, not for a loop to hide."""
    bench = Bench(1, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await bench.run()
    assert bench.done == ["look", "look"]


async def test_the_first_look_may_wait() -> None:
    """Some have just looked, or let others speak first; no wake brings that look forward."""
    bench = Bench(0, first_after_s=7.0)
    bench.lookout.wake()
    assert await bench.run() == [7.0, "look", EVERY_S]


@pytest.mark.parametrize("after_s", [0.0, 0.001])
async def test_a_real_rest_ends_with_a_wake_or_with_its_time(after_s: float) -> None:
    """On the real clock: a rest of an hour ends when woken, now or soon; a short one by itself."""
    looks = asyncio.Queue[None]()

    async def look() -> None:
        looks.put_nowait(None)

    lookout = Lookout("bench", look, every_s=3600)
    task = asyncio.create_task(lookout.run())
    try:
        await _soon(looks.get())
        lookout.wake(after_s)
        await _soon(looks.get())
    finally:
        task.cancel()
    await _soon(set_or_over(asyncio.Event(), 0.001))


async def _soon(waited_for: Awaitable[None]) -> None:
    await asyncio.wait_for(waited_for, 60)
