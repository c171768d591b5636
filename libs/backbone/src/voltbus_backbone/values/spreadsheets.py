"""Cells of CSV files that a spreadsheet shows as text, never runs as a formula.

A name like ``=HYPERLINK(...)`` would be run by whoever opens an export (CWE-1236). An apostrophe in
front makes it text; `read_cell` takes it off again, so that an export can be imported unchanged.
"""

from __future__ import annotations

import re

# What makes a cell a formula, also behind blanks or apostrophes of its own.
_FORMULA = re.compile(r"['\s]*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


def guard_cell(text: str) -> str:
    """Return a cell's text with an apostrophe before what would be a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def read_cell(cell: str) -> str:
    """Return the text of a cell that `guard_cell` wrote; other cells as they are."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
