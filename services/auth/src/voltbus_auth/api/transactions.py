"""`/v1/transactions`: what was charged, as it was recorded."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query

from voltbus_auth.api.fields import Time
from voltbus_auth.domain.account import snapshot
from voltbus_auth.domain.record import Record
from voltbus_auth.store import Store
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.http import scope
from voltbus_backbone.rest import Paging, page

TransactionRef = Annotated[str, Path(pattern=r"^[0-9a-f]{26}$")]
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
)


class TransactionFilters:
    """Which transactions a list shows. ``from`` and ``to`` bound when they began."""

    def __init__(
        self,
        station: Annotated[str | None, Query(description="Station id.")] = None,
        state: Annotated[Literal["active", "ended"] | None, Query()] = None,
        token_ref: Annotated[str | None, Query()] = None,
        since: Annotated[Time | None, Query(alias="from", description="Began at or after.")] = None,
        until: Annotated[Time | None, Query(alias="to", description="Began before.")] = None,
    ) -> None:
        self.query: dict[str, Any] = {}
        if station is not None:
            self.query["station_id"] = station
        if state is not None:
            self.query["state"] = state
        if token_ref is not None:
            self.query["token.token_ref"] = token_ref
        bounds = {"$gte": since, "$lt": until}
        window = {sign: value for sign, value in bounds.items() if value is not None}
        if window:
            self.query["first_at"] = window


def transactions_router(store: Store) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/transactions", tags=["transactions"])
    read = scope("transactions:read")

    @router.get("", summary="List transactions, the newest first", dependencies=[read])
    async def list_transactions(
        paging: Annotated[Paging, Depends()], filters: Annotated[TransactionFilters, Depends()]
    ) -> dict[str, Any]:
        after = await _edge(store, paging.starting_after)
        before = await _edge(store, paging.ending_before)
        found, more = await store.transaction.page(
            filters.query, limit=paging.limit, after=after, before=before
        )
        return page([_shown(record) for record in found], has_more=more)

    @router.get("/{ref}", summary="Show a transaction with its samples", dependencies=[read])
    async def get(ref: TransactionRef) -> dict[str, Any]:
        record = await store.transaction.find(ref)
        if record is None:
            raise not_found("transaction")
        samples = await store.transaction.samples_of(ref, _MOST_SAMPLE_SETS)
        return {**_shown(record), "samples": msgspec.to_builtins(samples)}

    return router


async def _edge(store: Store, ref: str | None) -> Record | None:
    if ref is None:
        return None
    record = await store.transaction.find(ref)
    if record is None:
        raise Problem(422, "invalid-request", "The cursor names no transaction.")
    return record


def _shown(record: Record) -> dict[str, Any]:
    """The public snapshot as JSON; ``samples`` are shown one by one only."""
    fields: dict[str, Any] = msgspec.to_builtins(
        snapshot(record, at=record.last_at, samples=()), builtin_types=(datetime,)
    )
    fields["updated_at"] = fields.pop("at")
    fields.setdefault("missing_seq_nos", [])
    fields.setdefault("doubts", [])
    fields.setdefault("energy_source", "unknown")
    fields.setdefault("offline", False)
    return {**dict.fromkeys(_ALWAYS), **fields}
