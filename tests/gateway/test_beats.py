"""Whether Kafka stores, judged by its acknowledgements and never by our own lateness (design 4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.beats import BeatPublisher, LoopClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.envelope import Record

LOOK_S = 0.25
OUTAGE_S = 5.0


@dataclass
class Broker:
    """A bus that acknowledges when the test says so."""

    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    since: float | None = None
    now: float = 100.0

    def publish(self, _records: Sequence[Record]) -> asyncio.Future[None]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def post(self, _record: Record) -> None:
        raise AssertionError("a beat is published")

    def pending_s(self) -> float:
        return 0.0 if self.since is None else self.now - self.since

    async def acknowledge(self) -> None:
        """Store everything."""
        for future in self.waiting:
            future.set_result(None)
        self.waiting.clear()
        await asyncio.sleep(0)


def pulse_on(broker: Broker) -> BeatPublisher:
    return BeatPublisher(
        publisher=broker,
        pending_s=broker.pending_s,
        gateway_id="g-1",
        partition=0,
        source="/voltbus/gateway/g-1",
        connections=lambda: 3,
        now=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        clock=lambda: broker.now,
        beat_s=5.0,
        outage_s=OUTAGE_S,
        retry_s=1.0,
        look_s=LOOK_S,
    )


async def test_a_loop_that_stood_still_is_no_outage() -> None:
    """Flooded for a minute, with an acknowledgement waiting unread: nobody is sent away."""
    broker = Broker()
    pulse = pulse_on(broker)
    pulse.check()
    broker.since = broker.now
    for late_s in (6.0, 20.0, 34.0):
        broker.now += late_s
        pulse.check()
        assert pulse.storing
    await broker.acknowledge()
    broker.since = None
    broker.now += LOOK_S
    pulse.check()
    assert pulse.storing


async def test_silence_while_the_loop_runs_is_an_outage() -> None:
    """Design 4: Kafka that answers nothing for five seconds of our attention is away."""
    broker = Broker()
    pulse = pulse_on(broker)
    for _ in range(int(OUTAGE_S / LOOK_S)):
        pulse.check()
        assert pulse.storing
        broker.now += LOOK_S
    pulse.check()
    assert not pulse.storing
    await broker.acknowledge()
    assert pulse.storing


async def test_an_outage_is_found_on_a_loop_that_is_always_late() -> None:
    """A postponed judgement is not given up: twenty looks at a silent Kafka are enough."""
    broker = Broker()
    pulse = pulse_on(broker)
    looks = 0
    while pulse.storing:
        pulse.check()
        broker.now += 4 * LOOK_S
        looks += 1
    assert looks == OUTAGE_S / LOOK_S + 1


@given(st.lists(st.floats(LOOK_S, 30), min_size=1, max_size=60), st.data())
def test_time_on_time_is_never_more_than_the_looks(gaps: list[float], data: st.DataObject) -> None:
    """However late the looks were, each counts for what was between two on time, at most."""
    on_time, now = LoopClock(LOOK_S), 0.0
    on_time.record_tick(now)
    moments = [now]
    for gap in gaps:
        now += gap
        on_time.record_tick(now)
        moments.append(now)
    since = data.draw(st.sampled_from(moments))
    looks = sum(moment > since for moment in moments)
    assert -1e-6 <= on_time.elapsed_s(since, now) <= looks * (LOOK_S + 0.051)
