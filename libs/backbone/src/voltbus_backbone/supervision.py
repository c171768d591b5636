"""Loops that must not end: started again after they broke, and seen in readiness until they hold.

One bad record, one bug, one server that is away must leave neither a process that ends again after
each restart nor one that lives and does nothing (docs/adr/0017-supervised-readers.md).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.observability import BROKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_LONGEST_WAIT_S = 2.0  # for a server that is away: stations wait behind it when it is back
STEADY_S = 5.0  # started again, it must hold so long until it counts as mended


class Supervised:
    """One loop, run until it returns or is cancelled; ``name`` says in log and readiness which.

    After any exception it is started again, after a pause that doubles up to ten seconds (two while
    a server is away) and begins anew once it has held. ``rest`` waits so many seconds.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._run = run
        self._rest = rest
        self._clock = clock
        self._holds_from = float("-inf")

    def ready(self) -> bool:
        """Whether it runs, and has held long enough since it broke."""
        return self._clock() >= self._holds_from

    async def run(self) -> None:
        """Run it, and again whenever it broke."""
        pause = _FIRST_PAUSE_S
        while True:
            longest = _LONGEST_PAUSE_S
            try:
                await self._run()
            except Unavailable as error:
                longest = _LONGEST_WAIT_S
                log.warning("reader.waiting", reader=self.name, reason=str(error))
            except Exception:
                log.exception("reader.broke", reader=self.name)
                BROKEN.labels(self.name).inc()
            else:
                return
            if self.ready():
                pause = _FIRST_PAUSE_S
            self._holds_from = float("inf")
            await self._rest(pause)
            pause = min(pause * 2, longest)
            self._holds_from = self._clock() + STEADY_S
