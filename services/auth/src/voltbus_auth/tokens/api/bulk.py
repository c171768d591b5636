"""Tokens by the thousand: import and export in NDJSON or CSV, and finding one by its value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from voltbus_auth.tokens.api.bodies import TokenAnswer, shown
from voltbus_auth.tokens.api.imports import Existing, Import, ImportReport
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.lines import Line, Reader
from voltbus_auth.tokens.domain.portable import Format, write
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import TokenStore
from voltbus_backbone.contract.values import IdToken
from voltbus_backbone.errors import Problem, Unavailable
from voltbus_backbone.rest import Router, body_of, no_idempotency, scope
from voltbus_backbone.values.times import to_milliseconds

NDJSON = "application/x-ndjson"
CSV = "text/csv"
_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "One token a line", "content": {NDJSON: {}, CSV: {}}}
}
# What is stored as it comes in needs no more memory the longer it is; what is stored at once does.
_LARGEST_FILE = 1024 * 1024 * 1024
_LARGEST_TRANSACTION = 8 * 1024 * 1024
_NO_KEY = "An import takes no Idempotency-Key: repeat it with existing=skip or existing=update."


class ImportChoices:
    """How to import."""

    def __init__(
        self,
        existing: Annotated[Existing, Query()] = Existing.ERROR,
        *,
        all_or_nothing: Annotated[
            bool, Query(description="In one transaction (8 MiB at most), or not at all.")
        ] = False,
        dry_run: Annotated[
            bool, Query(description="Tell what would happen; store nothing.")
        ] = False,
    ) -> None:
        self.existing = existing
        self.all_or_nothing = all_or_nothing
        self.dry_run = dry_run


class SearchRequest(BaseModel):
    """A token's value, in the body so that it is in no log of URLs."""

    model_config = ConfigDict(extra="forbid")

    id_token: str = Field(min_length=1, max_length=255)
    type: str = Field(default="", max_length=20, description="Empty: of any type, as 1.6 does.")


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


def bulk_router(store: TokenStore, key: TokenKey, now: Callable[[], datetime]) -> APIRouter:
    """The routes; they must be included before `/v1/tokens/{ref}`."""
    router = Router(prefix="/v1/tokens", tags=["tokens"])
    may_read, may_write = scope("tokens:read"), scope("tokens:write")

    @router.post(
        "/import",
        summary="Import tokens from NDJSON or CSV",
        description="The body is the file; what has come in is stored while the rest still comes. "
        "With `Accept: application/x-ndjson` the answer is a line of progress for each thousand "
        "tokens, the last with `done`.",
        dependencies=[may_write, body_of(_LARGEST_FILE, streamed=True), no_idempotency(_NO_KEY)],
        response_model=ImportReport,
        openapi_extra={"requestBody": {"content": {NDJSON: {}, CSV: {}}, "required": True}},
    )
    async def import_tokens(
        request: Request,
        choices: Annotated[ImportChoices, Depends()],
        content_type: Annotated[str, Header()] = NDJSON,
        accept: Annotated[str, Header()] = "*/*",
    ) -> Response:
        most = _LARGEST_TRANSACTION if choices.all_or_nothing else _LARGEST_FILE
        lines = _lines(request, _format(content_type), most)
        at = to_milliseconds(now())
        work = Import(store, key, at, choices.existing, choices.dry_run)
        steps = work.steps(lines, only_all=choices.all_or_nothing)
        if NDJSON in accept:
            return _WhileReading(_progress(work, steps), media_type=NDJSON)
        async for _ in steps:
            pass
        if choices.all_or_nothing and work.report.failed:
            raise _refused(work.report)
        work.report.done = True
        return Response(work.report.model_dump_json(), media_type="application/json")

    @router.get(
        "/export",
        summary="Export all tokens without their values",
        dependencies=[may_read],
        response_class=Response,
        responses=_EXPORTED,
    )
    async def export_tokens(
        form: Annotated[Format, Query(alias="format")] = Format.NDJSON,
    ) -> Response:
        return _exported(store, form, readable=False)

    @router.get(
        "/export/readable",
        summary="Export all tokens with their readable values",
        dependencies=[may_read, scope("tokens:reveal")],
        response_class=Response,
        responses=_EXPORTED,
    )
    async def export_readable(
        form: Annotated[Format, Query(alias="format")] = Format.NDJSON,
    ) -> Response:
        if not store.keeps_values:
            raise Problem(
                409, "no-readable-values", "No readable values are kept: no field key is set."
            )
        return _exported(store, form, readable=True)

    @router.post("/search", summary="Find a token by its value", dependencies=[may_read])
    async def search(body: SearchRequest) -> dict[str, list[TokenAnswer]]:
        token = IdToken(value=body.id_token, type=body.type)
        refs = [key.presented(token), *key.contracts([token]).values()]
        found = await store.search(refs)
        return {"data": [shown(one) for one in found]}

    return router


class _WhileReading(StreamingResponse):
    """An answer that begins while the request is still read.

    The usual one watches for a client that goes away by reading the request: that would take the
    file from under whoever imports it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await self.stream_response(send)


async def _progress(work: Import, steps: AsyncIterator[ImportReport]) -> AsyncIterator[bytes]:
    """A line for each portion, and the last word: too late now for another status than 200."""
    try:
        async for report in steps:
            yield orjson.dumps(report.model_dump(exclude={"errors", "problem"})) + b"\n"
        work.report.done = True
    except Unavailable:
        work.report.problem = "A server this service needs does not answer now; try again."
    except ClientDisconnect:
        work.report.problem = "The file ended before its end."
    except Problem as problem:
        work.report.problem = problem.detail
    yield orjson.dumps(work.report.model_dump()) + b"\n"


def _exported(store: TokenStore, form: Format, *, readable: bool) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        header = True
        async for portion in store.all(readable=readable):
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


async def _lines(request: Request, form: Format, most: int) -> AsyncIterator[Line]:
    """The lines of the body as they come in.

    Raises:
        Problem: 413, there are more bytes than ``most``.
    """
    reader, received = Reader(form), 0
    async for piece in request.stream():
        received += len(piece)
        if received > most:
            raise Problem(413, "too-large", f"Such a file may have {most // 1024} KiB at most.")
        for line in reader.feed(piece):
            yield line
    for line in reader.end():
        yield line
