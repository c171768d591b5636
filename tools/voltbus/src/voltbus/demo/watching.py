"""The events of the demonstration: shown as they pass, counted, and waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Self

from voltbus.demo.errors import DemoError
from voltbus.events.feed import PUBLIC_TOPICS, Choice, body, line
from voltbus.events.words import short_type
from voltbus_backbone.bus.kafka import Tail

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from voltbus.events.feed import Line
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.settings import KafkaSettings

PATIENCE_S = 60.0


class Watching:
    """Follows the public topics while it is open."""

    def __init__(self, settings: KafkaSettings, show: Callable[[Line], None]) -> None:
        self._tail = Tail(settings, PUBLIC_TOPICS)
        self._show = show
        self._choice = Choice()
        self._seen: list[tuple[str, dict[str, Any]]] = []
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Be in position, so that whatever happens from now on is seen."""
        await self._tail.__aenter__()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self._tail.__aexit__(None, None, None)

    async def _read(self) -> None:
        async for event in self._tail:
            self._take(event)

    def _take(self, event: Event) -> None:
        if not self._choice.takes(event):
            return
        self._seen.append((short_type(event.type), body(event)))
        self._show(line(event))
        self._news.set()
        self._news = asyncio.Event()

    @property
    def counts(self) -> Counter[str]:
        """How many events of each type have passed."""
        return Counter(kind for kind, _ in self._seen)

    async def settle(self, quiet: float = 0.15, most: float = 2.0) -> None:
        """Return when nothing has passed for a moment, so that a scene's events stay with it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most):
                while True:
                    try:
                        async with asyncio.timeout(quiet):
                            await self._news.wait()
                    except TimeoutError:
                        return

    async def wait_for(self, kind: str, deadline: float = PATIENCE_S, **fields: object) -> None:
        """Return when an event of this type with these fields has passed, also if it did before."""

        def passed() -> bool:
            return any(
                kind == seen and all(data.get(name) == value for name, value in fields.items())
                for seen, data in self._seen
            )

        try:
            async with asyncio.timeout(deadline):
                while not passed():
                    await self._news.wait()
        except TimeoutError:
            about = ", ".join(f"{name} {value}" for name, value in fields.items())
            raise DemoError(f"no event {kind} ({about}) passed in {deadline:g} s.") from None
