"""REST: how a station should be set, and how far that has come."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from voltbus_backbone.contract.values import ChargingSpeed
from voltbus_backbone.errors import not_found
from voltbus_backbone.rest import Router, body_of, scope
from voltbus_backbone.rest.bodies import LARGER_BODY_BYTES
from voltbus_config.api import views
from voltbus_config.api.bodies import SettingsBody
from voltbus_config.domain.desired import Desired
from voltbus_config.domain.layers import LayerSettings
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.store import Session


def router(context: ServiceContext, reconciler: Reconciler) -> APIRouter:
    """Return the routes of settings."""
    routes = Router(prefix="/v1/stations", tags=["settings"])

    @routes.put(
        "/{station_id}/settings",
        dependencies=[scope("stations:write"), body_of(LARGER_BODY_BYTES)],
        summary="Set how a station should be set (replaces the station's own layer)",
    )
    async def put(station_id: str, body: SettingsBody) -> dict[str, Any]:
        settings = to_layer_settings(body)

        async def work(session: Session) -> None:
            if await context.store.stations.find(station_id, session) is None:
                raise not_found("station")
            await context.store.put_layer(f"station:{station_id}", settings, session)
            await reconciler.reconcile([station_id], session)

        await context.store.transact(work)
        context.outbox.wake()
        reconciler.wake()
        return await _show(context, station_id)

    @routes.get(
        "/{station_id}/settings",
        dependencies=[scope("stations:read")],
        summary="See each setting: wanted, reported and state",
    )
    async def get(station_id: str) -> dict[str, Any]:
        with context.store.reachable.watching():
            if await context.store.stations.find(station_id) is None:
                raise not_found("station")
        return await _show(context, station_id)

    return routes


async def _show(context: ServiceContext, station_id: str) -> dict[str, Any]:
    with context.store.reachable.watching():
        desired = await context.store.desired.find(station_id)
    return views.show_settings(station_id, desired or Desired(id=station_id))


def to_layer_settings(body: SettingsBody) -> LayerSettings:
    """Return the body as a layer.

    Raises:
        Problem: 422 for opening hours that cannot be understood.
    """
    speed, opening = body.charging_speed, body.opening_hours
    return LayerSettings(
        charging_speed=None if speed is None else ChargingSpeed(limit=speed.limit, unit=speed.unit),
        payment_methods=None if body.payment_methods is None else tuple(body.payment_methods),
        opening_hours=None if opening is None else opening.as_contract(),
        keys={key: _text(value) for key, value in body.keys.items()},
    )


def _text(value: str | float) -> str:
    """The value as stations write it: true and false in lower case, whole numbers as such."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
