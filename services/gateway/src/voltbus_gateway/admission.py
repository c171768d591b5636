"""Who may try to come in now: a bounded rate for fleets, and patience with wrong passwords (pure).

Both take ``now`` in monotonic seconds and keep bounded state.
"""

from __future__ import annotations

from collections import OrderedDict


class Admission:
    """A rate with a burst, told as the wait of each arrival (the generic cell rate algorithm).

    Waiting in line is better than being refused: stations double their pause with each refusal.
    """

    def __init__(self, *, rate_per_s: float, burst: int, longest_wait_s: float) -> None:
        self._spacing = 1.0 / rate_per_s
        self._burst = burst * self._spacing
        self._longest = longest_wait_s
        self._next = float("-inf")  # when the next arrival is due without any burst

    def reserve(self, now: float) -> float | None:
        """Seconds to wait before going on (0: at once), or None when the line is too long."""
        due = max(self._next, now)
        wait = due - self._burst - now
        if wait > self._longest:
            return None
        self._next = due + self._spacing
        return max(wait, 0.0)

    def retry_after(self, now: float) -> int:
        """Whole seconds after which the line has room again, at least 1."""
        return max(1, round(self._next - self._burst - now - self._longest) + 1)


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
