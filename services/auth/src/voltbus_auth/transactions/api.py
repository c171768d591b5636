"""`/v1/transactions`: what was charged, as it was recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from voltbus_auth.projections.store import ProjectionStore
from voltbus_auth.tokens.domain.portable import Format
from voltbus_auth.transactions.domain.account import snapshot
from voltbus_auth.transactions.domain.record import OPERATOR, Closed, Record
from voltbus_auth.transactions.domain.rows import write_rows
from voltbus_auth.transactions.handlers.closing import TransactionCloser
from voltbus_auth.transactions.store.transactions import TransactionStore
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, WhoAsks, scope
from voltbus_backbone.rest.conventions import SortedPaging, page
from voltbus_backbone.rest.validation import Text, Time
from voltbus_backbone.values.times import to_milliseconds

TransactionRef = Annotated[str, Path(pattern=r"^[0-9a-f]{26}$")]
_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One transaction a line",
        "content": {"application/x-ndjson": {}, "text/csv": {}},
    }
}
_MOST_SAMPLE_SETS = 5000
# Shown even where nothing is known, so that a reader finds every field.
_ALWAYS = (
    "evse_id",
    "connector_id",
    "token_ref",
    "agreement_id",
    "authorization",
    "authorization_reference",
    "started_at",
    "ended_at",
    "meter_start_wh",
    "meter_stop_wh",
    "energy_wh",
    "stopped_reason",
    "charging_state",
    "closed_by",
)


def _within(since: datetime | None, until: datetime | None) -> dict[str, datetime]:
    bounds = {"$gte": since, "$lt": until}
    return {sign: value for sign, value in bounds.items() if value is not None}


class TransactionFilters:
    """Which transactions a list shows. ``from`` and ``to`` bound when they began."""

    def __init__(
        self,
        *,
        station_id: Annotated[str | None, Query()] = None,
        site_id: Annotated[
            str | None, Query(description="Of the stations that are at this site now.")
        ] = None,
        state: Annotated[Literal["active", "ended"] | None, Query()] = None,
        token_ref: Annotated[str | None, Query()] = None,
        agreement_id: Annotated[str | None, Query()] = None,
        doubt: Annotated[
            str | None, Query(pattern=r"^[a-z0-9_]{1,40}$", description="That has this doubt.")
        ] = None,
        since: Annotated[Time | None, Query(alias="from", description="Began at or after.")] = None,
        until: Annotated[Time | None, Query(alias="to", description="Began before.")] = None,
        ended_from: Annotated[Time | None, Query(description="Ended at or after.")] = None,
        ended_to: Annotated[Time | None, Query(description="Ended before.")] = None,
    ) -> None:
        wanted = {
            "station_id": station_id,
            "state": state,
            "token.token_ref": token_ref,
            "token.agreement_id": agreement_id,
            "doubts": doubt,
            "first_at": _within(since, until) or None,
            "ended_at": _within(ended_from, ended_to) or None,
        }
        self.query = {name: value for name, value in wanted.items() if value is not None}
        self.site_id = site_id

    async def resolve(self, projections: ProjectionStore) -> dict[str, Any]:
        """The query for the store, in which a site stands for its stations."""
        if self.site_id is None:
            return self.query
        stations = set(await projections.stations_at(self.site_id))
        if "station_id" in self.query:
            stations &= {self.query["station_id"]}
        return {**self.query, "station_id": {"$in": sorted(stations)}}


class CloseRequest(BaseModel):
    """Why a transaction is closed although its station never told its end."""

    model_config = ConfigDict(extra="forbid")

    reason: Text


def transactions_router(
    store: TransactionStore,
    projections: ProjectionStore,
    closing: TransactionCloser,
    now: Callable[[], datetime],
) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1/transactions", tags=["transactions"])
    read, write = scope("transactions:read"), scope("transactions:write")

    @router.get("", summary="List transactions, the newest first", dependencies=[read])
    async def list_transactions(
        paging: Annotated[SortedPaging, Depends()],
        filters: Annotated[TransactionFilters, Depends()],
    ) -> dict[str, Any]:
        found, more = await store.page(await filters.resolve(projections), paging)
        return page([show(record) for record in found], has_more=more)

    @router.get(
        "/export",
        summary="Export transactions, the newest first",
        dependencies=[read],
        response_class=Response,
        responses=_EXPORTED,
    )
    async def export(
        filters: Annotated[TransactionFilters, Depends()],
        form: Annotated[Format, Query(alias="format")] = Format.NDJSON,
    ) -> StreamingResponse:
        return _stream(store, await filters.resolve(projections), form)

    @router.get("/{ref}", summary="Show a transaction with its samples", dependencies=[read])
    async def get(ref: TransactionRef) -> dict[str, Any]:
        record = await store.find(ref)
        if record is None:
            raise not_found("transaction")
        samples = await store.samples_of(ref, _MOST_SAMPLE_SETS)
        return {**show(record), "samples": msgspec.to_builtins(samples)}

    @router.post(
        "/{ref}/close",
        summary="Close a transaction whose end was never told",
        description="It ends with what was measured, with the doubt `closed_by_operator`. A stop "
        "that comes later still corrects it.",
        dependencies=[write],
    )
    async def close(ref: TransactionRef, body: CloseRequest, asker: WhoAsks) -> dict[str, Any]:
        closed = Closed(to_milliseconds(now()), OPERATOR, body.reason, asker.subject)
        record = await closing.close(ref, closed)
        if record is None:
            if await store.find(ref) is None:
                raise not_found("transaction")
            raise Problem(409, "already-ended", "The end of this transaction is known.")
        return show(record)

    return router


def _stream(store: TransactionStore, query: dict[str, Any], form: Format) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        header = True
        async for portion in store.all(query):
            yield write_rows([show(record) for record in portion], form, header=header)
            header = False
        if header and form is Format.CSV:
            yield write_rows([], form, header=True)

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson" if form is Format.NDJSON else "text/csv",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="transactions.{form.value}"',
        },
    )


def show(record: Record) -> dict[str, Any]:
    """The public snapshot as JSON; ``samples`` are shown one by one only."""
    fields: dict[str, Any] = msgspec.to_builtins(
        snapshot(record, at=record.last_at, samples=()), builtin_types=(datetime,)
    )
    fields["updated_at"] = fields.pop("at")
    for name in ("missing_seq_nos", "doubts", "repairs"):
        fields.setdefault(name, [])
    fields.setdefault("details", {})
    fields.setdefault("energy_source", "unknown")
    fields.setdefault("offline", False)
    closed = record.closed
    fields["closed"] = closed and {
        "at": closed.at,
        "by": closed.by,
        "reason": closed.reason or None,
        "who": closed.who or None,
    }
    return {**dict.fromkeys(_ALWAYS), **fields}
