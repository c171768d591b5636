"""`/v1/erasures`: forgetting a person's token, and the record that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from voltbus_auth.erasure.store import ErasureStore
from voltbus_auth.tokens.api.bodies import IfMatch, TokenRef
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import TokenStore
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, WhoAsks, leave_out_resource, scope
from voltbus_backbone.rest.conventions import SortedPaging, page, require_match
from voltbus_backbone.values.times import to_milliseconds


class ErasureAnswer(BaseModel):
    """What was erased. It names no token."""

    id: str
    at: datetime
    by: str
    transactions: int
    decisions: int


class Erasures(BaseModel):
    """The audit, the newest first."""

    data: list[ErasureAnswer]
    has_more: bool


def erasures_router(
    tokens: TokenStore, erasures: ErasureStore, now: Callable[[], datetime]
) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1", tags=["erasures"])
    may_read, may_write = scope("tokens:read"), scope("tokens:write")

    @router.post(
        "/tokens/{ref}/erase",
        summary="Forget a person's token",
        dependencies=[may_write],
    )
    async def erase(
        ref: TokenRef, caller: WhoAsks, request: Request, if_match: IfMatch = None
    ) -> ErasureAnswer:
        found = await tokens.find(ref)
        if found is None:
            raise not_found("token")
        require_match(if_match, found.token.revision)
        leave_out_resource(request)
        return await erase_token(erasures, found.token, to_milliseconds(now()), caller.subject)

    @router.get("/erasures", summary="List erasures, the newest first", dependencies=[may_read])
    async def list_erasures(paging: Annotated[SortedPaging, Depends()]) -> Erasures:
        try:
            found, more = await erasures.page(paging)
        except ValueError:
            raise Problem(422, "invalid-request", "The cursor names no erasure.") from None
        return Erasures(**page([ErasureAnswer(**asdict(one)) for one in found], has_more=more))

    return router


async def erase_token(erasures: ErasureStore, token: Token, at: datetime, by: str) -> ErasureAnswer:
    """Erase the revision of a token that was read.

    Raises:
        Problem: it changed meanwhile (412).
    """
    done = await erasures.erase(token, at=at, by=by)
    if done is None:
        raise Problem(
            412, "precondition-failed", "It has changed since: read it again, then retry."
        )
    return ErasureAnswer(**asdict(done))
