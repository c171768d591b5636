"""The rate of admission and the patience with wrong passwords, with an injected clock."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.admission import Admission, FailedLogins


def test_a_burst_passes_then_the_rate_holds() -> None:
    """Five at once, then one each 0.1 s, told as waits."""
    line = Admission(rate_per_s=10, burst=5, longest_wait_s=0.25)
    waits = [line.reserve(0.0) for _ in range(9)]
    assert waits[:6] == [0.0] * 6
    assert [round(wait, 6) for wait in waits[6:8] if wait is not None] == [0.1, 0.2]
    assert waits[8] is None


def test_a_quiet_time_restores_the_burst() -> None:
    """The line forgets."""
    line = Admission(rate_per_s=10, burst=5, longest_wait_s=0)
    assert [line.reserve(0.0) for _ in range(7)][-1] is None
    assert [line.reserve(10.0) for _ in range(6)] == [0.0] * 6


def test_who_is_refused_hears_when_there_is_room() -> None:
    """Retry-After is at least a second and grows with the line."""
    line = Admission(rate_per_s=1, burst=1, longest_wait_s=5)
    while line.reserve(0.0) is not None:
        pass
    assert line.retry_after(0.0) >= 1
    assert line.reserve(float(line.retry_after(0.0))) is not None


@given(
    st.lists(st.floats(0, 5), max_size=200),
    st.floats(0.5, 100),
    st.integers(1, 20),
    st.floats(0, 10),
)
def test_no_second_admits_more_than_rate_and_burst(
    gaps: list[float], rate: float, burst: int, longest: float
) -> None:
    """However they arrive, at most burst + rate + 1 go through in any second."""
    line = Admission(rate_per_s=rate, burst=burst, longest_wait_s=longest)
    now, passed = 0.0, []
    for gap in gaps:
        now += gap / 10
        wait = line.reserve(now)
        if wait is not None:
            assert 0 <= wait <= longest
            passed.append(now + wait)
    for start in passed:
        within = sum(start <= moment < start + 1 for moment in passed)
        assert within <= burst + rate + 2


def test_patience_ends_after_the_allowed_failures_and_doubles() -> None:
    """Waits of 1, 2, 4, 5 (the longest); success forgets."""
    logins = FailedLogins(allowed=3, longest_wait_s=5)
    waits = []
    for _ in range(6):
        logins.failed("CP-1", "10.0.0.1", 100.0)
        waits.append(logins.wait_s("CP-1", "10.0.0.1", 100.0))
    assert waits == [0, 0, 1, 2, 4, 5]
    assert logins.wait_s("CP-1", "10.0.0.1", 106.0) == 0
    assert logins.wait_s("CP-2", "10.0.0.1", 100.0) == 0
    assert logins.wait_s("CP-1", "10.0.0.2", 100.0) == 0
    logins.succeeded("CP-1", "10.0.0.1")
    assert logins.wait_s("CP-1", "10.0.0.1", 100.0) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    """Made-up station ids do not fill the memory."""
    logins = FailedLogins(allowed=1, longest_wait_s=5, remembered=10)
    for number in range(100):
        logins.failed(f"CP-{number}", "10.0.0.1", 0.0)
    assert logins.wait_s("CP-99", "10.0.0.1", 0.0) > 0
    assert logins.wait_s("CP-0", "10.0.0.1", 0.0) == 0


def test_comparisons_at_once_are_bounded_by_the_failures_that_are_left() -> None:
    """Three allowed: three at once, after a failure two, after a success three; the wait is one."""
    logins = FailedLogins(allowed=3, longest_wait_s=5)

    def begun() -> list[float]:
        return [logins.begin("CP-1", "10.0.0.1", 100.0) for _ in range(4)]

    def ended(places: int) -> None:
        for _ in range(places):
            logins.ended("CP-1", "10.0.0.1")

    assert begun() == [0, 0, 0, 1]
    assert logins.begin("CP-2", "10.0.0.1", 100.0) == 0
    assert logins.begin("CP-1", "10.0.0.2", 100.0) == 0
    logins.failed("CP-1", "10.0.0.1", 100.0)
    ended(3)
    assert begun() == [0, 0, 1, 1]
    logins.succeeded("CP-1", "10.0.0.1")
    ended(1)
    assert begun() == [0, 0, 1, 1]  # one of before is still being compared
    ended(3)
    assert begun() == [0, 0, 0, 1]


def test_after_the_wait_one_is_compared_at_a_time() -> None:
    """Else each wait would buy several guesses; who comes meanwhile hears of the next wait."""
    logins = FailedLogins(allowed=2, longest_wait_s=60)
    for _ in range(4):
        logins.failed("CP-1", "10.0.0.1", 100.0)
    assert logins.begin("CP-1", "10.0.0.1", 103.0) == 1
    assert logins.begin("CP-1", "10.0.0.1", 104.0) == 0
    assert logins.begin("CP-1", "10.0.0.1", 104.0) == 8
    logins.failed("CP-1", "10.0.0.1", 104.0)
    logins.ended("CP-1", "10.0.0.1")
    assert logins.begin("CP-1", "10.0.0.1", 104.0) == 8


@dataclass
class OneByOne:
    """The rule for guesses in a row, written down a second time."""

    allowed: int
    longest: float
    count: int = 0
    until: float = 0.0

    def compared(self, now: float, *, right: bool) -> None:
        """One comparison, from its beginning to its end at this moment."""
        assert now >= self.until
        if right:
            self.count, self.until = 0, now
            return
        self.count += 1
        if self.count >= self.allowed:
            self.until = now + min(2.0 ** (self.count - self.allowed), self.longest)


@given(
    st.integers(1, 6),
    st.sampled_from([0.0, 0.5, 5.0, 30.0]),
    st.lists(
        st.tuples(
            st.sampled_from(["begins", "begins", "begins", "wrong", "wrong", "right", "given up"]),
            st.sampled_from([0.0, 0.0, 0.0, 0.25, 1.0, 4.0, 40.0]),
        ),
        max_size=120,
    ),
)
def test_parallel_guesses_are_no_better_than_guesses_in_a_row(
    allowed: int, longest: float, steps: list[tuple[str, float]]
) -> None:
    """However comparisons overlap, also with right ones: told in a row, each was allowed."""
    logins = FailedLogins(allowed=allowed, longest_wait_s=longest)
    in_a_row = OneByOne(allowed, longest)
    now, comparing = 0.0, 0
    for what, passing in steps:
        now += passing
        if what == "begins":
            wait = logins.begin("CP-1", "10.0.0.1", now)
            assert wait >= 0
            comparing += wait == 0
            assert comparing <= allowed
        elif comparing > 0:
            if what != "given up":
                in_a_row.compared(now, right=what == "right")
            if what == "wrong":
                logins.failed("CP-1", "10.0.0.1", now)
            elif what == "right":
                logins.succeeded("CP-1", "10.0.0.1")
            logins.ended("CP-1", "10.0.0.1")
            comparing -= 1
        assert logins.begin("CP-2", "10.0.0.1", now) == 0
        logins.ended("CP-2", "10.0.0.1")
    for _ in range(comparing):
        logins.ended("CP-1", "10.0.0.1")
    places = max(1, allowed - in_a_row.count)
    begun = [logins.begin("CP-1", "10.0.0.1", now + longest) for _ in range(places + 1)]
    assert begun[:-1] == [0] * places  # every place came back
    assert begun[-1] >= 1
