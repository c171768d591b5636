"""How much work is in hand, and when to stop reading for a while."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from voltbus_gateway.metrics import IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Callable

# A message of more bytes waits unparsed in its socket while what it needs is taken.
LARGE = 4096


class Flow:
    """Counts the messages in hand of all connections, and their bytes before they were parsed.

    While either is at its limit nobody's messages are handled. They go on at three quarters, so
    that a full gateway does not stutter. Large messages share three quarters of the bytes: they
    never keep small ones waiting. Who waits gives a function that says whether it still wants to.
    """

    def __init__(self, limit: int, byte_limit: int) -> None:
        self._limit = limit
        self._byte_limit = byte_limit
        self._resume_at = limit * 3 // 4
        self._large_limit = byte_limit * 3 // 4
        self._waiting: deque[Callable[[], bool]] = deque()
        self._large_waiting: deque[Callable[[], bool]] = deque()
        self.full = False
        self.in_flight = 0
        self.bytes_in_flight = 0
        # Read when Prometheus asks, instead of written with each call.
        IN_FLIGHT.set_function(lambda: self.in_flight)

    def admits(self, size: int) -> bool:
        """Whether a message of so many bytes may be handled now. A lone one always may."""
        if self.full:
            return False
        return size <= LARGE or (
            self.bytes_in_flight == 0 or self.bytes_in_flight + size <= self._large_limit
        )

    def wait(self, size: int, wake: Callable[[], bool]) -> None:
        """Have ``wake`` called once when a message of so many bytes may be tried again."""
        (self._waiting if size <= LARGE else self._large_waiting).append(wake)

    def enter(self, size: int) -> None:
        """A message was begun."""
        self.in_flight += 1
        self.bytes_in_flight += size
        if self.in_flight >= self._limit or self.bytes_in_flight >= self._byte_limit:
            self.full = True

    def leave(self, size: int) -> None:
        """A message is done."""
        self.in_flight -= 1
        self.bytes_in_flight -= size
        if self.full:
            if self.in_flight > self._resume_at or self.bytes_in_flight > self._large_limit:
                return
            self.full = False
            waiting, self._waiting = self._waiting, deque()
            for wake in waiting:
                wake()
        while self._large_waiting:
            # One for each that is done; one that is gone passes its turn on.
            if self._large_waiting.popleft()():
                break
