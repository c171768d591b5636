"""How much work is in hand, and when to stop reading for a while."""

from __future__ import annotations

import asyncio

from voltbus_gateway.metrics import IN_FLIGHT


class Flow:
    """Counts the calls in hand of all connections; above ``limit`` nobody reads on.

    Reading starts again at three quarters, so that a full gateway does not stutter.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._resume_at = limit * 3 // 4
        self._room = asyncio.Event()
        self._room.set()
        self.in_flight = 0
        # Read when Prometheus asks, instead of written with each call.
        IN_FLIGHT.set_function(lambda: self.in_flight)

    @property
    def full(self) -> bool:
        """Whether reading must pause."""
        return not self._room.is_set()

    def enter(self) -> None:
        """A call was begun."""
        self.in_flight += 1
        if self.in_flight >= self._limit:
            self._room.clear()

    def leave(self) -> None:
        """A call is done."""
        self.in_flight -= 1
        if self.in_flight <= self._resume_at:
            self._room.set()

    async def room(self) -> None:
        """Wait until reading may go on."""
        await self._room.wait()
