"""When two live connections contest one identity, and for how long the holder stays (ADR 0019)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.domain.door.contests import (
    FIRST_PAUSE_S,
    FORGET_S,
    LONGEST_PAUSE_ELSEWHERE_S,
    LONGEST_PAUSE_S,
    TAKEOVERS,
    Contests,
)


def test_a_few_takeovers_are_no_contest() -> None:
    """A station may reconnect from a live socket now and then."""
    contests = Contests()
    assert not any(contests.record_takeover("CP-1", float(at)) for at in range(TAKEOVERS - 1))
    assert contests.remaining_hold_s("CP-1", float(TAKEOVERS)) == 0
    assert contests.record_takeover("CP-1", 1000.0) is None


def test_many_in_a_minute_are_one_and_each_further_one_doubles_the_pause() -> None:
    """Up to five minutes: so seldom at most is a place lost by whoever lives."""
    contests, now = Contests(), 0.0
    for _ in range(TAKEOVERS - 1):
        assert contests.record_takeover("CP-1", now) is None
    pauses = []
    for _ in range(8):
        contest = contests.record_takeover("CP-1", now)
        assert contest is not None
        pauses.append(contest.pause_s)
        now = contest.until
        assert contests.remaining_hold_s("CP-1", now - 0.5) == 0.5
        assert contests.remaining_hold_s("CP-1", now) == 0
    assert pauses[:4] == [FIRST_PAUSE_S, 20, 40, 80]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert contests.remaining_hold_s("CP-2", now - 0.5) == 0


def test_at_another_gateway_the_pause_stays_short() -> None:
    """Nobody here can ask whether the holder lives, and a real station must come in soon."""
    contests = Contests()
    for _ in range(20):
        contest = contests.record_takeover("CP-1", 0.0, elsewhere=True)
    assert contest is not None
    assert contest.pause_s == LONGEST_PAUSE_ELSEWHERE_S
    assert contests.is_elsewhere("CP-1")


def test_a_contest_is_over_after_a_quiet_time() -> None:
    """Longer than the longest pause, or it would be forgotten while it goes on."""
    contests = Contests()
    for _ in range(TAKEOVERS):
        contests.record_takeover("CP-1", 0.0)
    assert contests.record_takeover("CP-1", FORGET_S + 1) is None
    assert FORGET_S > LONGEST_PAUSE_S


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 100)), max_size=100), st.integers(1, 5))
def test_what_is_remembered_is_bounded(steps: list[tuple[int, float]], remembered: int) -> None:
    """However many identities are contested."""
    contests, now = Contests(remembered), 0.0
    for name, wait in steps:
        now += wait
        contests.record_takeover(f"CP-{name}", now)
        assert len(contests._contests) <= remembered
