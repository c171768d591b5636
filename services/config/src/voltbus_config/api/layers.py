"""REST: the layers below a station's own: default, model, group and site."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, body_of, scope
from voltbus_backbone.rest import conventions as rest
from voltbus_backbone.rest.bodies import LARGER_BODY_BYTES
from voltbus_backbone.rest.conventions import Paging
from voltbus_config.api import views
from voltbus_config.api.bodies import SettingsBody
from voltbus_config.api.settings import to_layer_settings
from voltbus_config.domain.layers import LayerSettings
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.store import Session

Name = Annotated[
    str,
    Path(
        max_length=220,
        description="default, model:Vendor/Model, group:id or site:id.",
        examples=["default", "group:north", "model:Acme/Fast 2"],
    ),
]


def router(context: ServiceContext, reconciler: Reconciler) -> APIRouter:
    """Return the routes of layers."""
    routes = Router(prefix="/v1/layers", tags=["settings"])

    @routes.get("", dependencies=[scope("stations:read")], summary="List the layers")
    async def listed(paging: Annotated[Paging, Depends()]) -> dict[str, Any]:
        with context.store.reachable.watching():
            found, more = await context.store.page_layers(paging)
        return rest.page([views.show_layer(name, each) for name, each in found], has_more=more)

    @routes.put(
        "/{name:path}",
        dependencies=[scope("stations:write"), body_of(LARGER_BODY_BYTES)],
        summary="Set how every station of a layer should be set",
    )
    async def put(name: Name, body: SettingsBody) -> dict[str, Any]:
        settings = to_layer_settings(body)
        await _write(context, reconciler, name, settings)
        return views.show_layer(name, settings)

    @routes.get("/{name:path}", dependencies=[scope("stations:read")], summary="See a layer")
    async def get(name: Name) -> dict[str, Any]:
        _check(name)
        with context.store.reachable.watching():
            found = (await context.store.load_layers([name], None)).get(name)
        if found is None:
            raise not_found("layer")
        return views.show_layer(name, found)

    @routes.delete(
        "/{name:path}",
        status_code=204,
        dependencies=[scope("stations:write")],
        summary="Remove a layer",
    )
    async def remove(name: Name) -> Response:
        await _write(context, reconciler, name, None)
        return Response(status_code=204)

    return routes


async def _write(
    context: ServiceContext, reconciler: Reconciler, name: str, settings: LayerSettings | None
) -> None:
    """Store it; every station that it shapes is looked at, soon rather than at once."""
    _check(name)

    async def work(session: Session) -> None:
        if settings is None and name not in await context.store.load_layers([name], session):
            raise not_found("layer")
        await context.store.put_layer(name, settings, session)
        await mark(session)

    async def mark(session: Session | None = None) -> None:
        affected = await context.store.find_stations_of_layer(name, session)
        await context.store.schedule.mark_due(dict.fromkeys(affected, context.now()), session)

    await context.store.transact(work)
    # Behind the commit too: a station that joined meanwhile was not among them.
    with context.store.reachable.watching():
        await mark()
    reconciler.wake()


def _check(name: str) -> None:
    kind, _, rest_of_it = name.partition(":")
    shared = kind in {"model", "group", "site"} and rest_of_it
    if name != "default" and not (shared and (kind != "model" or "/" in rest_of_it)):
        raise Problem(
            422,
            "invalid-request",
            "A layer is default, model:Vendor/Model, group:id or site:id.",
            errors=[{"field": "name", "message": "no such kind of layer"}],
        )
