"""Requests that wait for the end of a command.

Any replica may end it, so the store is asked: one question for all that wait in this process, four
times a second while anybody does. Whoever finds no place is answered at once, as without waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from voltbus_backbone.lookout import Lookout, set_or_over
from voltbus_config.domain.commands import OPEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from voltbus_config.domain.commands import Command

MOST_WAITING = 200
LONGEST_WAIT_S = 60
_LOOK_EVERY_S = 0.25
_LAST_S = 2.0


class CommandWaiter:
    """The requests of this process that wait. ``ended`` tells which of some commands are over."""

    def __init__(
        self,
        ended: Callable[[Collection[str]], Awaitable[Collection[str]]],
        *,
        most: int = MOST_WAITING,
    ) -> None:
        self._ended = ended
        self._most = most
        self._count = 0
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._lookout = Lookout("waiting", self.release_ended, every_s=_LOOK_EVERY_S)

    @property
    def count(self) -> int:
        """Return how many wait."""
        return self._count

    async def wait_until_ended(
        self, read: Callable[[], Awaitable[Command]], wait_s: float
    ) -> tuple[Command, bool]:
        """Read a command, again when it has ended or the time is up.

        Returns the command, and whether it was waited for (or had ended already).
        """
        found = await read()
        if wait_s <= 0 or found.status not in OPEN:
            return found, True
        if self._closed or self._count >= self._most:
            return found, False
        self._count += 1
        self._idle.clear()
        try:
            await self._wait(found.id, min(wait_s, LONGEST_WAIT_S))
            return await read(), True
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def _wait(self, command_id: str, wait_s: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(command_id, set()).add(future)
        try:
            await asyncio.wait([future], timeout=wait_s)
        finally:
            left = self._waiting.get(command_id, set())
            left.discard(future)
            if not left:
                self._waiting.pop(command_id, None)

    async def release_ended(self) -> None:
        """Release those whose commands have ended."""
        if self._waiting:
            for command_id in await self._ended(list(self._waiting)):
                self._release(command_id)

    async def run(self) -> None:
        """Look for the life of the process."""
        await self._lookout.run()

    async def close(self) -> None:
        """Release everybody, and return when their answers are read: the process leaves.

        A store that does not answer then keeps it for two seconds, no longer.
        """
        self._closed = True
        for command_id in list(self._waiting):
            self._release(command_id)
        await set_or_over(self._idle, _LAST_S)

    def _release(self, command_id: str) -> None:
        for future in self._waiting.pop(command_id, ()):
            if not future.done():
                future.set_result(None)
