"""The REST interface of config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_config.api import commands, layers, reservations, settings, stations

if TYPE_CHECKING:
    from fastapi import APIRouter

    from voltbus_config.handlers.command_waiter import CommandWaiter
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.reconciler import Reconciler


def routers(
    context: ServiceContext, reconciler: Reconciler, waiter: CommandWaiter
) -> list[APIRouter]:
    """Return every router of this service."""
    return [
        stations.router(context, reconciler),
        settings.router(context, reconciler),
        layers.router(context, reconciler),
        commands.router(context, reconciler, waiter),
        reservations.router(context, reconciler),
    ]
