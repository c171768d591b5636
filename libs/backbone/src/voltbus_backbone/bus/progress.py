"""What a consumption has taken and not committed yet, in order, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Offsets = dict[tuple[str, int], int]


class Progress:
    """Batches whose sends are not acknowledged, then offsets that are not committed.

    Offsets are committed in the order in which batches were taken, and none behind a batch whose
    sends broke: its records are to be read again.
    """

    def __init__(
        self,
        commit: Callable[[Offsets], Awaitable[bool]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commit = commit
        self._clock = clock
        self._behind: deque[tuple[Offsets, asyncio.Task[None]]] = deque()
        self._done: Offsets = {}
        self._handling = False
        self._since: float | None = None  # in hand, without a commit
        self.broken: BaseException | None = None

    def __len__(self) -> int:
        """How many batches wait for their sends."""
        return len(self._behind)

    def waiting_s(self) -> float:
        """How long records have been in hand without a commit."""
        return self._clock() - self._since if self._since is not None else 0.0

    def reset(self) -> None:
        """Begin anew: what was in hand is read again."""
        for _, sending in self._behind:
            sending.cancel()
        self._behind.clear()
        self._done.clear()
        self._handling = False
        self._since = None
        self.broken = None

    def take(self) -> None:
        """A batch is in hand."""
        self._handling = True
        if self._since is None:
            self._since = self._clock()

    def send(self, offsets: Offsets, sending: asyncio.Task[None]) -> None:
        """The batch in hand is handled, and what it caused is on its way."""
        self._handling = False
        self._behind.append((offsets, sending))

    async def reap(self, *, wait: bool) -> None:
        """Pass over to committing what is sent; ``wait`` until everything is."""
        while self._behind and self.broken is None:
            offsets, sending = self._behind[0]
            if not sending.done():
                if not wait:
                    return
                await asyncio.wait([sending])
            if not self._behind or self._behind[0][1] is not sending:
                continue  # the committing task was quicker
            if sending.cancelled():
                self.broken = asyncio.CancelledError()
            else:
                self.broken = sending.exception()
            if self.broken is None:
                self._behind.popleft()
                self._done.update(offsets)

    async def commit(self) -> None:
        """Commit what is done. What the bus does not take is committed with the next."""
        if not self._done:
            return
        done, self._done = self._done, {}
        if not await self._commit(done):
            self._done = {**done, **self._done}
            return
        in_hand = self._behind or self._done or self._handling
        self._since = self._clock() if in_hand else None
