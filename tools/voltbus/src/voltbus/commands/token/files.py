"""`voltbus token import` and `voltbus token export`: tokens by the file, however long it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltbus.errors import CommandError
from voltbus.rest.download import download
from voltbus.rest.services import Home, Url, find_service, open_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

    from voltbus.terminal import Console

_SHOWN_ERRORS = 20
_STDIN = Path("-")


class Form(StrEnum):
    """How a file of tokens is written."""

    NDJSON = "ndjson"
    CSV = "csv"


class Existing(StrEnum):
    """What becomes of a token that is registered already."""

    ERROR = "error"
    SKIP = "skip"
    UPDATE = "update"


_CONTENT = {Form.NDJSON: "application/x-ndjson", Form.CSV: "text/csv"}
_ENDINGS = {".csv": Form.CSV, ".ndjson": Form.NDJSON, ".jsonl": Form.NDJSON}


def import_tokens(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file; - reads stdin.")],
    *,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="By default what the name ends with.", show_default=False),
    ] = None,
    existing: Annotated[
        Existing, typer.Option(help="What becomes of a token that is registered already.")
    ] = Existing.ERROR,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="In one transaction, if no line has an error.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would happen.")
    ] = False,
    url: Url = None,
    home: Home = None,
) -> int:
    """Import tokens from NDJSON or CSV; an error is told by its line, never by its value.

    Exit codes: 0 all lines are in; 1 some lines are not (with --all-or-nothing: none is);
    2 the file or the service cannot be read.

    [bold]Examples[/bold]

      voltbus token import cards.csv --dry-run
      voltbus token import cards.ndjson --existing update
      zcat cards.csv.gz | voltbus token import - --format csv --all-or-nothing
    """
    from voltbus.rest.upload import upload  # noqa: PLC0415 - likewise
    from voltbus.terminal import Console  # noqa: PLC0415 - slow to import; --help does not need it

    form = form or _ENDINGS.get(file.suffix.lower())
    if form is None:
        raise CommandError(f"say with --format whether {file} is ndjson or csv.")
    service = find_service("auth", url, home)
    console = Console(stderr=True, highlight=False)
    choices = {"existing": existing, "all_or_nothing": all_or_nothing, "dry_run": dry_run}
    report: dict[str, Any] = {}
    with _opened(file) as content, _showing(console, content) as show:

        def take(line: bytes) -> None:
            report.update(json.loads(line))
            show(report)

        asyncio.run(
            upload(
                service,
                "/v1/tokens/import",
                content,
                params={name: str(value).lower() for name, value in choices.items()},
                headers={"Content-Type": _CONTENT[form], "Accept": _CONTENT[Form.NDJSON]},
                on_line=take,
            )
        )
    return _conclude(console, report, dry_run=dry_run)


def export_tokens(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Into this file, which only you can read.", dir_okay=False
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = Form.NDJSON,
    readable: Annotated[
        bool,
        typer.Option("--readable", help="With the values; needs the scope tokens:reveal."),
    ] = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Export all tokens: their rights, and with --readable their values.

    [bold]Examples[/bold]

      voltbus token export --format csv > tokens.csv
      voltbus token export --readable --out moving.ndjson
    """
    path = "/v1/tokens/export/readable" if readable else "/v1/tokens/export"
    with open_service("auth", url, home) as client:
        download(client.lines(path, format=form.value), out)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BufferedReader]:
    try:
        content = open(sys.stdin.fileno() if file == _STDIN else file, "rb")  # noqa: PTH123, SIM115 - also a descriptor
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.") from None
    with content:
        yield content


@contextlib.contextmanager
def _showing(
    console: Console, content: BufferedReader
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar of the lines that the service has stored; without a terminal nothing."""
    from rich.progress import (  # noqa: PLC0415 - slow to import; --help does not need it
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
    )

    total = _lines_in(content) if content.seekable() and console.is_terminal else None
    columns = (TextColumn("Importing"), BarColumn(), TaskProgressColumn())
    told = TextColumn("{task.completed} lines, {task.fields[failed]} refused")
    bar = Progress(*columns, told, console=console, transient=True, disable=not console.is_terminal)
    with bar as progress:
        task = progress.add_task("", total=total, failed=0)
        yield lambda report: progress.update(
            task, completed=report["lines"], failed=report["failed"]
        )


def _lines_in(content: BufferedReader) -> int:
    """How many lines a file has, about; it is back at its beginning then."""
    count = sum(piece.count(b"\n") for piece in iter(lambda: content.read(1 << 20), b""))
    content.seek(0)
    return count


def _conclude(console: Console, report: dict[str, Any], *, dry_run: bool) -> int:
    """Say what came of it; the exit code."""
    from rich.table import Table  # noqa: PLC0415 - slow to import; --help does not need it

    for error in report.get("errors", [])[:_SHOWN_ERRORS]:
        text = f"line {error['line']}: {error['field']}: {error['message']}"
        console.print(text, markup=False, soft_wrap=True)
    hidden = report.get("failed", 0) - _SHOWN_ERRORS
    if hidden > 0:
        console.print(f"... and {hidden} lines more")
    table = Table(title="What would happen" if dry_run else "What was imported")
    names = ("lines", "created", "updated", "skipped", "failed")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row(*(f"{report.get(name, 0):,}" for name in names))
    console.print(table)
    if not report.get("done"):
        why = report.get("problem") or "The service stopped in the middle."
        raise CommandError(
            f"{str(why).rstrip('.')}. What was imported stays: run it again with --existing skip."
        )
    return 1 if report["failed"] else 0
