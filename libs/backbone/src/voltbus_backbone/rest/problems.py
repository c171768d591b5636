"""Whatever goes wrong is answered with a problem document (RFC 9457), and says nothing secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from voltbus_backbone.errors import Problem, Unavailable
from voltbus_backbone.rest.validation import misfit
from voltbus_backbone.values.storable import NotStorableError

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"

_KINDS = {
    400: "unreadable-request",
    404: "not-found",
    405: "method-not-allowed",
    415: "unsupported-media-type",
}


def answer(problem: Problem) -> JSONResponse:
    """Make a response of a problem."""
    return JSONResponse(
        problem.body(), status_code=problem.status, media_type=PROBLEM, headers=problem.headers
    )


def as_problem(error: Exception, request: Request) -> Problem | None:
    """Say what a refusal means to the caller; None for what is a fault of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        route = request.scope.get("route")
        body = route.body_field if isinstance(route, APIRoute) else None
        return misfit(error.errors(), body.field_info.annotation if body is not None else None)
    if isinstance(error, HTTPException):
        kind = _KINDS.get(error.status_code, "http-error")
        headers = dict(error.headers or {})
        return Problem(error.status_code, kind, str(error.detail), headers=headers)
    if isinstance(error, NotStorableError):
        return not_storable("request", error)
    if isinstance(error, Unavailable):
        return Problem(
            503,
            "unavailable",
            "A server this service needs does not answer now; try again.",
            headers={"Retry-After": "2"},
        )
    return None


def not_storable(field: str, error: NotStorableError) -> Problem:
    """422 for a value that cannot be kept; the value itself is not repeated."""
    fields = [{"field": field, "message": str(error)}]
    return Problem(
        422, "invalid-request", "The request does not fit this operation.", errors=fields
    )


def add_handlers(app: FastAPI) -> None:
    """Have every failure of this app answered so."""
    for kind in (Problem, RequestValidationError, HTTPException, NotStorableError, Unavailable):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(Exception, _broken)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Unavailable):
        log.warning("http.unavailable", reason=str(error))
    problem = as_problem(error, request)
    assert problem is not None  # noqa: S101 - registered for these kinds only
    return answer(problem)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    route = request.scope.get("route")
    log.error("http.failed", path=getattr(route, "path", ""), exc_info=error)
    return answer(Problem(500, "internal-error", "This request could not be carried out."))
