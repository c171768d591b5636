"""`/v1/erasures`: forgetting a person's token, and the record that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import jwt
from fastapi import APIRouter, Depends, Header, Response
from pydantic import BaseModel

from voltbus_auth.api.token_bodies import IdempotencyKey, IfMatch, TokenRef
from voltbus_auth.domain.intake import to_milliseconds
from voltbus_auth.domain.tokens import Token
from voltbus_auth.store import Store
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.http import scope
from voltbus_backbone.rest import Paging, StoredAnswer, page, require_match


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


def erasures_router(store: Store, now: Callable[[], datetime]) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["erasures"])
    may_read, may_write = scope("tokens:read"), scope("tokens:write")

    @router.post(
        "/tokens/{ref}/erase",
        summary="Forget a person's token",
        dependencies=[may_write],
        response_model=ErasureAnswer,
    )
    async def erase(
        ref: TokenRef,
        authorization: Annotated[str, Header()] = "",
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        async def operation() -> StoredAnswer:
            found = await store.token.find(ref)
            if found is None:
                raise not_found("token")
            require_match(if_match, found.token.revision, required=False)
            done = await erased(store, found.token, to_milliseconds(now()), authorization)
            return StoredAnswer("", 200, done.model_dump_json().encode(), {})

        # The key's entry holds a hash of the reference and the audit record: neither names anyone.
        answer = await store.idempotency.run(
            idempotency_key and f"erase:{idempotency_key}", {"ref": ref}, operation
        )
        return answer.response()

    @router.get("/erasures", summary="List erasures, the newest first", dependencies=[may_read])
    async def list_erasures(paging: Annotated[Paging, Depends()]) -> Erasures:
        try:
            found, more = await store.erasure.page(
                limit=paging.limit, after=paging.starting_after, before=paging.ending_before
            )
        except ValueError:
            raise Problem(422, "invalid-request", "The cursor names no erasure.") from None
        return Erasures(**page([ErasureAnswer(**asdict(one)) for one in found], has_more=more))

    return router


async def erased(store: Store, token: Token, at: datetime, authorization: str) -> ErasureAnswer:
    """Erase the revision of a token that was read.

    Raises:
        Problem: it changed meanwhile (412).
    """
    done = await store.erasure.erase(token, at=at, by=caller(authorization))
    if done is None:
        raise Problem(
            412, "precondition-failed", "It has changed since: read it again, then retry."
        )
    return ErasureAnswer(**asdict(done))


def caller(authorization: str) -> str:
    """Who asks: the subject of a bearer token whose signature the scope's check has verified."""
    try:
        claims = jwt.decode(authorization.partition(" ")[2], options={"verify_signature": False})
    except jwt.PyJWTError:
        return "unknown"
    return str(claims.get("sub", "unknown"))
