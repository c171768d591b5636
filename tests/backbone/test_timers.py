"""A timer that can be moved forward, on both event loops."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

import pytest
import uvloop

from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.auth import StationLogin
from voltbus_backbone.contract.registry import STATION_LOGIN
from voltbus_backbone.errors import DeadlineExceeded
from voltbus_backbone.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run_on(loop: Callable[[], asyncio.AbstractEventLoop], test: Callable[[], object]) -> None:
    """Run a function within the loop until what it has set going is done."""

    async def inside() -> None:
        result = test()
        if asyncio.iscoroutine(result):
            await result

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(inside())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_moment_already_past_can_be_moved(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Uvloop gives a Handle without ``when()`` for it: the timer knows its moment all the same."""

    async def test() -> None:
        now = asyncio.get_running_loop().time()
        calls: asyncio.Queue[str] = asyncio.Queue()
        timer = Timer()
        timer.set(now - 1, lambda: calls.put_nowait("past"))
        timer.set(now + 60, lambda: calls.put_nowait("later"))
        timer.set(now - 2, lambda: calls.put_nowait("earlier"))
        assert timer.due == now - 2
        async with asyncio.timeout(30):
            assert await calls.get() == "earlier"
        assert timer.due == inf
        assert calls.empty()

    run_on(loop, test)


@pytest.mark.parametrize("loop", LOOPS)
def test_slack_keeps_a_call_and_cancel_forgets_it(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Deadlines that move back and forth a little do not arm a timer each."""

    async def test() -> None:
        now = asyncio.get_running_loop().time()
        timer = Timer()
        timer.set(now + 60, lambda: None)
        timer.set(now + 59.99, lambda: None, 0.05)
        assert timer.due == now + 60
        timer.set(now + 50, lambda: None, 0.05)
        assert timer.due == now + 50
        timer.cancel()
        assert timer.due == inf

    run_on(loop, test)


@pytest.mark.parametrize("loop", LOOPS)
def test_questions_whose_deadline_is_past_end(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """On a loop that is late a question's deadline may be past when it is asked: it ends so."""

    async def test() -> None:
        asker = Requester(
            instance_id="one",
            source="/voltbus/test",
            inbox_topic="gateway.inbox",
            publisher=MemoryBus(),
            start_mark="t",
            now=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        )
        question = StationLogin(station_id="CP-1", security_profile=1)
        answers = [
            asker.ask(STATION_LOGIN, question, deadline_s=deadline) for deadline in (-1, -2, -1, 0)
        ]
        async with asyncio.timeout(30):
            for answer in answers:
                with pytest.raises(DeadlineExceeded):
                    await answer
        assert asker._waiting == {}
        await asker.stop()

    run_on(loop, test)
