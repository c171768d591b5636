"""`/v1/rotations` and `/v1/upgrades`: how changes of passwords and security profiles stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from voltbus_auth.credentials.domain.changes.change import Change, Kind, State, ended
from voltbus_auth.credentials.handlers.changes import write
from voltbus_auth.credentials.store.changes import ChangeStore, OvertakenError
from voltbus_auth.credentials.store.credentials import CredentialStore
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest.conventions import SortedPaging, page
from voltbus_backbone.values.times import to_milliseconds

ChangeId = Annotated[str, Path(pattern=r"^[0-9a-z:.-]{1,128}$", description="Its id.")]


class ChangeAnswer(BaseModel):
    """How a rotation or an upgrade stands. No password is ever in it."""

    id: str
    station_id: str
    state: State = Field(description="succeeded and failed are final.")
    detail: str = Field(description="In words.")
    security_profile: int | None = Field(default=None, description="An upgrade's target.")
    step: int = Field(description="From 0; a rotation has one.")
    command_id: str | None = Field(description="The step's command at config.")
    created_at: datetime
    since: datetime = Field(description="When the present state began.")
    expires_at: datetime | None = Field(description="Until when the command waits.")
    ended_at: datetime | None
    fleet_id: str | None = None
    warnings: list[str] = []


class ChangePage(BaseModel):
    """A page of them."""

    data: list[ChangeAnswer]
    has_more: bool


class SettleRequest(BaseModel):
    """Which password stays."""

    model_config = ConfigDict(extra="forbid")

    keep: Literal["new", "earlier"]


class Filters:
    """Which ones a list shows."""

    def __init__(
        self,
        state: Annotated[State | None, Query()] = None,
        station_id: Annotated[str | None, Query(max_length=48)] = None,
        fleet_id: Annotated[str | None, Query(max_length=64)] = None,
    ) -> None:
        given = {"state": state and state.value, "station_id": station_id, "fleet_id": fleet_id}
        self.query: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }


def shown(change: Change, warnings: list[str] | None = None) -> ChangeAnswer:
    """What an operator sees of it."""
    profile = change.profile
    return ChangeAnswer(
        id=change.id,
        station_id=change.station_id,
        state=change.state,
        detail=change.detail,
        security_profile=profile.security_profile if profile is not None else None,
        step=change.step,
        command_id=change.command_id,
        created_at=change.created_at,
        since=change.since,
        expires_at=change.expires_at,
        ended_at=change.ended_at,
        fleet_id=change.fleet_id,
        warnings=warnings or [],
    )


def changes_router(
    store: ChangeStore, credentials: CredentialStore, now: Callable[[], datetime]
) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1", tags=["credentials"])
    for kind, path in ((Kind.ROTATION, "/rotations"), (Kind.UPGRADE, "/upgrades")):
        _add_reading(router, store, kind, path)

    @router.post(
        "/rotations/{change_id}/settle",
        summary="Say which password a station uses, when nothing else does",
        dependencies=[scope("stations:write")],
    )
    async def settle(change_id: ChangeId, body: SettleRequest) -> ChangeAnswer:
        change = await _found(store, Kind.ROTATION, change_id)
        after = _settled(change, body, to_milliseconds(now()))
        try:
            await write(store, credentials, [after], {change.id: change.revision})
        except OvertakenError:
            raise Problem(409, "conflict", "It changed at the same moment: look again.") from None
        return shown(after)

    return router


def _add_reading(router: APIRouter, store: ChangeStore, kind: Kind, path: str) -> None:
    read = scope("stations:read")

    @router.get(path, summary=f"List {path[1:]}, the newest first", dependencies=[read])
    async def list_changes(
        paging: Annotated[SortedPaging, Depends()], filters: Annotated[Filters, Depends()]
    ) -> ChangePage:
        found, more = await store.page({"kind": kind.value, **filters.query}, paging)
        return ChangePage.model_validate(page([shown(one) for one in found], has_more=more))

    @router.get(
        path + "/{change_id}", summary=f"How one of the {path[1:]} stands", dependencies=[read]
    )
    async def get_change(change_id: ChangeId) -> ChangeAnswer:
        return shown(await _found(store, kind, change_id))


async def _found(store: ChangeStore, kind: Kind, change_id: str) -> Change:
    change = await store.get(change_id)
    if change is None or change.kind is not kind:
        raise not_found(kind.value)
    return change


def _settled(change: Change, body: SettleRequest, at: datetime) -> Change:
    """End an unsettled rotation as the operator says.

    Raises:
        Problem: 409, its command is still under way, or it has ended.
    """
    if change.state is not State.UNSETTLED:
        raise Problem(
            409,
            "not-unsettled",
            f"The rotation is {change.state.value}. Only an unsettled one can be settled; a "
            "command that waits is cancelled at config (DELETE /v1/commands/{command_id}).",
        )
    state = State.SUCCEEDED if body.keep == "new" else State.FAILED
    return ended(change, state, at, f"the operator kept the {body.keep} password")
