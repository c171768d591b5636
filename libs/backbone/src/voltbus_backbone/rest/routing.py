"""Routes that guard themselves by what they declare.

The order is the point: token and scope, then query and path, then the idempotency key, and only
then the body; after the answer, the audit. A stranger's request costs a signature check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from voltbus_backbone.errors import Problem
from voltbus_backbone.rest import documents
from voltbus_backbone.rest.access import Caller, Operators
from voltbus_backbone.rest.audit import Audit, record_change
from voltbus_backbone.rest.bodies import JSON, BodyRule, BoundedRequest, Rooms
from voltbus_backbone.rest.conventions import Idempotency
from voltbus_backbone.rest.parameters import check_path, check_query, query_names
from voltbus_backbone.rest.problems import as_problem
from voltbus_backbone.rest.replays import answered_once

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from fastapi.params import Depends as Dependency

_CALLER = "voltbus.caller"
_READS = ":read"
_REVEALS = ":reveal"


@dataclass
class Shared:
    """What the routes of an app share (``app.state.shared``)."""

    operators: Operators
    rooms: Rooms
    idempotency: Idempotency | None = None
    audit: Audit | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller's token must allow."""

    wanted: str

    def __call__(self, request: Request) -> None:
        """Check once more, for a route that nothing else guards."""
        _authorize(request, [self.wanted])


@dataclass(frozen=True, slots=True)
class NoIdempotency:
    """A route on which a key can have no meaning, and where to turn instead."""

    instead: str

    def __call__(self) -> None:
        """Depend on nothing: the route is asked."""


def scope(wanted: str) -> Any:
    """A dependency: the caller's bearer token must carry this scope (401 or 403 otherwise)."""
    return Depends(Scope(wanted))


def body_of(limit_bytes: int, *, streamed: bool = False) -> Any:
    """A dependency: the route takes a body of so many bytes; ``streamed``, it reads it itself."""
    return Depends(BodyRule(limit_bytes, streamed))


def no_idempotency(instead: str) -> Any:
    """A dependency: an ``Idempotency-Key`` is refused here, with this sentence."""
    return Depends(NoIdempotency(instead))


def _caller(request: Request) -> Caller:
    return _authorize(request, [])


WhoAsks = Annotated[Caller, Depends(_caller)]


class Route(APIRoute):
    """A route that lets through only what it declares."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        dependencies: Sequence[Dependency] | None = None,
        **options: Any,
    ) -> None:
        declared = [each.dependency for each in dependencies or ()]
        self.scopes = [each.wanted for each in declared if isinstance(each, Scope)]
        self._no_key = next((each for each in declared if isinstance(each, NoIdempotency)), None)
        self._rule = next((each for each in declared if isinstance(each, BodyRule)), None)
        methods = {str(method).upper() for method in options.get("methods") or {"GET"}}
        self.changes = methods != {"GET"} and not all(
            wanted.endswith(_READS) for wanted in self.scopes
        )
        self.audited = self.changes or any(wanted.endswith(_REVEALS) for wanted in self.scopes)
        self.keyed = methods == {"POST"}
        super().__init__(path, endpoint, dependencies=dependencies, **options)
        self.queries = query_names(self.dependant)
        documents.describe(self)

    @property
    def rule(self) -> BodyRule | None:
        """What the route takes as its body; None, it takes none."""
        return self._rule or (BodyRule() if self.body_field is not None else None)

    def _body(self) -> tuple[str, Any]:
        """The media type and the type of the body."""
        if self.body_field is None:
            return JSON, None
        info = self.body_field.field_info
        return str(getattr(info, "media_type", JSON)), info.annotation

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle a request once it is let through."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            caller = _authorize(request, self.scopes)
            check_path(request)
            check_query(request, self.queries)
            return await self._answer(request, caller, handle)

        return guarded

    async def _answer(
        self,
        request: Request,
        caller: Caller,
        handle: Callable[[Request], Coroutine[Any, Any, Response]],
    ) -> Response:
        shared: Shared = request.app.state.shared
        rule = self.rule or BodyRule(0)
        bounded = BoundedRequest(request.scope, request.receive, rule)

        async def work() -> Response:
            if not self.audited or shared.audit is None:
                return await handle(bounded)
            return await _audited(shared.audit, self, bounded, caller, handle)

        if rule.streamed:
            key = request.headers.get("idempotency-key")
            if key is not None and self._no_key is not None:
                raise Problem(422, "no-idempotency-key", self._no_key.instead)
            bounded.declared_bytes()
            async with shared.rooms.files.taken(1):
                return await work()
        if self.rule is None:
            return await self._once(shared, bounded, caller, b"", work)
        async with shared.rooms.bodies.taken(bounded.declared_bytes()):
            await bounded.load(*self._body())
            return await self._once(shared, bounded, caller, await bounded.body(), work)

    async def _once(
        self,
        shared: Shared,
        request: Request,
        caller: Caller,
        body: bytes,
        work: Callable[[], Coroutine[Any, Any, Response]],
    ) -> Response:
        key = request.headers.get("idempotency-key")
        if key is None or not self.keyed:
            return await work()
        if shared.idempotency is None:
            raise Problem(422, "no-idempotency-key", "No Idempotency-Key is kept here.")
        place = f"{caller.subject} {caller.client} {self.path}"
        return await answered_once(
            shared.idempotency, work, key=key, place=place, request=request, body=body
        )


class Router(APIRouter):
    """The router that services declare their routes on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, **options)


async def _audited(
    audit: Audit,
    route: Route,
    request: Request,
    caller: Caller,
    handle: Callable[[Request], Coroutine[Any, Any, Response]],
) -> Response:
    """The answer, once it is kept who asked for the change and what became of it."""
    status = 500
    try:
        response = await handle(request)
        status = response.status_code
    except Exception as error:
        problem = as_problem(error, request)
        status = problem.status if problem is not None else status
        raise
    finally:
        await record_change(audit, route.path, request, caller, status)
    return response


def _authorize(request: Request, wanted: Sequence[str]) -> Caller:
    """Who asks, when the token carries these scopes.

    Raises:
        Problem: 401 without a valid token, 403 without a scope.
    """
    caller: Caller | None = request.scope.get(_CALLER)
    if caller is None:
        shared: Shared = request.app.state.shared
        caller = request.scope[_CALLER] = shared.operators.caller(
            request.headers.get("authorization")
        )
    for each in wanted:
        if each not in caller.scopes:
            raise Problem(403, "forbidden", f"The token lacks the scope '{each}'.")
    return caller
