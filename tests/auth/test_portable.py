"""Token files: what is read from a line, and that an export can be imported again."""

from __future__ import annotations

from typing import Any

import pytest

from voltbus_auth.domain.portable import Format, read, write

TOKEN = {
    "id_token": "04A1",
    "type": "ISO14443",
    "group_id": 'Müller; Söhne, "Fleet"',
    "max_concurrent": 2,
    "credit": 12.5,
    "sites": ["site-1", "site-2"],
}


@pytest.mark.parametrize("form", list(Format))
def test_written_and_read_again(form: Format) -> None:
    """What is written is read again, whatever is in its cells."""
    (line,) = read(write([TOKEN], form, header=True), form)
    assert line.fields == TOKEN
    assert line.problem == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("[1]", "is not an object")],
)
def test_broken_ndjson(text: str, problem: str) -> None:
    """A broken line is named and the next one is read."""
    first, second = read(f'{text}\n\n{{"id_token": "04A1"}}\n', Format.NDJSON)
    assert (first.number, first.problem) == (1, problem)
    assert (second.number, second.fields) == (3, {"id_token": "04A1"})


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("04A1,", {"id_token": "04A1"}),
        ("04A1,3", {"id_token": "04A1", "max_concurrent": 3}),
        ("04A1,many", {"id_token": "04A1", "max_concurrent": "many"}),
    ],
)
def test_csv_cells(cells: str, expected: dict[str, Any]) -> None:
    """Empty cells are left out, numbers are numbers, and what is none stays for the check."""
    (line,) = read(f"\ufeffid_token,max_concurrent\r\n{cells}\r\n\r\n", Format.CSV)
    assert line.fields == expected


def test_broken_csv() -> None:
    """A row with too many cells is named; after a broken quote nothing is trusted."""
    lines = list(read('id_token\na,b\nc\n"d\n', Format.CSV))
    assert [line.problem for line in lines] == ["has 2 cells, not 1", "", "is not CSV"]
    assert [line.number for line in lines] == [2, 3, 4]
