"""The HTTP side that every service shares; what a request passes is drawn in docs/adr/0015.

A service declares its routes on a ``Router``. Token and scope, query parameters, the size and the
time of the body, what can be stored, idempotency keys, the audit and the documented errors then
follow from what the route declares: no route has code for them.
"""

from voltbus_backbone.rest.app import build_app, include
from voltbus_backbone.rest.audit import audit_router, leave_out_resource
from voltbus_backbone.rest.problems import PROBLEM, answer
from voltbus_backbone.rest.routing import Route, Router, WhoAsks, body_of, no_idempotency, scope

__all__ = [
    "PROBLEM",
    "Route",
    "Router",
    "WhoAsks",
    "answer",
    "audit_router",
    "body_of",
    "build_app",
    "include",
    "leave_out_resource",
    "no_idempotency",
    "scope",
]
