"""What services answer, as a person reads it: one thing as rows, many as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from voltbus.terminal import Console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def show_one(fields: Mapping[str, Any]) -> None:
    """Print its fields, one a row."""
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, escape(_text(value)))
    Console(highlight=False).print(table)


def show_many(things: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print these fields of each, one a row."""
    table = Table(box=None)
    for name in columns:
        table.add_column(name, overflow="fold")
    for one in things:
        table.add_row(*(escape(_text(one.get(name))) for name in columns))
    Console(highlight=False).print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
