"""`POST /v1/rotations` and `/v1/rotations/fleets`: rotations of many stations at a pace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field, StringConstraints, model_validator

from voltbus_auth.credentials.api.changes import ChangeId
from voltbus_auth.credentials.api.rotating import Beginning, RotateRequest
from voltbus_auth.credentials.domain.changes import fleet as pacing
from voltbus_auth.credentials.domain.changes.fleet import Fleet, FleetState
from voltbus_auth.credentials.store.fleets import FleetStore
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, body_of, scope
from voltbus_backbone.rest.bodies import LARGEST_BODY_BYTES
from voltbus_backbone.rest.conventions import SortedPaging, page
from voltbus_backbone.values.times import to_milliseconds

_SHOWN_SKIPPED = 100
Name = Annotated[str, StringConstraints(min_length=1, max_length=48)]
Place = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class FleetRequest(RotateRequest):
    """Which stations, and how carefully. Exactly one of the first three."""

    stations: list[Name] | None = Field(default=None, min_length=1, max_length=50_000)
    group_id: Place | None = None
    site_id: Place | None = None
    at_once: int = Field(default=10, ge=1, le=1000, description="Commands under way at once.")
    per_minute: float = Field(default=60.0, gt=0, le=60_000, description="Stations begun.")
    most_failures: int = Field(default=10, ge=1, description="It stops at so many failed ones.")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if sum(each is not None for each in (self.stations, self.group_id, self.site_id)) != 1:
            raise ValueError("give exactly one of stations, group_id and site_id")
        return self


class Skipped(BaseModel):
    """A station that was passed over."""

    station_id: str
    reason: str


class FleetAnswer(BaseModel):
    """How the rotations of a fleet stand. The rotations: `/v1/rotations?fleet_id=`."""

    id: str
    state: FleetState
    detail: str
    created_at: datetime
    ended_at: datetime | None
    at_once: int
    per_minute: float
    most_failures: int
    total: int
    waiting: int
    open: int = Field(description="With a command under way.")
    unsettled: int
    succeeded: int
    failed: int
    skipped: int
    skipped_stations: list[Skipped] = Field(description="The first hundred.")


class FleetList(BaseModel):
    """A page of fleets."""

    data: list[FleetAnswer]
    has_more: bool


def fleets_router(beginning: Beginning) -> APIRouter:
    """The routes. Before those of single rotations, whose ids could be `fleets` else."""
    router = Router(prefix="/v1/rotations", tags=["credentials"])
    store, read, write = beginning.fleet, scope("stations:read"), scope("stations:write")

    @router.post(
        "",
        status_code=202,
        summary="Give many stations new passwords, at a pace",
        dependencies=[write, body_of(LARGEST_BODY_BYTES)],
    )
    async def start(body: FleetRequest, response: Response) -> FleetAnswer:
        fleet = await _start(beginning, body)
        response.headers["Location"] = f"/v1/rotations/fleets/{fleet.id}"
        return fleet

    @router.get("/fleets", summary="List fleets, the newest first", dependencies=[read])
    async def list_fleets(paging: Annotated[SortedPaging, Depends()]) -> FleetList:
        found, more = await store.page(paging)
        return FleetList(**page([await _shown(store, fleet) for fleet in found], has_more=more))

    @router.get("/fleets/{fleet_id}", summary="How a fleet stands", dependencies=[read])
    async def get_fleet(fleet_id: ChangeId) -> FleetAnswer:
        return await _shown(store, await _found(store, fleet_id))

    @router.post("/fleets/{fleet_id}/pause", summary="Begin no more", dependencies=[write])
    async def pause(fleet_id: ChangeId) -> FleetAnswer:
        return await _changed(store, fleet_id, None)

    @router.post("/fleets/{fleet_id}/resume", summary="Go on", dependencies=[write])
    async def resume(fleet_id: ChangeId) -> FleetAnswer:
        return await _changed(store, fleet_id, beginning.now)

    return router


async def _start(beginning: Beginning, body: FleetRequest) -> FleetAnswer:
    names = body.stations
    if names is None:
        names = await beginning.projection.members(group_id=body.group_id, site_id=body.site_id)
    if not names:
        raise Problem(422, "no-stations", "No station is known of that group or site.")
    names = list(dict.fromkeys(names))
    seen = await beginning.change.presences(names)
    here = {name for name, presence in seen.items() if presence.open}
    now = to_milliseconds(beginning.now())
    fleet = Fleet(
        id=beginning.new_id(now),
        state=FleetState.RUNNING,
        created_at=now,
        at_once=body.at_once,
        per_minute=body.per_minute,
        most_failures=body.most_failures,
        wait_s=body.wait_s or beginning.change_wait_s,
        timeout_s=body.timeout_s,
        total=len(names),
        next_at=now,
        revision=1,
    )
    await beginning.fleet.add(
        pacing.begin(fleet, now), [(name, name not in here) for name in names]
    )
    return await _shown(beginning.fleet, fleet)


async def _found(store: FleetStore, fleet_id: str) -> Fleet:
    fleet = await store.get(fleet_id)
    if fleet is None:
        raise not_found("fleet")
    return fleet


async def _changed(
    store: FleetStore, fleet_id: str, resume_at: Callable[[], datetime] | None
) -> FleetAnswer:
    """Pause, or resume at a time.

    Raises:
        Problem: 409, it cannot be, or it changed again and again meanwhile.
    """
    for _ in range(10):  # the fleet is written once a second while it runs
        fleet = await _found(store, fleet_id)
        if resume_at is None:
            after = pacing.paused(fleet)
        else:
            progress = await store.progress(fleet_id)
            after = pacing.resumed(fleet, progress, to_milliseconds(resume_at()))
        if after is None:
            raise Problem(409, "wrong-state", f"The fleet is {fleet.state.value}.")
        if await store.write(after):
            return await _shown(store, after)
    raise Problem(409, "conflict", "It changed at the same moment: try again.")


async def _shown(store: FleetStore, fleet: Fleet) -> FleetAnswer:
    progress = await store.progress(fleet.id)
    skipped = await store.skipped(fleet.id, _SHOWN_SKIPPED) if progress.skipped else []
    return FleetAnswer(
        id=fleet.id,
        state=fleet.state,
        detail=fleet.detail,
        created_at=fleet.created_at,
        ended_at=fleet.ended_at,
        at_once=fleet.at_once,
        per_minute=fleet.per_minute,
        most_failures=fleet.most_failures,
        total=fleet.total,
        waiting=progress.waiting,
        open=progress.open,
        unsettled=progress.unsettled,
        succeeded=progress.succeeded,
        failed=progress.failed,
        skipped=progress.skipped,
        skipped_stations=[Skipped(station_id=name, reason=why) for name, why in skipped],
    )
