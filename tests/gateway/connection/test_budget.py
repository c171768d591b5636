"""What one station may cost the others, in numbers (ADR 0013)."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.connection.budget import Budget, MemoryBudget
from voltbus_gateway.connection.flow import LARGE, Flow

MIB = 1024 * 1024


def make_budget(burst_s: float = 2.0) -> Budget:
    return Budget(messages_per_s=1000, bytes_per_s=MIB, loop_share=0.2, burst_s=burst_s)


def test_a_station_as_they_are_never_waits() -> None:
    """A replay after a day offline: 500 messages a second of 1 KB, 100 microseconds each."""
    budget = make_budget()
    waits = [budget.spend(i / 500, messages=1, size=1000, busy_s=0.0001) for i in range(5000)]
    assert max(waits) <= 0


def test_bytes_count_after_decompression() -> None:
    """990 frames a second that inflate to 520 KB each are read at two a second."""
    budget, now, frames = make_budget(), 0.0, 0
    while now < 60:
        wait = budget.spend(now, messages=1, size=520_000, busy_s=0.001)
        now += max(wait, 0.001)
        frames += 1
    assert frames <= 62 * MIB / 520_000 + 1


def test_time_of_the_loop_counts_whatever_took_it() -> None:
    """A message that takes 50 ms may come four times a second."""
    budget, now, messages = make_budget(), 0.0, 0
    while now < 60:
        wait = budget.spend(now, messages=1, size=10, busy_s=0.05)
        now += max(wait, 0.05)
        messages += 1
    assert messages <= 0.2 * 62 / 0.05 + 1


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.integers(0, 50), st.integers(0, 600_000), st.floats(0, 0.3)),
        max_size=150,
    )
)
def test_nobody_gets_more_than_the_rate_and_the_burst(
    steps: list[tuple[float, int, int, float]],
) -> None:
    """Whoever waits as told has cost no more than burst and rate, in any of the three."""
    budget, now = make_budget(), 0.0
    taken = [0.0, 0.0, 0.0]
    for gap, messages, size, busy_s in steps:
        now += gap
        wait = budget.spend(now, messages=messages, size=size, busy_s=busy_s)
        costs = (messages / 1000, size / MIB, busy_s / 0.2)
        for place, cost in enumerate(costs):
            assert taken[place] <= now + 2.0 + 1e-6
            taken[place] += cost
        now += max(wait, 0.0)


@dataclass(eq=False)
class Holder:
    """A connection that can be cut."""

    name: str
    cuts: list[str] = field(default_factory=list)

    def cut(self) -> None:
        self.cuts.append(self.name)


def test_the_process_keeps_its_bound_and_cuts_who_holds_most_for_longest() -> None:
    """Who stopped in the middle of a message goes; who just sends a larger one stays."""
    cuts: list[str] = []
    memory = MemoryBudget(1000)
    stuck, honest, small = (Holder(name, cuts) for name in ("stuck", "honest", "small"))
    memory.hold(stuck, 500, 0.0)
    memory.hold(small, 10, 0.0)
    memory.hold(honest, 490, 60.0)
    assert cuts == []
    memory.hold(honest, 600, 60.1)
    assert cuts == ["stuck"]
    assert memory.total == 610
    memory.hold(honest, 0, 61.0)
    memory.hold(small, 0, 61.0)
    assert memory.total == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 700), st.floats(0, 9)), max_size=80))
def test_memory_is_never_over_its_limit(steps: list[tuple[int, int, float]]) -> None:
    """Whoever holds whatever, the sum is right and bounded; one alone may be cut too."""
    cuts: list[str] = []
    memory, now = MemoryBudget(600), 0.0
    holders = [Holder(str(number), cuts) for number in range(6)]
    held = dict.fromkeys(holders, 0)
    for number, size, gap in steps:
        now += gap
        cuts.clear()
        memory.hold(holders[number], size, now)
        held[holders[number]] = size
        for name in cuts:
            held[holders[int(name)]] = 0
        assert memory.total == sum(held.values()) <= 600


def test_large_messages_keep_no_small_one_waiting() -> None:
    """Their part of the bytes is used up: they wait, a heartbeat does not; each end wakes one."""
    flow = Flow(100, 8 * MIB)
    flow.enter(6 * MIB)
    assert not flow.admits(LARGE + 1)
    assert flow.admits(LARGE)
    woken: list[str] = []

    def add_waiter(name: str, *, wants: bool) -> None:
        def wake() -> bool:
            woken.append(name)
            return wants

        flow.wait(MIB, wake)

    add_waiter("gone", wants=False)
    add_waiter("first", wants=True)
    add_waiter("second", wants=True)
    flow.enter(10)
    flow.leave(10)
    assert woken == ["gone", "first"]
    flow.leave(6 * MIB)
    assert woken == ["gone", "first", "second"]
    assert flow.admits(100 * MIB)  # alone, whatever its size


def test_a_full_gateway_wakes_everybody_at_three_quarters() -> None:
    """Neither the number nor the bytes in hand outgrow their limits for long."""
    flow = Flow(4, MIB)
    woken: list[int] = []
    for _ in range(4):
        flow.enter(1)
    assert flow.full

    def wake() -> bool:
        woken.append(1)
        return True

    flow.wait(1, wake)
    flow.leave(1)
    assert woken == [1]
    assert flow.admits(1)
    flow.enter(MIB)
    assert not flow.admits(1)
    flow.leave(MIB)
    assert flow.admits(1)
