"""An import of tokens on its way: lines are read, checked and stored while the file comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field, ValidationError

from voltbus_auth.tokens.api.bodies import TokenRequest, entry
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.lines import Line
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import TokenStore, Value
from voltbus_backbone.errors import Unavailable

_PORTION = 1000
_ERRORS_SHOWN = 1000
_TRIES = 5
# How many lines back a token is known to have been in the file: about 30 MB.
_REMEMBERED = 250_000


class Existing(StrEnum):
    """What an import does with a token that is registered already."""

    ERROR = "error"
    SKIP = "skip"
    UPDATE = "update"


class LineError(BaseModel):
    """What is wrong with a line; never the value that is."""

    line: int
    field: str
    message: str


class ImportReport(BaseModel):
    """How far an import is, or how it ended (``done``).

    ``errors`` holds the first thousand; ``problem`` says why it ended before its time.
    """

    done: bool = False
    lines: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[LineError] = Field(default=[])
    problem: str | None = None


@dataclass(slots=True)
class _Entry:
    line: int
    token: Token
    value: Value


@dataclass(slots=True)
class Import:
    """One import. ``dry_run``: it tells what it would do, and stores nothing."""

    store: TokenStore
    key: TokenKey
    at: datetime
    existing: Existing
    dry_run: bool = False
    report: ImportReport = field(default_factory=ImportReport)
    seen: dict[int, int] = field(default_factory=dict)

    async def steps(
        self, lines: AsyncIterator[Line], *, only_all: bool
    ) -> AsyncIterator[ImportReport]:
        """The report after each portion, stored before the next is read.

        ``only_all``: everything is stored at the end, or nothing if any line has failed.
        """
        entries: list[_Entry] = []
        async for line in lines:
            one = self._checked(line)
            if one is not None:
                entries.append(one)
            if self.report.lines % _PORTION == 0:
                if not only_all:
                    await self._keep(entries)
                    entries = []
                yield self.report
        if only_all or self.report.lines % _PORTION:
            await self._keep(entries, only_all=only_all)
            yield self.report

    def _checked(self, line: Line) -> _Entry | None:
        """A line as a token, or its errors in the report."""
        self.report.lines += 1
        if line.fields is None:
            self._failed(line.number, [("line", line.problem)])
            return None
        fields = {name: value for name, value in line.fields.items() if name != "ref"}
        try:
            body = TokenRequest.model_validate(fields)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            self._failed(line.number, [(_field(one["loc"]), one["msg"]) for one in found])
            return None
        token, value = entry(body, self.key)
        if len(self.seen) >= _REMEMBERED:
            self.seen.clear()
        first = self.seen.setdefault(int(token.ref[:16], 16), line.number)
        if first != line.number:
            self._failed(line.number, [("id_token", f"is on line {first} already")])
            return None
        return _Entry(line.number, token, value)

    async def _keep(self, entries: list[_Entry], *, only_all: bool = False) -> None:
        """Store what was checked in one transaction."""
        for _ in range(_TRIES):
            before = self.report.model_copy(deep=True)
            new, changed = await self._sorted(entries)
            if only_all and self.report.failed:
                self.report.skipped = 0
                return
            if self.dry_run or await self.store.put_many(new, changed, self.at):
                self.report.created += len(new)
                self.report.updated += len(changed)
                return
            self.report = before
        raise Unavailable("others keep changing the same tokens")

    async def _sorted(self, entries: list[_Entry]) -> tuple[list[tuple[Token, Value]], list[Token]]:
        """What is new, and what changes; what exists and may not is an error in the report."""
        known = await self.store.known(
            [identity for one in entries for identity in one.value.identities]
        )
        new: list[tuple[Token, Value]] = []
        changed: list[Token] = []
        for one in entries:
            found = (known[name] for name in one.value.identities if name in known)
            there = next(found, None)
            if there is None:
                new.append((one.token, one.value))
            elif self.existing is Existing.ERROR:
                self._failed(one.line, [("id_token", "is registered already")])
            else:
                after = replace(one.token, ref=there.ref, revision=there.revision)
                if self.existing is Existing.SKIP or after == there:
                    self.report.skipped += 1
                else:
                    changed.append(after)
        return new, changed

    def _failed(self, line: int, problems: list[tuple[str, str]]) -> None:
        self.report.failed += 1
        for name, message in problems:
            if len(self.report.errors) < _ERRORS_SHOWN:
                self.report.errors.append(LineError(line=line, field=name, message=message))


def _field(place: tuple[int | str, ...]) -> str:
    """Where in a line the error is. A name that no token has is not repeated: it may be a value."""
    name = str(place[0]) if place else "line"
    return name if name in TokenRequest.model_fields else "an unknown field"
