"""Tokens in files: NDJSON (one object a line) and CSV (a header, then one token a line).

A line is the same object that `POST /v1/tokens` takes (`lines` reads them). In CSV an empty cell
means "not given", and a list (``sites``, ``evse_kinds``) is separated by ``;``, with quotes around
a name that contains one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from voltbus_backbone.values import spreadsheets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LISTS = frozenset({"sites", "evse_kinds"})
_NUMBERS = frozenset({"max_concurrent", "charging_priority"})
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
COLUMNS = (
    "ref",
    "id_token",
    "type",
    "status",
    "valid_from",
    "expires_at",
    "group_id",
    "max_concurrent",
    "charging_priority",
    "language",
    "personal_message",
    "credit",
    "sites",
    "evse_kinds",
    "whitelist",
)


class Format(StrEnum):
    """How the file is written."""

    NDJSON = "ndjson"
    CSV = "csv"


def fields_of(header: list[str], cells: list[str]) -> dict[str, Any]:
    """The cells of a row as fields; what is no number although it should be stays for the check."""
    fields: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        if cell == "":
            continue
        cell = spreadsheets.read_cell(cell)  # noqa: PLW2901 - the same cell, as it was meant
        if name in LISTS:
            fields[name] = _parts(cell)
        elif name in _NUMBERS and _WHOLE.fullmatch(cell):
            fields[name] = int(cell)
        elif name == "credit":
            fields[name] = _decimal(cell)
        else:
            fields[name] = cell
    return fields


def _parts(cell: str) -> list[str] | str:
    rows = csv.reader(io.StringIO(cell, newline=""), delimiter=";", skipinitialspace=True)
    try:
        return [part.strip() for row in rows for part in row if part.strip()]
    except csv.Error:
        return cell


def _decimal(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def write(tokens: Iterable[Mapping[str, Any]], form: Format, *, header: bool) -> str:
    """Lines of a file. ``header``: they are its first."""
    if form is Format.NDJSON:
        return "".join(
            json.dumps(
                {name: one[name] for name in COLUMNS if one.get(name) not in (None, [])},
                ensure_ascii=False,
            )
            + "\n"
            for one in tokens
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for one in tokens:
        writer.writerow([_cell(name, one.get(name)) for name in COLUMNS])
    return out.getvalue()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in LISTS:
        out = io.StringIO()
        csv.writer(out, delimiter=";", lineterminator="").writerow(value)
        return spreadsheets.guard_cell(out.getvalue())
    return spreadsheets.guard_cell(value) if isinstance(value, str) else str(value)
