"""Who may try to come in now: a bounded rate for fleets, and patience with wrong passwords (pure).

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


class Rate:
    """A rate with a burst, told as the wait of each arrival (the generic cell rate algorithm)."""

    def __init__(self, *, rate_per_s: float, burst: int, longest_wait_s: float) -> None:
        self._spacing = 1.0 / rate_per_s
        self._burst = burst * self._spacing
        self._longest = longest_wait_s
        self._next = float("-inf")  # when the next arrival is due without any burst

    def reserve(self, now: float) -> float | None:
        """Seconds to wait before going on (0: at once), or None when it would be too long."""
        due = max(self._next, now)
        wait = due - self._burst - now
        if wait > self._longest:
            return None
        self._next = due + self._spacing
        return max(wait, 0.0)


class Place:
    """A knock in the line. ``turn`` is called once: True when it is let on, False when put out."""

    __slots__ = ("address", "turn")

    def __init__(self, address: str, turn: Callable[[bool], None]) -> None:
        self.address = address
        self.turn = turn


class Admission:
    """A rate with a burst, shared fairly between addresses; who must wait waits in line.

    Waiting in line is better than being refused: stations double their pause with each refusal.
    The addresses that wait take turns, so that one with many knocks keeps no other one waiting; a
    fleet that is alone behind one address has the whole rate and the whole line. A full line has
    room for an address that has fewer in it than the one with the most, whose last is put out.
    """

    def __init__(self, *, rate_per_s: float, burst: int, longest_wait_s: float) -> None:
        self._rate = rate_per_s
        self._spacing = 1.0 / rate_per_s
        self._burst = burst * self._spacing
        self._room = int(rate_per_s * longest_wait_s)
        self._next = float("-inf")  # when the next arrival is due without any burst
        self._lines: OrderedDict[str, deque[Place]] = OrderedDict()  # the first one's turn is next
        self.waiting = 0

    def enter(self, place: Place, now: float) -> bool:
        """Take a knock: its turn is now, or comes, when this is True; False: the line is full."""
        if not self.waiting and self._due(now) <= now:
            self._take(now)
            place.turn(True)
            return True
        line = self._lines.get(place.address)
        if self.waiting >= self._room and not self._put_out(len(line) if line else 0):
            return False
        if line is None:
            line = self._lines[place.address] = deque()
        line.append(place)
        self.waiting += 1
        return True

    def leave(self, place: Place) -> None:
        """It waits no more."""
        line = self._lines.get(place.address)
        if line is not None and place in line:
            line.remove(place)
            self._shorter(place.address, line)

    def advance(self, now: float) -> float | None:
        """Let on whose turn has come; when the next turn is due, None while nobody waits."""
        while self.waiting:
            due = self._due(now)
            if due > now:
                return due
            self._take(now)
            address, line = next(iter(self._lines.items()))
            place = line.popleft()
            self._lines.move_to_end(address)
            self._shorter(address, line)
            place.turn(True)
        return None

    def retry_after(self) -> int:
        """Whole seconds after which the line has room again, at least 1."""
        return max(1, round(self.waiting / self._rate / 4))

    def _due(self, now: float) -> float:
        return max(self._next, now) - self._burst

    def _take(self, now: float) -> None:
        self._next = max(self._next, now) + self._spacing

    def _put_out(self, own: int) -> bool:
        """Make room at the cost of the address with the most in line, if that is not this one."""
        if not self._lines:
            return False
        address, line = max(self._lines.items(), key=lambda item: len(item[1]))
        if len(line) <= own + 1:
            return False
        place = line.pop()
        self._shorter(address, line)
        place.turn(False)
        return True

    def _shorter(self, address: str, line: deque[Place]) -> None:
        self.waiting -= 1
        if not line:
            del self._lines[address]


def shared_address(address: str) -> str:
    """What counts as one address: of IPv6 the first 64 bits, which one customer has all of."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address


def sender(address: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Who knocks: the last address of ``X-Forwarded-For`` that no trusted proxy has.

    Anybody can send the header: it counts only as far as trusted proxies have written it.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and _is_of(address, trusted):
        address = hops.pop()
    return address


def _is_of(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


class FailedLogins:
    """Wrong passwords in a row, per station and address: never one fleet behind one address.

    After ``allowed`` failures the pair waits, twice as long each time, up to ``longest_wait_s``.
    A comparison holds a place from ``begin`` to ``ended`` and is taken for a failure meanwhile, so
    that guesses at once are no more than guesses in a row. Places are kept apart from failures:
    neither a success nor the bound on what is remembered sets the others free.
    """

    def __init__(self, *, allowed: int, longest_wait_s: float, remembered: int = 50_000) -> None:
        self._allowed = allowed
        self._longest = longest_wait_s
        self._remembered = remembered
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._comparing: dict[tuple[str, str], int] = {}

    def wait_s(self, station_id: str, address: str, now: float) -> float:
        """Seconds for which this station must not try from this address; 0 when it may."""
        _, until = self._failures.get((station_id, address), (0, now))
        return max(until - now, 0.0)

    def begin(self, station_id: str, address: str, now: float) -> float:
        """Take a place for one comparison: 0, and ``ended`` gives it back; else seconds to wait."""
        pair = (station_id, address)
        count, until = self._failures.get(pair, (0, now))
        if until > now:
            return until - now
        comparing = self._comparing.get(pair, 0)
        if comparing >= max(self._allowed - count, 1):
            return max(self._pause_s(count + comparing), 1.0)
        self._comparing[pair] = comparing + 1
        return 0.0

    def failed(self, station_id: str, address: str, now: float) -> None:
        """A wrong password came."""
        pair = (station_id, address)
        count, _ = self._failures.pop(pair, (0, now))
        count += 1
        self._failures[pair] = (count, now + self._pause_s(count))
        if len(self._failures) > self._remembered:
            self._failures.popitem(last=False)

    def succeeded(self, station_id: str, address: str) -> None:
        """The right password came: failures are forgotten, what is still compared is not."""
        self._failures.pop((station_id, address), None)

    def ended(self, station_id: str, address: str) -> None:
        """A comparison that had begun is over, whatever came of it."""
        pair = (station_id, address)
        left = self._comparing.pop(pair) - 1
        if left > 0:
            self._comparing[pair] = left

    def _pause_s(self, count: int) -> float:
        """The wait after so many failures."""
        excess = count - self._allowed
        return min(2.0 ** min(excess, 30), self._longest) if excess >= 0 else 0.0
