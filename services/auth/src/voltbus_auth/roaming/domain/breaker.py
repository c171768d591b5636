"""Leaving another system alone for a while when it does not answer.

What is dead should cost a few drivers a wait, not each of them.
"""

from __future__ import annotations

MOST_FAILURES = 3
LEFT_ALONE_S = 10.0


class Breaker:
    """Counts failures in a row. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    def allows(self, now_s: float) -> bool:
        """Whether to ask. After the pause one question at a time is let through to try."""
        if self._failures < MOST_FAILURES:
            return True
        if now_s < self._until:
            return False
        self._until = now_s + LEFT_ALONE_S
        return True

    def failed(self, now_s: float) -> None:
        """No answer, or none that can be used."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._until = now_s + LEFT_ALONE_S

    def worked(self) -> None:
        """An answer."""
        self._failures = 0
