"""REST: register stations, see them, change and remove them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response

from voltbus_backbone.contract.registry import STATION_REGISTERED
from voltbus_backbone.contract.stations import StationRegistered
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest import conventions as rest
from voltbus_backbone.rest.conventions import Paging, SortedPaging
from voltbus_backbone.rest.validation import checked
from voltbus_config.api import views
from voltbus_config.api.bodies import NewStation, StationChange
from voltbus_config.domain.outgoing import OutgoingMessage, build_registration_changed
from voltbus_config.domain.stations import RegisteredStation, Registration, effective_registration
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.handlers.reservations import ReservationHandler
from voltbus_config.store import Session

Patch = dict[str, Any]


def router(context: ServiceContext, reconciler: Reconciler) -> APIRouter:
    """Return the routes of stations."""
    routes = Router(prefix="/v1/stations", tags=["stations"])
    stations = StationService(context, reconciler)

    @routes.post(
        "",
        status_code=201,
        dependencies=[scope("stations:write")],
        summary="Register a station",
    )
    async def create(body: NewStation, response: Response) -> dict[str, Any]:
        await stations.create(body)
        response.headers["Location"] = f"/v1/stations/{quote(body.id, safe='')}"
        response.headers["ETag"] = rest.etag(1)
        _, shown = await stations.see(body.id)
        return shown

    @routes.get("", dependencies=[scope("stations:read")], summary="List stations")
    async def listed(
        paging: Annotated[SortedPaging, Depends()],
        registration: Registration | None = None,
        group_id: Annotated[str | None, Query(max_length=100)] = None,
        site_id: Annotated[str | None, Query(max_length=100)] = None,
        connected: bool | None = None,  # noqa: FBT001 - a query parameter, always named
    ) -> dict[str, Any]:
        filters = {"registration": registration, "group_id": group_id, "site_id": site_id}
        query = {name: str(value) for name, value in filters.items() if value is not None}
        return await stations.page(query, connected, paging)

    @routes.get("/{station_id}", dependencies=[scope("stations:read")], summary="See a station")
    async def see(station_id: str, response: Response) -> dict[str, Any]:
        found, shown = await stations.see(station_id)
        response.headers["ETag"] = rest.etag(found.revision)
        return shown

    @routes.patch(
        "/{station_id}",
        dependencies=[scope("stations:write")],
        summary="Change a station (JSON merge patch)",
    )
    async def change(
        station_id: str,
        body: Patch,
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        await stations.change(station_id, body, if_match)
        found, shown = await stations.see(station_id)
        response.headers["ETag"] = rest.etag(found.revision)
        return shown

    @routes.delete(
        "/{station_id}",
        status_code=204,
        dependencies=[scope("stations:write")],
        summary="Remove a station",
    )
    async def remove(station_id: str, if_match: Annotated[str | None, Header()] = None) -> Response:
        await stations.remove(station_id, if_match)
        return Response(status_code=204)

    return routes


class StationService:
    """What the routes do."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler

    async def create(self, body: NewStation) -> None:
        """Register; 409 for an id that is taken."""
        now = self._context.now()
        station = RegisteredStation(
            id=body.id,
            registration=body.registration,
            revision=1,
            created_at=now,
            updated_at=now,
            group_id=body.group_id,
            site_id=body.site_id,
            evse_kinds=body.evse_kinds,
            metadata=body.metadata,
        )

        async def work(session: Session) -> None:
            if await self._context.store.stations.find(body.id, session) is not None:
                raise Problem(409, "already-exists", "There is a station with this id already.")
            await self._write(None, station, session)

        await self._commit(work)
        await self._mark_due(body.id)

    async def see(self, station_id: str) -> tuple[RegisteredStation, dict[str, Any]]:
        """One station; 404 when there is none."""
        store = self._context.store
        with store.reachable.watching():
            found = await store.stations.find(station_id)
            if found is None:
                raise not_found("station")
            presence = await store.presence.find(station_id)
            return found, views.show_station(found, presence, await store.desired.find(station_id))

    async def page(
        self,
        query: dict[str, str],
        connected: bool | None,  # noqa: FBT001 - a filter
        paging: Paging,
    ) -> dict[str, Any]:
        """Return a page of stations, by when they were registered."""
        store = self._context.store
        with store.reachable.watching():
            found, more = await store.page_stations(query, connected, paging)
            ids = [station.id for station in found]
            presence = await store.presence.get(ids)
            desired = await store.desired.get(ids)
        shown = [
            views.show_station(each, presence.get(each.id), desired.get(each.id)) for each in found
        ]
        return rest.page(shown, has_more=more)

    async def change(self, station_id: str, patch: Patch, if_match: str | None) -> None:
        """Apply a merge patch to what an operator may change."""

        async def work(session: Session) -> None:
            before = await self._require(station_id, if_match, session)
            current = {
                "registration": before.registration.value,
                "group_id": before.group_id,
                "site_id": before.site_id,
                "evse_kinds": before.evse_kinds,
                "metadata": before.metadata,
            }
            body = checked(StationChange, rest.merge_patch(current, patch))
            after = msgspec.structs.replace(
                before,
                registration=body.registration,
                group_id=body.group_id,
                site_id=body.site_id,
                evse_kinds=body.evse_kinds,
                metadata=body.metadata,
            )
            if after != before:
                await self._write(before, after, session)

        await self._commit(work)
        await self._mark_due(station_id)

    async def remove(self, station_id: str, if_match: str | None) -> None:
        """Forget a station, its settings layer and its queue."""
        context = self._context

        async def work(session: Session) -> None:
            before = await self._require(station_id, if_match, session)
            await context.store.stations.remove([station_id], session)
            await context.store.put_layer(f"station:{station_id}", None, session)
            await self._publish(before, None, session)
            await ReservationHandler(context).remove_station(station_id, context.now(), session)
            await self._reconciler.reconcile([station_id], session)

        await self._commit(work)

    async def _require(
        self, station_id: str, if_match: str | None, session: Session
    ) -> RegisteredStation:
        found = await self._context.store.stations.find(station_id, session)
        if found is None:
            raise not_found("station")
        rest.require_match(if_match, found.revision, required=False)
        return found

    async def _write(
        self, before: RegisteredStation | None, after: RegisteredStation, session: Session
    ) -> None:
        if before is not None:
            after = msgspec.structs.replace(
                after, revision=before.revision + 1, updated_at=self._context.now()
            )
        await self._context.store.stations.put([after], session)
        await self._publish(before, after, session)
        await self._reconciler.reconcile([after.id], session)

    async def _publish(
        self, before: RegisteredStation | None, after: RegisteredStation | None, session: Session
    ) -> None:
        """An event for everyone, and the gateway that holds the station learns how it stands."""
        context, now = self._context, self._context.now()
        known = after or before
        assert known is not None  # noqa: S101 - one of them is given
        revision = known.revision + (1 if after is None else 0)
        policy = context.settings.unknown_station
        status = effective_registration(after, policy).ocpp
        event = StationRegistered(
            station_id=known.id,
            status=(policy if after is None else after.registration).ocpp,
            at=now,
            removed=after is None,
        )
        ident = f"registered:{known.id}:{int(known.created_at.timestamp() * 1000)}:{revision}"
        messages = [OutgoingMessage(STATION_REGISTERED, event, ident)]
        presence = await context.store.presence.find(known.id, session)
        connection = None if presence is None else presence.connection
        if (
            connection is not None
            and connection.open
            and effective_registration(before, policy).ocpp != status
        ):
            messages.append(build_registration_changed(known.id, status, connection, revision))
        await context.add_to_outbox(messages, now, session)

    async def _mark_due(self, station_id: str) -> None:
        """Behind the commit: a layer or an agreement that came meanwhile was seen by neither."""
        with self._context.store.reachable.watching():
            await self._context.store.schedule.mark_due({station_id: self._context.now()})
        self._reconciler.wake()

    async def _commit(self, work: Any) -> None:
        await self._context.store.transact(work)
        self._context.outbox.wake()
        self._reconciler.wake()
