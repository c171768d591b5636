"""The REST interface of config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_config.api import commands, layers, reservations, settings, stations

if TYPE_CHECKING:
    from fastapi import APIRouter

    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.tending import Tending
    from voltbus_config.handlers.waiting import Waiting


def routers(context: ServiceContext, tending: Tending, waiting: Waiting) -> list[APIRouter]:
    """Every router of this service."""
    return [
        stations.router(context, tending),
        settings.router(context, tending),
        layers.router(context, tending),
        commands.router(context, tending, waiting),
        reservations.router(context, tending),
    ]
