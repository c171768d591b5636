"""Two stations with one identity push each other out for ever: the count of it, and pauses (pure).

A newer connection takes a station's place, for a station that comes back after its TCP connection
died must be served at once (ADR 0019). Only the loss of a place by a connection that lived counts
here: that happens to a real station seldom, and to two with one identity with every reconnection.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

TAKEOVERS = 5
WINDOW_S = 60.0
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0
# Where the holder is at another gateway nobody can ask whether it lives.
LONGEST_PAUSE_ELSEWHERE_S = 30.0
FORGET_S = 900.0
_REMEMBERED = 10_000


class Contest(msgspec.Struct):
    """What is known of an identity that live connections took from one another.

    ``count``: how often since it began. ``until``: so long the holder keeps its place, if it
    lives; ``pause_s`` is how long that was. ``elsewhere``: the place went to another gateway.
    """

    recent: deque[float]
    count: int = 0
    last: float = float("-inf")
    pause_s: float = 0.0
    until: float = float("-inf")
    elsewhere: bool = False


class Contests:
    """The contests of one process; ``now`` is monotonic seconds. State is bounded."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._contests: OrderedDict[str, Contest] = OrderedDict()

    def record_takeover(
        self, station_id: str, now: float, *, elsewhere: bool = False
    ) -> Contest | None:
        """Record that a live connection was replaced; return the contest, if it is one by now."""
        contest = self._contests.pop(station_id, None)
        if contest is None or now - contest.last > FORGET_S:
            contest = Contest(recent=deque(maxlen=TAKEOVERS))
        self._contests[station_id] = contest
        if len(self._contests) > self._remembered:
            self._contests.popitem(last=False)
        contest.recent.append(now)
        contest.count += 1
        contest.last = now
        contest.elsewhere = elsewhere
        full = len(contest.recent) == TAKEOVERS and now - contest.recent[0] <= WINDOW_S
        if not contest.pause_s and not full:
            return None
        longest = LONGEST_PAUSE_ELSEWHERE_S if elsewhere else LONGEST_PAUSE_S
        contest.pause_s = min(max(contest.pause_s * 2, FIRST_PAUSE_S), longest)
        contest.until = now + contest.pause_s
        return contest

    def remaining_hold_s(self, station_id: str, now: float) -> float:
        """Return for how many seconds the holder of this identity keeps its place, else 0."""
        contest = self._contests.get(station_id)
        return max(contest.until - now, 0.0) if contest is not None else 0.0

    def is_elsewhere(self, station_id: str) -> bool:
        """Return whether the place last went to another gateway."""
        contest = self._contests.get(station_id)
        return contest is not None and contest.elsewhere
