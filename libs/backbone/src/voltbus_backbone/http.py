"""The HTTP side that every service shares: health, metrics, bearer tokens, problem documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from voltbus_backbone.bodies import misfit
from voltbus_backbone.errors import Problem, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from voltbus_backbone.access import Operators

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"


def build_app(name: str, operators: Operators, readiness: Callable[[], dict[str, bool]]) -> FastAPI:
    """An app with the shared routes and error shapes; the service includes its routers in it."""
    app = FastAPI(
        title=f"Voltbus {name}",
        version="1",
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.operators = operators
    app.add_middleware(BodyLimit)
    _add_health(app, readiness)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, _broken)
    return app


_ALLOWED = "voltbus.body_limit"


def allow_body(request: Request, limit_bytes: int) -> None:
    """Let this request's body be larger than others; for a route that reads it piece by piece."""
    request.scope[_ALLOWED] = limit_bytes


class BodyLimit:
    """Refuses bodies over 16 MiB, or what the route allows, before they are in memory (413)."""

    LIMIT_BYTES = 16 * 1024 * 1024

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope_: Scope, receive: Receive, send: Send) -> None:
        """Count what arrives, whatever Content-Length says."""
        if scope_["type"] != "http":
            await self._app(scope_, receive, send)
            return
        received = 0
        over = answering = False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            if received > scope_.get(_ALLOWED, self.LIMIT_BYTES):
                over = True
                return {"type": "http.disconnect"}  # whoever reads the body gives up
            return message

        async def unless_over(message: MutableMapping[str, Any]) -> None:
            nonlocal answering
            if answering or not over:
                answering = True
                await send(message)

        try:
            await self._app(scope_, counted, unless_over)
        except ClientDisconnect:
            if not over:
                raise
        if over and not answering:
            most = scope_.get(_ALLOWED, self.LIMIT_BYTES) // (1024 * 1024)
            too_large = Problem(413, "too-large", f"A body may have {most} MiB at most.")
            await answer(too_large)(scope_, receive, send)


def scope(wanted: str) -> Any:
    """A dependency: the caller's bearer token must carry this scope (401 or 403 otherwise)."""

    def check(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
        operators: Operators = request.app.state.operators
        if wanted not in operators.scopes(authorization):
            raise Problem(403, "forbidden", f"The token lacks the scope '{wanted}'.")

    return Depends(check)


def _add_health(app: FastAPI, readiness: Callable[[], dict[str, bool]]) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        checks = readiness()
        ready = all(checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def answer(problem: Problem) -> JSONResponse:
    """A problem as a response."""
    return JSONResponse(
        problem.body(), status_code=problem.status, media_type=PROBLEM, headers=problem.headers
    )


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - registered for Problem only
    return answer(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """422 with the fields; what the request holds stays out, since it may be a secret."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it only
    route = request.scope.get("route")
    body = route.body_field if isinstance(route, APIRoute) else None
    kind = body.field_info.annotation if body is not None else None
    return answer(misfit(error.errors(), kind))


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it only
    kinds = {
        400: "unreadable-request",
        404: "not-found",
        405: "method-not-allowed",
        415: "unsupported-media-type",
    }
    kind = kinds.get(error.status_code, "http-error")
    return answer(
        Problem(error.status_code, kind, str(error.detail), headers=dict(error.headers or {}))
    )


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("http.unavailable", reason=str(error))
    return answer(
        Problem(
            503,
            "unavailable",
            "A server this service needs does not answer now; try again.",
            headers={"Retry-After": "2"},
        )
    )


async def _broken(request: Request, error: Exception) -> JSONResponse:
    log.error("http.failed", path=request.scope.get("route_path", ""), exc_info=error)
    return answer(Problem(500, "internal-error", "This request could not be carried out."))
