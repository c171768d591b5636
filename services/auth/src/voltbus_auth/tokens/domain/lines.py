"""Lines of a token file, read as its bytes come in: nothing but the line at hand is held.

NDJSON goes on after a broken line; in CSV nothing after a broken quote can be trusted.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus_auth.tokens.domain.portable import Format, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 65_536
_TOO_LONG = f"has more than {LONGEST_LINE} bytes"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: its fields, or what is wrong with it. ``number`` counts from 1."""

    number: int
    fields: dict[str, Any] | None = None
    problem: str = ""


class Reader:
    """Takes a file in pieces of any size and gives its lines; empty ones are passed over."""

    def __init__(self, form: Format) -> None:
        self._lines = _Ndjson() if form is Format.NDJSON else _Csv()
        self._number = 0
        self._rest = b""
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that are whole with this piece."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            yield from self._take(line + b"\n")
        if len(self._rest) > LONGEST_LINE:
            # What is left of it is thrown away as it comes, and told once, with its end.
            self._rest, self._skipping = b"", True

    def end(self) -> Iterator[Line]:
        """The last line, if no line feed ended it, and what is wrong with an unfinished one."""
        if self._rest or self._skipping:
            yield from self._take(self._rest)
        yield from self._lines.end()

    def _take(self, line: bytes) -> Iterator[Line]:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if self._skipping or len(line) > LONGEST_LINE:
            self._skipping = False
            yield from self._lines.broken(self._number, _TOO_LONG)
            return
        try:
            text = line.decode()
        except UnicodeDecodeError:
            yield from self._lines.broken(self._number, "is not UTF-8")
        else:
            yield from self._lines.take(self._number, text)


class _Ndjson:
    """One object a line."""

    def take(self, number: int, text: str) -> Iterator[Line]:
        if not text.strip():
            return
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            yield Line(number, problem="is not JSON")
            return
        if isinstance(fields, dict):
            yield Line(number, fields)
        else:
            yield Line(number, problem="is not an object")

    def broken(self, number: int, problem: str) -> Iterator[Line]:
        yield Line(number, problem=problem)

    def end(self) -> Iterator[Line]:
        yield from ()


class _Csv:
    """A header, then a token a row; a row with quotes may go over several lines."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._reader = csv.reader(_Popping(self._waiting), strict=True)
        self._header: list[str] | None = None
        self._in_quotes = False
        self._length = 0
        self._given_up = False

    def take(self, number: int, text: str) -> Iterator[Line]:
        if self._given_up:
            return
        self._waiting.append(text)
        self._length += len(text)
        self._in_quotes = _in_quotes_after(text, already=self._in_quotes)
        if not self._in_quotes:
            yield from self._rows(number)
        elif self._length > LONGEST_LINE:
            yield from self.broken(number, _TOO_LONG)

    def broken(self, number: int, problem: str) -> Iterator[Line]:
        if not self._given_up:
            self._given_up = True
            yield Line(number, problem=problem)

    def end(self) -> Iterator[Line]:
        if self._in_quotes and not self._given_up:
            yield from self._rows(self._reader.line_num + len(self._waiting))

    def _rows(self, number: int) -> Iterator[Line]:
        self._length = 0
        while self._waiting:
            try:
                cells = next(self._reader, None)
            except csv.Error:
                yield from self.broken(number, "is not CSV")
                return
            if cells is None or not any(cell.strip() for cell in cells):
                continue
            if self._header is None:
                self._header = [cell.strip() for cell in cells]
            elif len(cells) != len(self._header):
                problem = f"has {len(cells)} cells, not {len(self._header)}"
                yield Line(number, problem=problem)
            else:
                yield Line(number, fields_of(self._header, cells))


class _Popping:
    """Gives the reader what waits; more may come after it has run dry."""

    def __init__(self, waiting: deque[str]) -> None:
        self._waiting = waiting

    def __iter__(self) -> _Popping:
        return self

    def __next__(self) -> str:
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()


def _in_quotes_after(line: str, *, already: bool) -> bool:
    """Whether the line's end is inside a quoted cell. Only a cell's first character opens one."""
    if '"' not in line:
        return already
    inside, first, place = already, not already, 0
    while place < len(line):
        character = line[place]
        if not inside:
            inside = first and character == '"'
        elif character == '"':
            if line[place + 1 : place + 2] == '"':
                place += 1  # two quotes stand for one
            else:
                inside = False
        first = character == "," and not inside
        place += 1
    return inside


def read(content: bytes, form: Format) -> Iterator[Line]:
    """The lines of a whole file."""
    reader = Reader(form)
    yield from reader.feed(content)
    yield from reader.end()
