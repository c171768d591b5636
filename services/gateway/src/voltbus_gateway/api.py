"""The gateway's REST interface: which stations are connected to this process."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest.conventions import Paging

if TYPE_CHECKING:
    from voltbus_gateway.connection.connection import Connection
    from voltbus_gateway.reports.refusals import Refusals
    from voltbus_gateway.sockets.connections import ConnectionRegistry


class ConnectionView(BaseModel):
    """A station's connection. ``registration`` is left empty while this gateway has not asked."""

    station_id: str
    connection_id: str
    protocol: str
    security_profile: int
    connected_at: datetime
    registration: str | None


class ConnectionList(BaseModel):
    """A page of connections, ordered by station id; ``total`` counts all of this process."""

    data: list[ConnectionView]
    has_more: bool
    total: int
    by_protocol: dict[str, int]


class RefusalView(BaseModel):
    """A log-in that was refused. ``count``: how often the same, up to then.

    ``station_id`` and ``path`` are as they were given, escaped and cut.
    """

    at: datetime
    station_id: str
    path: str
    address: str
    reason: str
    status: int
    count: int


class RefusalList(BaseModel):
    """The last hundred of this process, the newest first; not all when there were many at once."""

    data: list[RefusalView]


def router(connections: ConnectionRegistry, refusals: Refusals) -> APIRouter:
    """The routes."""
    routes = Router(prefix="/v1", tags=["connections"])

    @routes.get(
        "/connections",
        summary="List the stations that are connected to this gateway process",
        dependencies=[scope("stations:read")],
    )
    async def list_connections(paging: Annotated[Paging, Depends()]) -> ConnectionList:
        return _page(sorted(connections.list_current(), key=_station), paging)

    @routes.get(
        "/refusals",
        summary="List the log-ins that this gateway process refused, unknown stations' too",
        dependencies=[scope("stations:read")],
    )
    async def list_refusals() -> RefusalList:
        shown = [
            RefusalView.model_validate(msgspec.to_builtins(attempt, builtin_types=(datetime,)))
            for attempt in refusals.recent
        ]
        return RefusalList(data=shown[::-1])

    return routes


def _station(connection: Connection) -> str:
    return connection.station_id


def _page(ordered: list[Connection], paging: Paging) -> ConnectionList:
    wanted = ordered
    if paging.starting_after is not None:
        wanted = [
            connection for connection in ordered if connection.station_id > paging.starting_after
        ]
    elif paging.ending_before is not None:
        wanted = [
            connection for connection in ordered if connection.station_id < paging.ending_before
        ]
    more = len(wanted) > paging.limit
    shown = wanted[-paging.limit :] if paging.ending_before else wanted[: paging.limit]
    by_protocol: dict[str, int] = {}
    for connection in ordered:
        by_protocol[connection.protocol.value] = by_protocol.get(connection.protocol.value, 0) + 1
    return ConnectionList(
        data=[_view(connection) for connection in shown],
        has_more=more,
        total=len(ordered),
        by_protocol=by_protocol,
    )


def _view(connection: Connection) -> ConnectionView:
    return ConnectionView(
        station_id=connection.station_id,
        connection_id=connection.connection_id,
        protocol=connection.protocol.value,
        security_profile=connection.security_profile,
        connected_at=connection.connected_at,
        registration=connection.registration,
    )
