"""The rate of admission and the patience with wrong passwords, with an injected clock."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_gateway.door.admission import (
    AdmissionQueue,
    LoginThrottle,
    QueuedLogin,
    find_sender,
    shared_address,
)


class Arrivals:
    """A line with a clock that jumps from turn to turn."""

    def __init__(self, line: AdmissionQueue) -> None:
        self.line = line
        self.now = 0.0
        self.let_on: list[tuple[str, float]] = []
        self.put_out: list[str] = []

    def arrive(self, address: str = "10.0.0.1") -> bool:
        """Whether this one is let on or waits."""

        def turn(let_on: bool) -> None:  # noqa: FBT001 - as Place has it
            if let_on:
                self.let_on.append((address, self.now))
            else:
                self.put_out.append(address)

        return self.line.enter(QueuedLogin(address, turn), self.now)

    def pass_until(self, moment: float) -> None:
        """Each turn comes when it is due."""
        while (due := self.line.advance(self.now)) is not None and due <= moment:
            self.now = due
        self.now = moment

    def moments(self, address: str) -> list[float]:
        """When those of an address were let on."""
        return [round(moment, 6) for name, moment in self.let_on if name == address]


def test_a_burst_passes_then_the_rate_holds() -> None:
    """Five at once, then one each 0.1 s; who would wait too long is refused."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=10, burst=5, longest_wait_s=0.25))
    assert [arrivals.arrive() for _ in range(9)] == [True] * 8 + [False]
    arrivals.pass_until(5)
    assert arrivals.moments("10.0.0.1") == [0] * 6 + [0.1, 0.2]


def test_a_quiet_time_restores_the_burst() -> None:
    """The line forgets."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=10, burst=5, longest_wait_s=0))
    assert not [arrivals.arrive() for _ in range(7)][-1]
    arrivals.pass_until(10)
    assert all(arrivals.arrive() for _ in range(6))


def test_who_is_refused_hears_when_there_is_room() -> None:
    """Retry-After is at least a second and grows with the line."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=1, burst=1, longest_wait_s=20))
    while arrivals.arrive():
        pass
    assert arrivals.line.retry_after() > 1
    arrivals.pass_until(float(arrivals.line.retry_after()))
    assert arrivals.arrive()


def test_who_floods_the_door_keeps_no_other_address_waiting() -> None:
    """A thousand knocks of a stranger are before a station: it has the very next turn but one."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=10, burst=1, longest_wait_s=10))
    taken = sum(arrivals.arrive("198.51.100.7") for _ in range(1000))
    assert taken < 1000
    assert arrivals.arrive("10.0.0.1")
    assert arrivals.put_out == ["198.51.100.7"]
    arrivals.pass_until(0.25)
    assert len(arrivals.moments("10.0.0.1")) == 1


def test_a_fleet_behind_one_address_has_the_whole_line() -> None:
    """NAT or a load balancer: alone, it is let in at the full rate; no share locks it out."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=100, burst=1, longest_wait_s=10))
    assert all(arrivals.arrive("192.0.2.1") for _ in range(1000))
    arrivals.pass_until(10)
    assert len(arrivals.moments("192.0.2.1")) == 1000


def test_who_gave_up_holds_no_place() -> None:
    """A station that went while it waited costs nobody a turn."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=10, burst=1, longest_wait_s=10))
    while arrivals.line.waiting == 0:
        arrivals.arrive("10.0.0.1")
    gone = QueuedLogin("10.0.0.2", lambda _: arrivals.put_out.append("called"))
    assert arrivals.line.enter(gone, arrivals.now)
    arrivals.line.leave(gone)
    arrivals.line.leave(gone)
    arrivals.pass_until(1)
    assert arrivals.put_out == []
    assert arrivals.line.waiting == 0


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from("abc")), max_size=200),
    st.floats(0.5, 100),
    st.integers(1, 20),
    st.floats(0, 10),
)
def test_no_second_admits_more_than_rate_and_burst(
    knocks: list[tuple[float, str]], rate: float, burst: int, longest: float
) -> None:
    """However they arrive, at most burst + rate + 1 go through in any second, and all end."""
    arrivals = Arrivals(AdmissionQueue(rate_per_s=rate, burst=burst, longest_wait_s=longest))
    accepted = 0
    for gap, address in knocks:
        arrivals.pass_until(arrivals.now + gap)
        accepted += arrivals.arrive(address)
    began = arrivals.now
    arrivals.pass_until(began + longest + 1 / rate + burst / rate)
    assert len(arrivals.let_on) + len(arrivals.put_out) == accepted
    for _, start in arrivals.let_on:
        within = sum(start <= moment < start + 1 for _, moment in arrivals.let_on)
        assert within <= burst + rate + 2


@pytest.mark.parametrize(
    ("address", "shared"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_who_has_a_network_is_one_address(address: str, shared: str) -> None:
    """RFC 6177: one customer has 2 to the 64 addresses of IPv6, and no more shares for that."""
    assert shared_address(address) == shared


@pytest.mark.parametrize(
    ("address", "forwarded", "who"),
    [
        ("198.51.100.7", ["10.0.0.1"], "198.51.100.7"),  # it says so itself
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["192.0.2.9, 198.51.100.7"], "198.51.100.7"),  # the first part is the peer's
        ("10.0.0.1", ["192.0.2.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["nonsense"], "nonsense"),
    ],
)
def test_only_trusted_proxies_say_who_knocks(address: str, forwarded: list[str], who: str) -> None:
    """X-Forwarded-For counts from its end, as far as trusted proxies have written it."""
    assert find_sender(address, forwarded, [ip_network("10.0.0.0/8")]) == who
    assert find_sender(address, forwarded, []) == address


def test_patience_ends_after_the_allowed_failures_and_doubles() -> None:
    """Waits of 1, 2, 4, 5 (the longest); success forgets."""
    logins = LoginThrottle(allowed=3, longest_wait_s=5)
    waits = []
    for _ in range(6):
        logins.record_failure("CP-1", "10.0.0.1", 100.0)
        waits.append(logins.wait_s("CP-1", "10.0.0.1", 100.0))
    assert waits == [0, 0, 1, 2, 4, 5]
    assert logins.wait_s("CP-1", "10.0.0.1", 106.0) == 0
    assert logins.wait_s("CP-2", "10.0.0.1", 100.0) == 0
    assert logins.wait_s("CP-1", "10.0.0.2", 100.0) == 0
    logins.record_success("CP-1", "10.0.0.1")
    assert logins.wait_s("CP-1", "10.0.0.1", 100.0) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    """Made-up station ids do not fill the memory."""
    logins = LoginThrottle(allowed=1, longest_wait_s=5, remembered=10)
    for number in range(100):
        logins.record_failure(f"CP-{number}", "10.0.0.1", 0.0)
    assert logins.wait_s("CP-99", "10.0.0.1", 0.0) > 0
    assert logins.wait_s("CP-0", "10.0.0.1", 0.0) == 0


def test_comparisons_at_once_are_bounded_by_the_failures_that_are_left() -> None:
    """Three allowed: three at once, after a failure two, after a success three; the wait is one."""
    logins = LoginThrottle(allowed=3, longest_wait_s=5)

    def begin_comparison() -> list[float]:
        return [logins.begin("CP-1", "10.0.0.1", 100.0) for _ in range(4)]

    def end_comparison(places: int) -> None:
        for _ in range(places):
            logins.release("CP-1", "10.0.0.1")

    assert begin_comparison() == [0, 0, 0, 1]
    assert logins.begin("CP-2", "10.0.0.1", 100.0) == 0
    assert logins.begin("CP-1", "10.0.0.2", 100.0) == 0
    logins.record_failure("CP-1", "10.0.0.1", 100.0)
    end_comparison(3)
    assert begin_comparison() == [0, 0, 1, 1]
    logins.record_success("CP-1", "10.0.0.1")
    end_comparison(1)
    assert begin_comparison() == [0, 0, 1, 1]  # one of before is still being compared
    end_comparison(3)
    assert begin_comparison() == [0, 0, 0, 1]


def test_after_the_wait_one_is_compared_at_a_time() -> None:
    """Else each wait would buy several guesses; who comes meanwhile hears of the next wait."""
    logins = LoginThrottle(allowed=2, longest_wait_s=60)
    for _ in range(4):
        logins.record_failure("CP-1", "10.0.0.1", 100.0)
    assert logins.begin("CP-1", "10.0.0.1", 103.0) == 1
    assert logins.begin("CP-1", "10.0.0.1", 104.0) == 0
    assert logins.begin("CP-1", "10.0.0.1", 104.0) == 8
    logins.record_failure("CP-1", "10.0.0.1", 104.0)
    logins.release("CP-1", "10.0.0.1")
    assert logins.begin("CP-1", "10.0.0.1", 104.0) == 8


@dataclass
class OneByOne:
    """The rule for guesses in a row, written down a second time."""

    allowed: int
    longest: float
    count: int = 0
    until: float = 0.0

    def compare(self, now: float, *, right: bool) -> None:
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
    logins = LoginThrottle(allowed=allowed, longest_wait_s=longest)
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
                in_a_row.compare(now, right=what == "right")
            if what == "wrong":
                logins.record_failure("CP-1", "10.0.0.1", now)
            elif what == "right":
                logins.record_success("CP-1", "10.0.0.1")
            logins.release("CP-1", "10.0.0.1")
            comparing -= 1
        assert logins.begin("CP-2", "10.0.0.1", now) == 0
        logins.release("CP-2", "10.0.0.1")
    for _ in range(comparing):
        logins.release("CP-1", "10.0.0.1")
    places = max(1, allowed - in_a_row.count)
    begun = [logins.begin("CP-1", "10.0.0.1", now + longest) for _ in range(places + 1)]
    assert begun[:-1] == [0] * places  # every place came back
    assert begun[-1] >= 1
