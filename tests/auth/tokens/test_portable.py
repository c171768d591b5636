"""Token files: what is read from a line, and that an export can be imported again."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_auth.tokens.domain.lines import LONGEST_LINE, Line, Reader, read
from voltbus_auth.tokens.domain.portable import Format, write

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
    (line,) = read(write([TOKEN], form, header=True).encode(), form)
    assert line.fields == TOKEN
    assert line.problem == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "is not JSON"), ("[" * 60_000, "is not JSON"), ("[1]", "is not an object")],
)
def test_broken_ndjson(text: str, problem: str) -> None:
    """A broken line is named and the next one is read."""
    first, second = read(f'{text}\n\n{{"id_token": "04A1"}}\n'.encode(), Format.NDJSON)
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
    (line,) = read(f"\ufeffid_token,max_concurrent\r\n{cells}\r\n\r\n".encode(), Format.CSV)
    assert line.fields == expected


def test_broken_csv() -> None:
    """A row with too many cells is named; after a broken quote nothing is trusted."""
    lines = list(read(b'id_token\na,b\nc\n"d\n', Format.CSV))
    assert [line.problem for line in lines] == ["has 2 cells, not 1", "", "is not CSV"]
    assert [line.number for line in lines] == [2, 3, 4]


CELLS = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('",\n'), max_size=8
)


def pieces_of(content: bytes, sizes: list[int]) -> list[bytes]:
    """The content cut into pieces of these sizes, the last one with what is left."""
    pieces = []
    for size in sizes:
        pieces.append(content[:size])
        content = content[size:]
    return [*pieces, content]


def read_in(pieces: list[bytes], form: Format) -> list[Line]:
    """The lines of a file that comes in these pieces."""
    reader = Reader(form)
    found = [line for piece in pieces for line in reader.feed(piece)]
    return [*found, *reader.end()]


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5), sizes=st.lists(st.integers(0, 9)))
def test_csv_in_pieces_is_the_same_csv(rows: list[tuple[str, str]], sizes: list[int]) -> None:
    """However the bytes of a file arrive, its rows are those of the whole."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(("language", "personal_message"))
    writer.writerows(rows)
    content = text.getvalue().encode()
    wanted = [
        {name: cell for name, cell in (("language", a), ("personal_message", b)) if cell}
        for a, b in rows
        if a.strip() or b.strip()
    ]
    assert [line.fields for line in read_in(pieces_of(content, sizes), Format.CSV)] == wanted


@given(
    content=st.binary(max_size=60)
    | st.text(st.sampled_from('a",\r\n'), max_size=40).map(str.encode),
    sizes=st.lists(st.integers(0, 9)),
    form=st.sampled_from(Format),
)
def test_pieces_do_not_matter(content: bytes, sizes: list[int], form: Format) -> None:
    """Whatever the bytes are, nothing fails, and how they were cut changes nothing."""
    assert read_in(pieces_of(content, sizes), form) == list(read(content, form))


@pytest.mark.parametrize("form", list(Format))
def test_an_endless_line_is_not_kept(form: Format) -> None:
    """A line without an end is told once, however long it goes on, and is not collected."""
    reader = Reader(form)
    begun = [line for _ in range(50) for line in reader.feed(b"x" * LONGEST_LINE)]
    assert begun == []
    (line,) = [*reader.feed(b"\n"), *reader.end()]
    assert (line.number, line.problem) == (1, "has more than 65536 bytes")


def test_an_endless_cell_is_not_kept() -> None:
    """Nor is a quoted cell that is never closed: the rest of the file is not trusted."""
    reader = Reader(Format.CSV)
    rows = [b'id_token\n"', *([b"04A1\n"] * 20_000)]
    found = [line for row in rows for line in reader.feed(row)]
    assert [line.problem for line in found] == ["has more than 65536 bytes"]
    assert list(reader.end()) == []


def test_a_line_that_is_no_text() -> None:
    """Bytes that are not UTF-8 are that line's problem only."""
    first, second = read(b'\xff\xfe\n{"id_token": "04A1"}', Format.NDJSON)
    assert (first.number, first.problem) == (1, "is not UTF-8")
    assert second.fields == {"id_token": "04A1"}


@pytest.mark.parametrize(
    "cell", ["--5", "9" * 5000, "\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT FIVE}"]
)
def test_what_only_looks_like_a_number(cell: str) -> None:
    """It stays a text, which the check of the line refuses; the file goes on."""
    content = f"id_token,max_concurrent\n04A1,{cell}\n04A2,1\n".encode()
    first, second = read(content, Format.CSV)
    assert first.fields == {"id_token": "04A1", "max_concurrent": cell}
    assert second.fields == {"id_token": "04A2", "max_concurrent": 1}


@given(st.lists(st.text(st.sampled_from('ab;," \\'), min_size=1, max_size=6), max_size=4))
def test_names_with_separators_come_back(names: list[str]) -> None:
    """A list of a token is the same after export and import, whatever its names contain."""
    wanted = [name.strip() for name in names if name.strip()]
    content = write([{"id_token": "04A1", "sites": wanted}], Format.CSV, header=True)
    (line,) = read(content.encode(), Format.CSV)
    assert line.fields is not None
    assert line.fields.get("sites", []) == wanted


def test_an_export_holds_no_formula() -> None:
    """A driver's name that is a formula is not run by whoever opens the file (CWE-1236)."""
    token = {**TOKEN, "personal_message": "=HYPERLINK(1)", "sites": ["=1", "b"]}
    text = write([token], Format.CSV, header=True)
    (_, cells) = csv.reader(io.StringIO(text))
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    (line,) = read(text.encode(), Format.CSV)
    assert line.fields == token
