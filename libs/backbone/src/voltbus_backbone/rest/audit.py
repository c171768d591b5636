"""Who changed what over REST: a line in the log, and a record that `GET /v1/audit` shows."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from voltbus_backbone.errors import Problem, Unavailable
from voltbus_backbone.rest.conventions import Paging, SortedPaging, page
from voltbus_backbone.rest.validation import Time

if TYPE_CHECKING:
    from fastapi import Request

    from voltbus_backbone.rest.access import Caller

log = structlog.get_logger(__name__)

_UNNAMED = "voltbus.audit_unnamed"


@dataclass(frozen=True, slots=True)
class Change:
    """A request that changes something, and what became of it.

    ``resource`` holds the path's parameters by name; ``family`` is ``ipv4``, ``ipv6`` or empty.
    """

    at: datetime
    by: str
    client: str
    method: str
    route: str
    resource: dict[str, str]
    status: int
    family: str


class Audit(Protocol):
    """Where changes are kept."""

    async def add(self, change: Change) -> None:
        """Keep one. Raises Unavailable."""
        ...

    async def page(
        self, query: AuditQuery, paging: Paging
    ) -> tuple[list[tuple[str, Change]], bool]:
        """Some of them with their ids, and whether there are more in the page's direction."""
        ...


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What a list is narrowed to; None narrows nothing. ``since`` is inclusive, ``until`` not."""

    by: str | None = None
    client: str | None = None
    method: str | None = None
    route: str | None = None
    resource: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def leave_out_resource(request: Request) -> None:
    """Record this request without what it names: the caller had it forgotten."""
    request.scope[_UNNAMED] = True


async def record_change(
    audit: Audit, route: str, request: Request, caller: Caller, status: int
) -> None:
    """Log a change and keep it; a store that is away takes only the record, never the answer."""
    named = {} if request.scope.get(_UNNAMED) else request.path_params
    change = Change(
        at=datetime.now(UTC),
        by=caller.subject,
        client=caller.client,
        method=request.method,
        route=route,
        resource={name: str(value) for name, value in named.items()},
        status=status,
        family=_family(request),
    )
    log.info(
        "rest.change",
        by=change.by,
        client=change.client,
        method=change.method,
        route=change.route,
        resource=change.resource,
        status=change.status,
        family=change.family,
    )
    try:
        await audit.add(change)
    except Unavailable as error:
        log.warning("rest.change-not-kept", route=change.route, reason=str(error))


class ChangeAnswer(BaseModel):
    """A request that changed something, or tried to."""

    id: str
    at: datetime
    by: str = Field(description="The subject of the bearer token.")
    client: str | None = Field(description="The client that the token was issued to, if it says.")
    method: str
    route: str = Field(description="As in this document, such as /v1/tokens/{ref}.")
    resource: dict[str, str] = Field(description="The path's parameters.")
    status: int
    family: str | None = Field(description="ipv4 or ipv6: how the caller was connected.")


class ChangePage(BaseModel):
    """A page of changes."""

    data: list[ChangeAnswer]
    has_more: bool


def _filters(
    *,
    by: Annotated[str | None, Query(max_length=200)] = None,
    client: Annotated[str | None, Query(max_length=200)] = None,
    method: Annotated[str | None, Query(max_length=10)] = None,
    route: Annotated[str | None, Query(max_length=200)] = None,
    resource: Annotated[
        str | None, Query(max_length=300, description="A value of the path's parameters.")
    ] = None,
    status: Annotated[int | None, Query(ge=100, le=599)] = None,
    since: Annotated[Time | None, Query(alias="from", description="At or after.")] = None,
    until: Annotated[Time | None, Query(alias="to", description="Before.")] = None,
) -> AuditQuery:
    method = method.upper() if method is not None else None
    return AuditQuery(by, client, method, route, resource, status, since, until)


def audit_router(audit: Audit, router: APIRouter, read: Any) -> APIRouter:
    """Add the list of changes to a router; ``read`` is the scope that it needs."""

    @router.get("/v1/audit", summary="List who changed what", dependencies=[read], tags=["audit"])
    async def list_changes(
        paging: Annotated[SortedPaging, Depends()], query: Annotated[AuditQuery, Depends(_filters)]
    ) -> ChangePage:
        try:
            found, more = await audit.page(query, paging)
        except ValueError:
            raise Problem(422, "invalid-request", "The cursor names no change.") from None
        return ChangePage.model_validate(
            page([_shown(name, change) for name, change in found], has_more=more)
        )

    return router


def _shown(name: str, change: Change) -> ChangeAnswer:
    return ChangeAnswer(
        id=name,
        at=change.at,
        by=change.by,
        client=change.client or None,
        method=change.method,
        route=change.route,
        resource=change.resource,
        status=change.status,
        family=change.family or None,
    )


def _family(request: Request) -> str:
    if request.client is None:
        return ""
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.version == 6 and getattr(address, "ipv4_mapped", None)  # noqa: PLR2004 - IPv6
    return "ipv4" if mapped or address.version == 4 else "ipv6"  # noqa: PLR2004 - IPv4
