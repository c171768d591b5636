"""The REST interface of config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_config.api import commands, layers, reservations, settings, stations

if TYPE_CHECKING:
    from fastapi import APIRouter

    from voltbus_config.handlers.records import Shell
    from voltbus_config.handlers.tending import Tending
    from voltbus_config.handlers.waiting import Waiting


def routers(shell: Shell, tending: Tending, waiting: Waiting) -> list[APIRouter]:
    """Every router of this service."""
    return [
        stations.router(shell, tending),
        settings.router(shell, tending),
        layers.router(shell, tending),
        commands.router(shell, tending, waiting),
        reservations.router(shell, tending),
    ]
