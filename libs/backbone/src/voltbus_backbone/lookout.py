"""Background work that looks for what is due: at once while there is some, else woken or in time.

For work that is found by asking a server (what is due, what waits to be sent). It looks for the
life of the process. A server that is not there is a line in the log, and is asked again after a
pause that no wake shortens: whoever wakes while it is away would have it asked without end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

SHORTEST_PAUSE_S = 1.0


async def set_or_over(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, so many seconds at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class Lookout:
    """``look`` tells how much it found; while that is something, it is called again at once.

    Else it is called when woken, or after ``every_s``; the first time after ``first_after_s``.
    ``name`` says in the log (``<name>.waiting``) what waits for a server. What else ``look`` raises
    ends the work. ``rest`` waits for an event, so many seconds at most.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[int | None]],
        *,
        every_s: float,
        first_after_s: float = 0.0,
        rest: Callable[[asyncio.Event, float], Awaitable[None]] = set_or_over,
    ) -> None:
        self._waiting = f"{name}.waiting"
        self._look = look
        self._every_s = every_s
        self._first_after_s = first_after_s
        self._rest = rest
        self._wake = asyncio.Event()

    def wake(self, after_s: float = 0.0) -> None:
        """Something is due, now or so many seconds from now: look then."""
        if after_s > 0:
            asyncio.get_running_loop().call_later(after_s, self._wake.set)
        else:
            self._wake.set()

    async def run(self) -> None:
        """Look for the life of the process."""
        if self._first_after_s > 0:
            await self._rest(asyncio.Event(), self._first_after_s)
        while True:
            self._wake.clear()  # before the look: what is marked during it may be behind it
            try:
                found = await self._look()
            except Unavailable as error:
                log.warning(self._waiting, reason=str(error))
                await self._rest(asyncio.Event(), max(self._every_s, SHORTEST_PAUSE_S))
                continue
            if not found:
                await self._rest(self._wake, self._every_s)
