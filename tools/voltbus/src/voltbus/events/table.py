"""Events as rows that grow downwards: readable live, in a log file and through a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from voltbus.events.words import shortened

if TYPE_CHECKING:
    from voltbus.events.feed import Line
    from voltbus.terminal import Console

TIME, KIND, SUBJECT = 12, 24, 16
COLOURS = {
    "station": "cyan",
    "transaction": "green",
    "token": "magenta",
    "agreement": "yellow",
    "command": "blue",
}


def show_header(console: Console) -> None:
    """Print the columns' names."""
    title = f"{'time (UTC)':<{TIME}}  {'event':<{KIND}}  {'about':<{SUBJECT}}  what it says"
    console.print(Text(title, style="bold"), soft_wrap=True)


def show_line(console: Console, line: Line) -> None:
    """Print one event; the words are cut where the terminal ends, never in a pipe."""
    row = Text()
    row.append(f"{line.time[:TIME]:<{TIME}}  ", style="dim")
    row.append(f"{line.kind:<{KIND}}  ", style=COLOURS.get(line.kind.partition(".")[0], ""))
    row.append(f"{shortened(line.subject, SUBJECT):<{SUBJECT}}  ")
    row.append(line.words)
    if console.is_terminal:
        row.truncate(console.width, overflow="ellipsis")
    console.print(row, soft_wrap=True)
