"""When a station may try to log in: a bounded rate for fleets, back-off after failures (pure).

Both take ``now`` in monotonic seconds and keep bounded state.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    Network = IPv4Network | IPv6Network


class RateLimiter:
    """A rate with a burst, as the wait of each arrival (the generic cell rate algorithm)."""

    def __init__(self, *, rate_per_s: float, burst: int, longest_wait_s: float) -> None:
        self._spacing = 1.0 / rate_per_s
        self._burst = burst * self._spacing
        self._longest = longest_wait_s
        self._next = float("-inf")  # when the next arrival is due without any burst

    def reserve(self, now: float) -> float | None:
        """Return the seconds to wait (0: at once), or None when it would be too long."""
        due = max(self._next, now)
        wait = due - self._burst - now
        if wait > self._longest:
            return None
        self._next = due + self._spacing
        return max(wait, 0.0)


class QueuedLogin:
    """A log-in in the queue. ``turn`` is called once: True when admitted, False when evicted."""

    __slots__ = ("address", "turn")

    def __init__(self, address: str, turn: Callable[[bool], None]) -> None:
        self.address = address
        self.turn = turn


class AdmissionQueue:
    """A rate with a burst, shared fairly between addresses, with a queue of bounded length.

    Waiting is better than being refused: stations double their pause with each refusal.
    The waiting addresses take turns, so that an address with many log-ins delays no other; a
    fleet that is alone behind one address has the whole rate and the whole queue. When the queue
    is full, the last log-in of the address with the most is evicted for one with fewer.
    """

    def __init__(self, *, rate_per_s: float, burst: int, longest_wait_s: float) -> None:
        self._rate = rate_per_s
        self._spacing = 1.0 / rate_per_s
        self._burst = burst * self._spacing
        self._room = int(rate_per_s * longest_wait_s)
        self._next = float("-inf")  # when the next arrival is due without any burst
        self._lines: OrderedDict[str, deque[QueuedLogin]] = (
            OrderedDict()
        )  # the first one's turn is next
        self.waiting = 0

    def enter(self, place: QueuedLogin, now: float) -> bool:
        """Admit a log-in now or queue it; return False when the queue is full."""
        if not self.waiting and self._next_due(now) <= now:
            self._consume(now)
            place.turn(True)
            return True
        line = self._lines.get(place.address)
        if self.waiting >= self._room and not self._evict(len(line) if line else 0):
            return False
        if line is None:
            line = self._lines[place.address] = deque()
        line.append(place)
        self.waiting += 1
        return True

    def leave(self, place: QueuedLogin) -> None:
        """Remove a log-in that was given up from the queue."""
        line = self._lines.get(place.address)
        if line is not None and place in line:
            line.remove(place)
            self._shrink(place.address, line)

    def advance(self, now: float) -> float | None:
        """Admit the log-ins that are due; return when the next is due, None when none waits."""
        while self.waiting:
            due = self._next_due(now)
            if due > now:
                return due
            self._consume(now)
            address, line = next(iter(self._lines.items()))
            place = line.popleft()
            self._lines.move_to_end(address)
            self._shrink(address, line)
            place.turn(True)
        return None

    def retry_after(self) -> int:
        """Return the whole seconds after which the queue has room again, at least 1."""
        return max(1, round(self.waiting / self._rate / 4))

    def _next_due(self, now: float) -> float:
        return max(self._next, now) - self._burst

    def _consume(self, now: float) -> None:
        self._next = max(self._next, now) + self._spacing

    def _evict(self, own: int) -> bool:
        """Make room at the cost of the address with the most log-ins, if it has clearly more."""
        if not self._lines:
            return False
        address, line = max(self._lines.items(), key=lambda item: len(item[1]))
        if len(line) <= own + 1:
            return False
        place = line.pop()
        self._shrink(address, line)
        place.turn(False)
        return True

    def _shrink(self, address: str, line: deque[QueuedLogin]) -> None:
        self.waiting -= 1
        if not line:
            del self._lines[address]


def shared_address(address: str) -> str:
    """Return what counts as one address: of IPv6 the first 64 bits, which one customer owns."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address


def find_sender(address: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the client's address: the last of ``X-Forwarded-For`` that is no trusted proxy's.

    Anybody can send the header: it counts only as far as trusted proxies have written it.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and _is_in(address, trusted):
        address = hops.pop()
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


class LoginThrottle:
    """Back-off after wrong passwords, per station and address: never a fleet behind one address.

    After ``allowed`` failures the pair waits, twice as long each time, up to ``longest_wait_s``.
    A comparison occupies a slot from ``begin`` to ``release`` and counts as a failure meanwhile, so
    that parallel guesses gain nothing over guesses in a row. Slots are kept apart from failures:
    neither a success nor the bound on what is remembered frees another comparison's slot.
    """

    def __init__(self, *, allowed: int, longest_wait_s: float, remembered: int = 50_000) -> None:
        self._allowed = allowed
        self._longest = longest_wait_s
        self._remembered = remembered
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._comparing: dict[tuple[str, str], int] = {}

    def wait_s(self, station_id: str, address: str, now: float) -> float:
        """Return the seconds for which this station must not try from this address; 0: it may."""
        _, until = self._failures.get((station_id, address), (0, now))
        return max(until - now, 0.0)

    def begin(self, station_id: str, address: str, now: float) -> float:
        """Take a slot for a comparison: 0, and ``release`` gives it back; else seconds to wait."""
        pair = (station_id, address)
        count, until = self._failures.get(pair, (0, now))
        if until > now:
            return until - now
        comparing = self._comparing.get(pair, 0)
        if comparing >= max(self._allowed - count, 1):
            return max(self._pause_s(count + comparing), 1.0)
        self._comparing[pair] = comparing + 1
        return 0.0

    def record_failure(self, station_id: str, address: str, now: float) -> None:
        """Record a wrong password."""
        pair = (station_id, address)
        count, _ = self._failures.pop(pair, (0, now))
        count += 1
        self._failures[pair] = (count, now + self._pause_s(count))
        if len(self._failures) > self._remembered:
            self._failures.popitem(last=False)

    def record_success(self, station_id: str, address: str) -> None:
        """Forget the failures; comparisons that are still running keep their slots."""
        self._failures.pop((station_id, address), None)

    def release(self, station_id: str, address: str) -> None:
        """Give back the slot of a comparison, whatever its result."""
        pair = (station_id, address)
        left = self._comparing.pop(pair) - 1
        if left > 0:
            self._comparing[pair] = left

    def _pause_s(self, count: int) -> float:
        """Return the wait after this number of failures."""
        excess = count - self._allowed
        return min(2.0 ** min(excess, 30), self._longest) if excess >= 0 else 0.0
