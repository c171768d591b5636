"""What happens again and again is told once a while, and nothing of it is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.domain.door.throttled_counter import ThrottledCounter


def damper(remembered: int = 10, forget_s: float = 3600.0) -> ThrottledCounter[str, int]:
    """Once a minute."""
    return ThrottledCounter(every_s=60.0, forget_s=forget_s, remembered=remembered)


def test_the_first_of_a_kind_is_told_at_once() -> None:
    """And so is the first of another kind; the second waits."""
    told = damper()
    assert [told.count("a", 1, 0.0), told.count("b", 1, 0.0), told.count("a", 2, 1.0)] == [
        1,
        1,
        None,
    ]


def test_what_was_held_back_is_told_when_its_time_comes() -> None:
    """With the newest value, although nothing more happens."""
    told = damper()
    for value in range(5):
        told.count("a", value, float(value))
    assert told.next_due == 60.0
    assert list(told.take_due(59.9)) == []
    assert list(told.take_due(60.0)) == [("a", 4, 5)]
    assert told.next_due is None


def test_after_an_hour_without_it_is_the_first_of_its_kind_again() -> None:
    """A count tells of what goes on now."""
    told = damper()
    told.count("a", 1, 0.0)
    assert told.count("a", 1, 3000.0) == 2
    assert told.count("a", 1, 6601.0) == 1


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 200)), max_size=60),
    st.integers(1, 6),
)
def test_nothing_is_told_oftener_and_nothing_is_lost(
    steps: list[tuple[str, float]], remembered: int
) -> None:
    """For each remembered kind: a pause between any two, and in the end the whole count."""
    told = damper(remembered, forget_s=1e9)
    now = 0.0
    lines: list[tuple[str, int, float]] = []
    for kind, wait in steps:
        now += wait
        lines += [(name, count, now) for name, _, count in told.take_due(now)]
        count = told.count(kind, 0, now)
        if count is not None:
            lines.append((kind, count, now))
        assert len(told._runs) <= remembered
        assert told._owing.keys() <= told._runs.keys()
    lines += [(name, count, now + 60) for name, _, count in told.take_due(now + 60)]
    if remembered < 6:
        return
    for kind in {name for name, _ in steps}:
        mine = [(count, at) for name, count, at in lines if name == kind]
        assert mine[-1][0] == sum(name == kind for name, _ in steps)
        assert all(later - earlier >= 60 for (_, earlier), (_, later) in pairwise(mine))
