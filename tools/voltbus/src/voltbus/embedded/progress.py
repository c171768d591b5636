"""How a start tells what it does: notes and fetches, on a terminal or for nobody."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Reporter(Protocol):
    """Somebody who wants to know how far a start is."""

    def note(self, sentence: str) -> None:
        """Say one thing that has happened or begins."""

    def fetching(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a fetch of `total` bytes; the callable takes what came, from any thread."""


class Quiet:
    """Says nothing; what tests and benchmarks use."""

    def note(self, sentence: str) -> None:
        """Drop the sentence."""

    @contextlib.contextmanager
    def fetching(self, title: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG002 - the protocol's names
        """Count nothing."""
        yield lambda _count: None


class OnStream:
    """Notes as lines on a stream; a fetch as a bar on a terminal, else as a line per tenth."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to this stream, by default stderr: stdout belongs to the result."""
        self._stream = stream or sys.stderr

    def note(self, sentence: str) -> None:
        """Print the sentence."""
        print(sentence, file=self._stream, flush=True)

    @contextlib.contextmanager
    def fetching(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how far the fetch is, in megabytes."""
        if self._stream.isatty():
            with _bar(self._stream, title, total) as advance:
                yield advance
        else:
            yield self._lines(title, total)

    def _lines(self, title: str, total: int) -> Callable[[int], None]:
        self.note(f"{title}: {total / 1e6:.0f} MB ...")
        done, shown = 0, 0

        def advance(count: int) -> None:
            nonlocal done, shown
            done += count
            tenth = done * 10 // max(total, 1)
            if tenth > shown:
                shown = tenth
                self.note(f"{title}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

        return advance


@contextlib.contextmanager
def _bar(stream: TextIO, title: str, total: int) -> Iterator[Callable[[int], None]]:
    # rich is imported here because a quiet start must not pay for it.
    from rich.progress import (  # noqa: PLC0415 - see above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from voltbus.terminal import Console  # noqa: PLC0415 - see above

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.update(task, advance=count)
