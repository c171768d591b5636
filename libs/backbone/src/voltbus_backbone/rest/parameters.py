"""Parameters in an address: only those that a route declares, and only what can be looked up."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from fastapi.dependencies.utils import get_flat_params, get_validation_alias

from voltbus_backbone.errors import Problem
from voltbus_backbone.rest.problems import not_storable
from voltbus_backbone.values.storable import NotStorableError, check_name

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.dependencies.models import Dependant


def query_names(dependant: Dependant) -> list[str]:
    """The query parameters that a route and its dependencies declare, in their order."""
    found = [
        get_validation_alias(field)
        for field in get_flat_params(dependant)
        if getattr(field.field_info, "in_", None) is not None
        and field.field_info.in_.value == "query"  # type: ignore[attr-defined]  # a Param has it
    ]
    return list(dict.fromkeys(found))


def check_query(request: Request, known: list[str]) -> None:
    """Refuse parameters that the route does not know: a filter misspelt would show everything.

    Neither the unknown name nor its value is repeated: either may be an identifier.

    Raises:
        Problem: 422 with the nearest name that is known, or a value that cannot be looked up.
    """
    if not request.query_params:
        return
    errors = []
    for name, value in request.query_params.multi_items():
        if name not in known:
            errors.append({"field": "query", "message": _unknown(name, known)})
            continue
        try:
            check_name(value)
        except NotStorableError as error:
            raise not_storable(name, error) from None
    if errors:
        raise Problem(
            422, "invalid-request", "The request does not fit this operation.", errors=errors
        )


def check_path(request: Request) -> None:
    """Refuse a path that names what no store can hold.

    Raises:
        Problem: 422.
    """
    for name, value in request.path_params.items():
        try:
            check_name(str(value))
        except NotStorableError as error:
            raise not_storable(name, error) from None


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return "has a parameter, and this operation takes none"
    near = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"; the nearest is {near[0]}" if near else ""
    return f"has a parameter that is unknown here{hint}; known: {', '.join(known)}"
