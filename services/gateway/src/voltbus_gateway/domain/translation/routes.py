"""The route table: what becomes of every action that a station may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_gateway.domain.translation import v16, v21, v201
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.schemas import actions

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.translation.route import Route

ROUTES: tuple[Route, ...] = (*v16.ROUTES, *v201.ROUTES, *v21.ROUTES)

_TABLE = {(route.protocol, route.action): route for route in ROUTES}


def find_route(protocol: Protocol, action: str) -> Route:
    """Return the route of an action.

    Raises:
        CallFailed: NotSupported for an action that only we may send, NotImplemented for one that
            the version doesn't know.
    """
    route = _TABLE.get((protocol, action))
    if route is not None:
        return route
    if action in actions(protocol):
        raise CallFailed(ErrorCode.NOT_SUPPORTED, "A charging station doesn't send this action")
    raise CallFailed(ErrorCode.NOT_IMPLEMENTED, "This OCPP version has no such action")
