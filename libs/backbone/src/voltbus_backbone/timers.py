"""A timer that can be moved forward, for many deadlines at the price of one."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """One pending call; ``due`` is its moment in loop time, infinity while there is none.

    It keeps its moment itself: for one that is already past, uvloop's ``call_at`` returns a plain
    Handle, which has no ``when()``.
    """

    __slots__ = ("_handle", "due")

    def __init__(self) -> None:
        self._handle: asyncio.Handle | None = None
        self.due = inf

    def set(self, due: float, action: Callable[[], None], slack_s: float = 0.0) -> None:
        """Call ``action`` at ``due``; a pending call no later than ``slack_s`` after it is kept."""
        if self.due <= due + slack_s:
            return
        if self._handle is not None:
            self._handle.cancel()
        self.due = due
        self._handle = asyncio.get_running_loop().call_at(due, self._fire, action)

    def cancel(self) -> None:
        """Call nothing."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.due = inf

    def _fire(self, action: Callable[[], None]) -> None:
        self._handle = None
        self.due = inf
        action()
