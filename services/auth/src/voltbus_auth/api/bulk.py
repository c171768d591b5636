"""Tokens by the thousand: import and export in NDJSON or CSV, and finding one by its value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voltbus_auth.api.token_bodies import TokenAnswer, TokenRequest, entry, shown
from voltbus_auth.domain.identifiers import TokenKey
from voltbus_auth.domain.intake import to_milliseconds
from voltbus_auth.domain.portable import Format, Line, read, write
from voltbus_auth.domain.tokens import Token
from voltbus_auth.store import Store, Value
from voltbus_backbone.errors import Problem, Unavailable
from voltbus_backbone.http import scope

NDJSON = "application/x-ndjson"
CSV = "text/csv"
_LARGEST_FILE = 64 * 1024 * 1024
_PORTION = 1000
_ERRORS_SHOWN = 1000
_TRIES = 5


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
    """How far an import is, or how it ended (``done``). ``errors``: the first thousand."""

    done: bool = False
    lines: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[LineError] = Field(default=[])


class SearchRequest(BaseModel):
    """A token's value, in the body so that it is in no log of URLs."""

    model_config = ConfigDict(extra="forbid")

    id_token: str = Field(min_length=1, max_length=255)
    type: str = Field(default="", max_length=20, description="Empty: of any type, as 1.6 does.")


@dataclass(slots=True)
class _Entry:
    line: int
    token: Token
    value: Value


@dataclass(slots=True)
class _Import:
    """One import on its way."""

    store: Store
    key: TokenKey
    at: datetime
    existing: Existing
    report: ImportReport = field(default_factory=ImportReport)
    seen: dict[str, int] = field(default_factory=dict)

    def check(self, line: Line) -> _Entry | None:
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
            self._failed(
                line.number,
                [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in found],
            )
            return None
        token, value = entry(body, self.key)
        first = self.seen.setdefault(token.ref, line.number)
        if first != line.number:
            self._failed(line.number, [("id_token", f"is on line {first} already")])
            return None
        return _Entry(line.number, token, value)

    async def sort(self, entries: list[_Entry]) -> tuple[list[tuple[Token, Value]], list[Token]]:
        """What is new, and what changes; what exists and may not is an error in the report."""
        known = await self.store.token.known([one.token.ref for one in entries])
        new: list[tuple[Token, Value]] = []
        changed: list[Token] = []
        for one in entries:
            there = known.get(one.token.ref)
            if there is None:
                new.append((one.token, one.value))
            elif self.existing is Existing.ERROR:
                self._failed(one.line, [("id_token", "is registered already")])
            else:
                after = replace(one.token, revision=there.revision)
                if self.existing is Existing.SKIP or after == there:
                    self.report.skipped += 1
                else:
                    changed.append(after)
        return new, changed

    async def keep(self, entries: list[_Entry]) -> None:
        """Store a portion in one transaction."""
        for _ in range(_TRIES):
            before = self.report.model_copy(deep=True)
            new, changed = await self.sort(entries)
            if await self.store.token.put_many(new, changed, self.at):
                self.report.created += len(new)
                self.report.updated += len(changed)
                return
            self.report = before
        raise Unavailable("others keep changing the same tokens")

    def _failed(self, line: int, problems: list[tuple[str, str]]) -> None:
        self.report.failed += 1
        for name, message in problems:
            if len(self.report.errors) < _ERRORS_SHOWN:
                self.report.errors.append(LineError(line=line, field=name, message=message))


async def _portions(work: _Import, lines: list[Line]) -> AsyncIterator[ImportReport]:
    """Portion by portion, each stored before the next is read."""
    for start in range(0, len(lines), _PORTION):
        checked = [work.check(line) for line in lines[start : start + _PORTION]]
        await work.keep([one for one in checked if one is not None])
        yield work.report


async def _whole(work: _Import, lines: list[Line]) -> ImportReport:
    """Everything in one transaction, or nothing."""
    checked = [work.check(line) for line in lines]
    entries = [one for one in checked if one is not None]
    for _ in range(_TRIES):
        before = work.report.model_copy(deep=True)
        new, changed = await work.sort(entries)
        if work.report.failed:
            raise _refused(work.report)
        if await work.store.token.put_many(new, changed, work.at):
            work.report.created, work.report.updated = len(new), len(changed)
            return work.report
        work.report = before
    raise Unavailable("others keep changing the same tokens")


def _refused(report: ImportReport) -> Problem:
    return Problem(
        422,
        "import-refused",
        f"{report.failed} of {report.lines} lines cannot be imported: nothing was.",
        errors=[
            {"field": f"line {one.line}: {one.field}", "message": one.message}
            for one in report.errors
        ],
    )


def bulk_router(store: Store, key: TokenKey, now: Callable[[], datetime]) -> APIRouter:
    """The routes; they must be included before `/v1/tokens/{ref}`."""
    router = APIRouter(prefix="/v1/tokens", tags=["tokens"])
    may_read, may_write = scope("tokens:read"), scope("tokens:write")

    @router.post(
        "/import",
        summary="Import tokens from NDJSON or CSV",
        description="The body is the file. With `Accept: application/x-ndjson` the answer is a "
        "line of progress for each thousand tokens, the last with `done`.",
        dependencies=[may_write],
        response_model=ImportReport,
        openapi_extra={"requestBody": {"content": {NDJSON: {}, CSV: {}}, "required": True}},
    )
    async def import_tokens(
        request: Request,
        content_type: Annotated[str, Header()] = NDJSON,
        accept: Annotated[str, Header()] = "*/*",
        existing: Annotated[Existing, Query()] = Existing.ERROR,
        *,
        all_or_nothing: Annotated[bool, Query()] = False,
    ) -> Response:
        form = _format(content_type)
        lines = list(read(await _text(request), form))
        work = _Import(store, key, to_milliseconds(now()), existing)
        if all_or_nothing:
            report = await _whole(work, lines)
            report.done = True
            return Response(report.model_dump_json(), media_type="application/json")
        if NDJSON in accept:
            return StreamingResponse(_progress(work, lines), media_type=NDJSON)
        async for _ in _portions(work, lines):
            pass
        work.report.done = True
        return Response(work.report.model_dump_json(), media_type="application/json")

    @router.get(
        "/export", summary="Export all tokens without their values", dependencies=[may_read]
    )
    async def export_tokens(
        form: Annotated[Format, Query(alias="format")] = Format.NDJSON,
    ) -> Response:
        return _exported(store, form, readable=False)

    @router.get(
        "/export/readable",
        summary="Export all tokens with their readable values",
        dependencies=[may_read, scope("tokens:reveal")],
    )
    async def export_readable(
        form: Annotated[Format, Query(alias="format")] = Format.NDJSON,
    ) -> Response:
        if store.vault is None:
            raise Problem(
                409, "no-readable-values", "No readable values are kept: no field key is set."
            )
        return _exported(store, form, readable=True)

    @router.post("/search", summary="Find a token by its value", dependencies=[may_read])
    async def search(body: SearchRequest) -> dict[str, list[TokenAnswer]]:
        found = await store.token.search([key.ref(body.type, body.id_token)])
        return {"data": [shown(one) for one in found]}

    return router


async def _progress(work: _Import, lines: list[Line]) -> AsyncIterator[bytes]:
    async for report in _portions(work, lines):
        yield orjson.dumps(report.model_dump(exclude={"errors"})) + b"\n"
    work.report.done = True
    yield orjson.dumps(work.report.model_dump()) + b"\n"


def _exported(store: Store, form: Format, *, readable: bool) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        header = True
        async for portion in store.token.all(readable=readable):
            yield write([_row(one.token, value) for one, value in portion], form, header=header)
            header = False

    return StreamingResponse(
        lines(),
        media_type=NDJSON if form is Format.NDJSON else CSV,
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="tokens.{form.value}"',
        },
    )


def _row(token: Token, value: str | None) -> dict[str, Any]:
    fields = asdict(token)
    for name in ("valid_from", "expires_at"):
        moment = fields[name]
        fields[name] = moment.isoformat() if moment is not None else None
    return {
        **fields,
        "status": token.status.value,
        "sites": list(token.sites),
        "evse_kinds": list(token.evse_kinds),
        "id_token": value,
    }


def _format(content_type: str) -> Format:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == CSV:
        return Format.CSV
    if kind in {NDJSON, "application/ndjson", "application/jsonl"}:
        return Format.NDJSON
    raise Problem(415, "unsupported-media-type", f"Send the file as {NDJSON} or {CSV}.")


async def _text(request: Request) -> str:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_FILE:
            raise Problem(413, "too-large", "The file has more than 64 MiB: split it.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Problem(422, "invalid-request", "The file is not UTF-8.") from None
