"""An app with what every service has: health, metrics, problem documents, the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from voltbus_backbone.rest import documents
from voltbus_backbone.rest.audit import audit_router
from voltbus_backbone.rest.bodies import Rooms
from voltbus_backbone.rest.problems import add_handlers
from voltbus_backbone.rest.routing import Route, Router, Shared, scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastapi import APIRouter

    from voltbus_backbone.rest.access import Operators
    from voltbus_backbone.rest.audit import Audit
    from voltbus_backbone.rest.conventions import Idempotency


def build_app(name: str, operators: Operators, readiness: Callable[[], dict[str, bool]]) -> FastAPI:
    """An app with the shared routes and error shapes; ``include`` adds the service's own."""
    app = _App(
        title=f"Voltbus {name}",
        version="1",
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.shared = Shared(operators, Rooms())
    _add_health(app, readiness)
    add_handlers(app)
    return app


class RestKeeping(Protocol):
    """What a service keeps for its REST interface."""

    @property
    def idempotency(self) -> Idempotency:
        """Answers of POSTs that carry a key."""
        ...

    @property
    def audit(self) -> Audit:
        """Who changed what."""
        ...


def include(app: FastAPI, routers: Iterable[APIRouter], keeping: RestKeeping | None) -> None:
    """Add a service's routers, and with ``keeping`` the list of who changed what.

    Raises:
        TypeError: a route was not declared on a ``Router``, so that nothing would guard it.
    """
    chosen = list(routers)
    if keeping is not None:
        shared: Shared = app.state.shared
        shared.idempotency, shared.audit = keeping.idempotency, keeping.audit
        chosen.append(audit_router(keeping.audit, Router(), scope("audit:read")))
    for router in chosen:
        for route in router.routes:
            if not isinstance(route, Route):
                name = getattr(route, "path", route)
                raise TypeError(f"{name} is not declared on a Router of voltbus_backbone.rest")
        app.include_router(router)


class _App(FastAPI):
    """FastAPI, with the parts of the document that no single route declares."""

    def openapi(self) -> dict[str, Any]:
        """Describe the routes as OpenAPI 3.1."""
        if self.openapi_schema is None:
            self.openapi_schema = documents.completed(super().openapi())
        return self.openapi_schema


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
