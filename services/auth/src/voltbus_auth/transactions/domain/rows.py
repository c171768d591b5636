"""Transactions in files: NDJSON (one object a line) and CSV (a header, then one a line)."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from voltbus_auth.tokens.domain.portable import Format
from voltbus_backbone.values.spreadsheets import guard_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS = (
    "transaction_ref",
    "station_id",
    "evse_id",
    "connector_id",
    "protocol",
    "transaction_id",
    "state",
    "started_at",
    "ended_at",
    "token_ref",
    "agreement_id",
    "authorization",
    "authorization_reference",
    "meter_start_wh",
    "meter_stop_wh",
    "energy_wh",
    "energy_source",
    "stopped_reason",
    "closed_by",
    "doubts",
    "repairs",
    "missing_seq_nos",
    "offline",
    "reservation_id",
    "remote_start_id",
    "charging_state",
    "details",
    "revision",
    "updated_at",
)


def write_rows(rows: Iterable[Mapping[str, Any]], form: Format, *, header: bool) -> str:
    """Write lines of a file. ``header``: they are its first.

    In CSV a list is separated by ``;`` and an object is JSON; a text that a spreadsheet would take
    for a formula has an apostrophe before it.
    """
    if form is Format.NDJSON:
        return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None or value in ([], (), {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return guard_cell(json.dumps(value, ensure_ascii=False, default=str))
    if isinstance(value, list | tuple):
        return guard_cell(";".join(str(part) for part in value))
    if isinstance(value, int | float):
        return str(value)
    return guard_cell(str(value))
