"""The bus bears whatever anybody writes there: headers, bodies, types and reply addresses."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from fuzz.bus import fuzz, main
from fuzz.records_judged import Judge
from fuzz.records_made import NOW, Case, seeds, vary
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.consumption import Consumption, Loop
from voltbus_backbone.bus.testing import MemoryBus, MemoryConsumer, MemoryRecord
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import StationLogin
from voltbus_backbone.contract.registry import Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.envelope import Event, Record

WAIT_S = 60.0
REQUESTS = Topic.AUTH_REQUESTS


def test_guided_records_break_no_reader() -> None:
    """A few thousand, near to sound ones of every message type; each becomes an event or a letter.

    A letter's reason names nothing of the record, a reply goes only where replies may go, and what
    is sent can be written (ADR 17).
    """
    run = fuzz(3000, seed=12)
    assert run.broken is None, f"{run.why!r}: {run.broken}"
    assert len(run.kept) > len(seeds()) + 100


def test_the_same_seed_tries_the_same_records() -> None:
    """What one run finds, another finds again."""
    first, second = fuzz(600, seed=3), fuzz(600, seed=3)
    assert first.kept == second.kept


class Careless(Judge):
    """A judge that finds every body with a certain word wrong."""

    def judge(self, case: Case) -> list[str]:
        """As ever, but for that."""
        assert b"\xff\xfe" not in [value for _, value in case.headers]
        return super().judge(case)


def test_what_is_broken_is_found_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader that bears a header of no text badly is found within a few thousand tries."""
    run = fuzz(5000, seed=1, judge=Careless)
    assert run.broken is not None
    assert b"\xff\xfe" in [value for _, value in run.broken.headers]
    assert main(["--runs", "400", "--seed", "2"]) == 0
    assert "Nothing is broken." in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(3))
async def test_a_consumption_bears_them_and_handles_what_is_sound(seed: int) -> None:
    """Mutated records between good ones: the good are handled, all is committed, the loop lives."""
    chance = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    bus = MemoryBus()
    place = (bus.prefix + REQUESTS, 0)
    log = bus.logs.setdefault(place, [])
    good = 0
    for number in range(400):
        case = vary(chance.choice(seeds()), chance, list(seeds()))
        headers: list[Any] = list(case.headers)
        log.append(MemoryRecord(*place, len(log), case.key, case.value, headers))
        if number % 20 == 0:
            good += 1
            login = envelope.event(
                registry.STATION_LOGIN,
                StationLogin(station_id=f"good-{good}"),
                id=f"good-{good}",
                source="/t",
                now=NOW,
            )
            log.append(MemoryRecord(*place, len(log), login.key, login.value, login.headers))
    seen: list[str] = []

    async def handle(events: Sequence[Event]) -> list[Record]:
        seen.extend(event.id for event in events)
        return []

    consumer = MemoryConsumer(bus)
    loop = Loop(
        Consumption("fuzz", (REQUESTS,), frozenset(registry.TYPES), handle),
        consumer=consumer,
        publisher=bus,
        addresses=bus.addresses(),
        dead_letters=Topic.AUTH_DEAD_LETTER,
        batch_records=50,
        now=lambda: NOW,
    )
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(WAIT_S):
        while consumer.committed.get(place) != len(log):
            assert not task.done()
            await asyncio.sleep(0.01)
    loop.stop()
    await task
    assert [name for name in seen if name.startswith("good-")] == [
        f"good-{number}" for number in range(1, good + 1)
    ]
    allowed = {"auth.requests", "auth.dead-letter", *(t for t in Topic if t.endswith(".inbox"))}
    assert {topic.removeprefix(bus.prefix) for topic, _ in bus.logs} <= allowed
