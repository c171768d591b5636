"""The console of every command: only rich's own styles reach the terminal as control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.segment import Segment

from voltbus.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


class Console(RichConsole):
    """A console that lets no control character of a text through."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, then make the texts printable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
