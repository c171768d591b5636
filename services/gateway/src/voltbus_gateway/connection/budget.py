"""What one station may cost the others: messages, bytes, time of the event loop, and memory (pure).

All take ``now`` in monotonic seconds (docs/adr/0013-station-budgets.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from voltbus_gateway.settings import Settings


_TOGETHER = 0.5


class Budget:
    """A rate with a burst, kept as one debt in seconds (the generic cell rate algorithm).

    A step costs the dearest of: its messages over ``messages_per_s``, its bytes, after
    decompression, over ``bytes_per_s``, and its time in the event loop over ``loop_share``.
    """

    __slots__ = ("_burst_s", "_due", "_per_busy_s", "_per_byte", "_per_message")

    def __init__(
        self, *, messages_per_s: float, bytes_per_s: float, loop_share: float, burst_s: float
    ) -> None:
        self._per_message = 1.0 / messages_per_s
        self._per_byte = 1.0 / bytes_per_s
        self._per_busy_s = 1.0 / loop_share
        self._burst_s = burst_s
        self._due = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> Budget:
        """The budget of one connection."""
        return cls(
            messages_per_s=settings.messages_per_s,
            bytes_per_s=settings.bytes_per_s,
            loop_share=settings.loop_share,
            burst_s=settings.budget_burst_s,
        )

    def spend(self, now: float, *, messages: int, size: int, busy_s: float) -> float:
        """Take a step's cost; seconds until the next one may begin, at most 0 when it may now."""
        cost = max(messages * self._per_message, size * self._per_byte, busy_s * self._per_busy_s)
        self._due = max(self._due, now) + cost
        return self._due - now - self._burst_s


class ThrottledConnections:
    """The connections over their budgets: together they get at most half of the event loop."""

    def __init__(self, loop_share: float) -> None:
        self._fit = max(_TOGETHER / loop_share, 1.0)
        self.sleeping = 0

    def fall_asleep(self, wait_s: float) -> float:
        """Add a sleeper; return its seconds, given those it would sleep if it were alone."""
        self.sleeping += 1
        return wait_s * max(self.sleeping / self._fit, 1.0)

    def wake_up(self) -> None:
        """Remove a sleeper."""
        self.sleeping -= 1


class MemoryHolder(Protocol):
    """A connection that holds bytes of a station."""

    def cut(self) -> None:
        """Close the connection and hold nothing any more."""
        ...


class MemoryBudget:
    """Bytes that connections hold unread, unparsed and unsent, with a limit for all together.

    Above it the connection with the most bytes times seconds is cut: who sends a large message
    holds it for a moment, who stops in the middle of one, or reads nothing, holds it for long.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[MemoryHolder, tuple[int, float]] = {}
        self.total = 0

    def hold(self, holder: MemoryHolder, size: int, now: float) -> None:
        """Say how many bytes a connection holds now; 0 when it holds none or is gone."""
        before, since = self._held.get(holder, (0, now))
        if size == before:
            return
        if size:
            self._held[holder] = (size, since)
        else:
            del self._held[holder]
        self.total += size - before
        while self.total > self._limit:
            # One that holds since this moment counts too, or nobody would be chosen.
            dearest = max(
                self._held,
                key=lambda candidate: (
                    self._held[candidate][0] * (now - self._held[candidate][1] + 0.001)
                ),
            )
            size, _ = self._held.pop(dearest)
            self.total -= size
            dearest.cut()
