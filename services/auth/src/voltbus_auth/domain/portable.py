"""Tokens in files: NDJSON (one object a line) and CSV (a header, then one token a line).

A line becomes the same object that `POST /v1/tokens` takes; whoever reads it checks it. In CSV an
empty cell means "not given", and a list (``sites``, ``evse_kinds``) is separated by ``;``.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LISTS = frozenset({"sites", "evse_kinds"})
_NUMBERS = frozenset({"max_concurrent", "charging_priority"})
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


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: its fields, or what is wrong with it."""

    number: int
    fields: dict[str, Any] | None = None
    problem: str = ""


def read(text: str, form: Format) -> Iterator[Line]:
    """The lines of a file; empty ones are passed over, a broken one does not stop the rest."""
    return _ndjson(text) if form is Format.NDJSON else _csv(text)


def _ndjson(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            yield Line(number, problem="is not JSON")
            continue
        if isinstance(fields, dict):
            yield Line(number, fields)
        else:
            yield Line(number, problem="is not an object")


def _csv(text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            yield Line(reader.line_num, problem="is not CSV")
            return  # nothing after a broken quote can be trusted
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
        elif len(cells) != len(header):
            yield Line(reader.line_num, problem=f"has {len(cells)} cells, not {len(header)}")
        else:
            yield Line(reader.line_num, _fields(header, cells))


def _fields(header: list[str], cells: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        if cell == "":
            continue
        if name in LISTS:
            fields[name] = [part.strip() for part in cell.split(";") if part.strip()]
        elif name in _NUMBERS and cell.lstrip("-").isdecimal():
            fields[name] = int(cell)
        elif name == "credit":
            fields[name] = _decimal(cell)
        else:
            fields[name] = cell
    return fields


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
        return ";".join(value)
    return str(value)
