"""`/v1/erasures`: forgetting a person's token, and the record that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import jwt
from fastapi import APIRouter, Header, Query
from pydantic import BaseModel

from voltbus_auth.api.token_bodies import TokenRef
from voltbus_auth.domain.intake import to_milliseconds
from voltbus_auth.store import Store
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.http import scope
from voltbus_backbone.rest import require_match


class ErasureAnswer(BaseModel):
    """What was erased. It names no token."""

    id: str
    at: datetime
    by: str
    transactions: int
    decisions: int


class Erasures(BaseModel):
    """The audit."""

    data: list[ErasureAnswer]


def erasures_router(store: Store, now: Callable[[], datetime]) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["erasures"])
    may_read, may_write = scope("tokens:read"), scope("tokens:write")

    @router.post("/tokens/{ref}/erase", summary="Forget a person's token", dependencies=[may_write])
    async def erase(
        ref: TokenRef,
        authorization: Annotated[str, Header()] = "",
        if_match: Annotated[str | None, Header()] = None,
    ) -> ErasureAnswer:
        return await erased(store, ref, to_milliseconds(now()), authorization, if_match)

    @router.get("/erasures", summary="List erasures, the newest first", dependencies=[may_read])
    async def list_erasures(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Erasures:
        found = await store.erasure.latest(limit)
        return Erasures(data=[ErasureAnswer(**asdict(one)) for one in found])

    return router


async def erased(
    store: Store, ref: str, at: datetime, authorization: str, if_match: str | None
) -> ErasureAnswer:
    """Erase a token.

    Raises:
        Problem: there is none (404), or it changed meanwhile (409, 412).
    """
    found = await store.token.find(ref)
    if found is None:
        raise not_found("token")
    require_match(if_match, found.token.revision, required=False)
    done = await store.erasure.erase(found.token, at=at, by=_caller(authorization))
    if done is None:
        raise Problem(409, "conflict", "Someone changed it at the same moment: try again.")
    return ErasureAnswer(**asdict(done))


def _caller(authorization: str) -> str:
    """Who asks: the subject of a bearer token whose signature the scope's check has verified."""
    try:
        claims = jwt.decode(authorization.partition(" ")[2], options={"verify_signature": False})
    except jwt.PyJWTError:
        return "unknown"
    return str(claims.get("sub", "unknown"))
