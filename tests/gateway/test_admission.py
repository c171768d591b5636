"""The rate of admission and the patience with wrong passwords, with an injected clock."""

from __future__ import annotations

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
