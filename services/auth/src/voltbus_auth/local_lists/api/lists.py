"""`/v1/local-lists`: which tokens belong on stations' lists; `/v1/stations/{id}/local-list`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from voltbus_auth.local_lists.api.bodies import (
    ListPage,
    Place,
    PlanAnswer,
    PlanPage,
    PlanRequest,
    WholeListAnswer,
    plan_key,
    shown,
    shown_plan,
    shown_whole,
)
from voltbus_auth.local_lists.domain.facts import Station
from voltbus_auth.local_lists.domain.plans import Plan
from voltbus_auth.local_lists.domain.station import Status, resend
from voltbus_auth.local_lists.handlers.lists import LocalLists
from voltbus_auth.local_lists.store.list_stores import ListStores
from voltbus_backbone.errors import Problem, Unavailable, not_found
from voltbus_backbone.rest import Router, body_of, scope
from voltbus_backbone.rest.bodies import LARGEST_BODY_BYTES
from voltbus_backbone.rest.conventions import Paging, etag, page, require_match
from voltbus_backbone.values.times import to_milliseconds

Name = Annotated[str, Path(min_length=1, max_length=255)]
IfMatch = Annotated[str | None, Header(description="The ETag that was last read.")]
Pages = Annotated[Paging, Depends()]

READ, WRITE = "tokens:read", "tokens:write"
_TRIES = 5


def local_lists_router(
    store: ListStores, lists: LocalLists, now: Callable[[], datetime]
) -> APIRouter:
    """The routes."""
    router = Router(tags=["local lists"])
    _add_reading(router, store)
    _add_writing(router, store, lists, now)
    _add_stations(router, store, lists, now)
    return router


def _add_reading(router: APIRouter, store: ListStores) -> None:
    @router.get("/v1/local-lists", summary="List plans", dependencies=[scope(READ)])
    async def list_plans(paging: Pages) -> PlanPage:
        found, more = await store.plan.page(paging)
        return PlanPage(**page([shown_plan(*one) for one in found], has_more=more))

    @router.get(
        "/v1/local-lists/stations",
        summary="List how stations' lists stand",
        dependencies=[scope(READ)],
    )
    async def list_stations(
        paging: Pages, state: Annotated[Status | None, Query()] = None
    ) -> ListPage:
        found, more = await store.local_list.page(state.value if state else None, paging)
        return ListPage(**page([shown(one) for one in found], has_more=more))

    @router.get("/v1/local-lists/{place}/{name}", summary="Show a plan", dependencies=[scope(READ)])
    async def get(place: Place, name: Name, response: Response) -> PlanAnswer:
        plan, updated_at = await _plan(store, plan_key(place, name))
        response.headers["ETag"] = etag(plan.revision)
        return shown_plan(plan, updated_at)


def _add_writing(
    router: APIRouter, store: ListStores, lists: LocalLists, now: Callable[[], datetime]
) -> None:
    @router.put(
        "/v1/local-lists/{place}/{name}",
        summary="Say which tokens belong on the lists of a group, a site or a station",
        description="201 for a new plan. One that is there needs If-Match.",
        dependencies=[scope(WRITE), body_of(LARGEST_BODY_BYTES)],
        responses={201: {"model": PlanAnswer, "description": "It is new."}},
    )
    async def put(
        place: Place, name: Name, body: PlanRequest, response: Response, if_match: IfMatch = None
    ) -> PlanAnswer:
        key, at = plan_key(place, name), to_milliseconds(now())
        known = await store.plan.find(key)
        if known is None:
            if if_match is not None:
                raise Problem(412, "precondition-failed", "There is no such plan any more.")
            plan = body.plan(key, 1)
            stored = await store.plan.create(plan, at)
            response.status_code = 201
        else:
            require_match(if_match, known[0].revision)
            plan = body.plan(key, known[0].revision + 1)
            stored = await store.plan.replace(plan, at)
        if not stored:
            raise Problem(412, "precondition-failed", "It has changed since: read it again.")
        await lists.marking.plan_changed(key)
        response.headers["ETag"] = etag(plan.revision)
        return shown_plan(plan, at)

    @router.delete(
        "/v1/local-lists/{place}/{name}",
        status_code=204,
        summary="Remove a plan: stations with no other are sent an empty list",
        dependencies=[scope(WRITE)],
    )
    async def delete(place: Place, name: Name, if_match: IfMatch = None) -> None:
        key = plan_key(place, name)
        plan, _ = await _plan(store, key)
        require_match(if_match, plan.revision)
        if not await store.plan.delete(key, plan.revision):
            raise Problem(412, "precondition-failed", "It has changed since: read it again.")
        await lists.marking.plan_changed(key)


def _add_stations(
    router: APIRouter, store: ListStores, lists: LocalLists, now: Callable[[], datetime]
) -> None:
    @router.get(
        "/v1/stations/{station_id}/local-list",
        summary="Show how a station's list stands, and the tokens on it by reference",
        dependencies=[scope(READ)],
    )
    async def state(station_id: Name) -> WholeListAnswer:
        return await _shown(store, await _station(store, station_id))

    @router.post(
        "/v1/stations/{station_id}/local-list/resend",
        status_code=202,
        summary="Send a station its whole list, whatever it is thought to hold",
        dependencies=[scope(WRITE)],
    )
    async def send_again(station_id: Name) -> WholeListAnswer:
        for _ in range(_TRIES):
            station = await _station(store, station_id)
            if not await store.plan.plans(station.plan_keys):
                raise Problem(409, "no-plan", "No plan is for this station.")
            at = to_milliseconds(now())
            after = replace(station, list=resend(station.list), due=at)
            if not await store.local_list.change([(station, after)]):
                lists.keeping.wake()
                return await _shown(store, after)
        raise Unavailable("others keep changing this station's list")


async def _plan(store: ListStores, key: str) -> tuple[Plan, datetime]:
    found = await store.plan.find(key)
    if found is None:
        raise not_found("plan")
    return found


async def _station(store: ListStores, station_id: str) -> Station:
    found = await store.local_list.find(station_id)
    if found is None:
        raise not_found("station")
    return found


async def _shown(store: ListStores, station: Station) -> WholeListAnswer:
    return shown_whole(station, sorted(await store.plan.plans(station.plan_keys)))
