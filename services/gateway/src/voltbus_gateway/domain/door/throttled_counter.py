"""Counts repeated happenings so that they can be reported without flooding the readers (pure)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
else:
    Hashable = object

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Run(msgspec.Struct, Generic[V]):
    """A run of the same kind. ``at``: when its count was reported; ``last``: when it grew.

    ``value`` is the newest one's.
    """

    value: V
    count: int = 0
    at: float = float("-inf")
    last: float = float("-inf")


class ThrottledCounter(Generic[K, V]):
    """Counts by kind: the first is reported at once, then at most one every ``every_s`` seconds.

    A run ends with ``forget_s`` seconds without; the next is the first of its kind again. At most
    ``remembered`` kinds are counted, the longest untouched forgotten first. ``now`` is monotonic.
    """

    def __init__(self, *, every_s: float, forget_s: float, remembered: int) -> None:
        self._every = every_s
        self._forget = forget_s
        self._remembered = remembered
        self._runs: OrderedDict[K, _Run[V]] = OrderedDict()
        self._owing: dict[K, _Run[V]] = {}

    def __contains__(self, kind: K) -> bool:
        """Whether there is a run of this kind."""
        return kind in self._runs

    @property
    def next_due(self) -> float | None:
        """When ``due`` will have something to say; None: not before the next ``count``."""
        return min((run.at + self._every for run in self._owing.values()), default=None)

    def count(self, kind: K, value: V, now: float) -> int | None:
        """Count one more; return the count when it is to be reported now, else None."""
        run = self._runs.get(kind)
        if run is None or now - run.last > self._forget:
            run = self._runs[kind] = _Run(value)
            if len(self._runs) > self._remembered:
                oldest, _ = self._runs.popitem(last=False)
                self._owing.pop(oldest, None)
        self._runs.move_to_end(kind)
        run.value = value
        run.count += 1
        run.last = now
        if now - run.at >= self._every:
            return self._take(kind, run, now)
        self._owing[kind] = run
        return None

    def take_due(self, now: float) -> Iterator[tuple[K, V, int]]:
        """Yield what was counted and may be reported by now, with its newest value."""
        for kind, run in list(self._owing.items()):
            if now - run.at >= self._every:
                yield kind, run.value, self._take(kind, run, now)

    def _take(self, kind: K, run: _Run[V], now: float) -> int:
        self._owing.pop(kind, None)
        run.at = now
        return run.count
