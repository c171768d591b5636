"""The OpenAPI documents: what a route declares, with every error that follows from it.

One table says which errors a request can meet; a route's shape says which rows are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltbus_backbone.rest.routing import Route

BEARER = "bearer"
_PROBLEM_TYPE = "application/problem+json"
_SCHEMA = {"$ref": "#/components/schemas/Problem"}

ERRORS = {
    400: "The request cannot be read",
    401: "No valid bearer token",
    403: "The token lacks a scope",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "It cannot be done as things stand",
    412: "It has changed since it was read",
    413: "The body is too large",
    415: "The body is of another media type",
    422: "The request does not fit this operation",
    428: "If-Match is missing",
    500: "A fault of the service",
    503: "Try again later",
}

PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:voltbus:problem:<kind>"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do next."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request again has no effect, and gets the first answer for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def describe(route: Route) -> None:
    """Add to a route's description what its shape means for callers."""
    route.responses = {
        **{status: _response(ERRORS[status]) for status in sorted(_statuses(route))},
        **route.responses,
    }
    extra = dict(route.openapi_extra or {})
    if route.scopes:
        extra["security"] = [{BEARER: list(route.scopes)}]
    if route.keyed and not (route.rule is not None and route.rule.streamed):
        extra["parameters"] = [*extra.get("parameters", ()), _KEY]
    route.openapi_extra = extra or None


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add what all routes refer to."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An operator's token; each operation names the scopes that it needs.",
        }
    }
    return document


def _statuses(route: Route) -> set[int]:
    found = {422, 500, 503}
    if route.scopes:
        found |= {401, 403}
    if "{" in route.path:
        found.add(404)
    if route.rule is not None:
        found |= {400, 408, 413, 415}
    if route.audited or route.keyed:
        found.add(409)
    if any(each.alias == "if-match" for each in route.dependant.header_params):
        found |= {412, 428}
    return found


def _response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {_PROBLEM_TYPE: {"schema": _SCHEMA}}}
