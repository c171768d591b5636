"""`/v1/tokens`: the id tokens that may charge. A readable value goes in and never comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel

from voltbus_auth.tokens.api.bodies import (
    IfMatch,
    TokenAnswer,
    TokenRef,
    TokenRequest,
    canonical_type,
    entry,
    patched,
    shown,
)
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.token import Registered, Token, TokenStatus
from voltbus_auth.tokens.store.tokens import TokenStore
from voltbus_backbone.errors import Problem, Unavailable, not_found
from voltbus_backbone.rest import Router, WhoAsks, leave_out_resource, scope
from voltbus_backbone.rest.conventions import SortedPaging, etag, page, require_match
from voltbus_backbone.values.times import to_milliseconds

_TRIES = 5
# Forgets the revision of a token that was read, everywhere: at a time, for a caller.
Erase = Callable[[Token, datetime, str], Awaitable[object]]


class TokenPage(BaseModel):
    """A page of tokens."""

    data: list[TokenAnswer]
    has_more: bool


class TokenFilters:
    """Which tokens a list shows."""

    def __init__(
        self,
        type: Annotated[str | None, Query()] = None,  # noqa: A002 - the field's name
        status: Annotated[TokenStatus | None, Query()] = None,
        group_id: Annotated[str | None, Query()] = None,
    ) -> None:
        self.query: dict[str, Any] = {}
        if type is not None:
            self.query["type"] = canonical_type(type)
        if status is not None:
            self.query["status"] = status.value
        if group_id is not None:
            self.query["group_id"] = group_id


def tokens_router(
    store: TokenStore, key: TokenKey, now: Callable[[], datetime], erase: Erase
) -> APIRouter:
    """The routes; ``erase`` forgets a token everywhere, for who asks."""
    router = Router(prefix="/v1/tokens", tags=["tokens"])
    _add_registering(router, store, key, now)
    _add_reading(router, store)
    _add_changing(router, store, now, erase)
    return router


def _add_registering(
    router: APIRouter, store: TokenStore, key: TokenKey, now: Callable[[], datetime]
) -> None:
    write = scope("tokens:write")

    @router.post("", status_code=201, summary="Register a token", dependencies=[write])
    async def create(body: TokenRequest, response: Response) -> TokenAnswer:
        token, value = entry(body, key)
        made = await store.create(token, value, to_milliseconds(now()))
        if made is None:
            known = await store.known(value.identities)
            ref = next((one.ref for one in known.values()), token.ref)
            raise Problem(
                409,
                "token-exists",
                "This token is registered already.",
                headers={"Location": f"/v1/tokens/{ref}"},
            )
        return _placed(made, response)

    @router.put(
        "",
        summary="Register a token, or give the one with this value and type these rights",
        description="201 when it is new, 200 when it was there: its rights are then replaced as a "
        "whole. With If-Match only that revision is, and none is made.",
        dependencies=[write],
        responses={201: {"model": TokenAnswer, "description": "It is new."}},
    )
    async def put(body: TokenRequest, response: Response, if_match: IfMatch = None) -> TokenAnswer:
        token, value = entry(body, key)
        for _ in range(_TRIES):
            at = to_milliseconds(now())
            known = next(iter((await store.known(value.identities)).values()), None)
            if known is None:
                if if_match is not None:
                    raise Problem(412, "precondition-failed", "There is no such token any more.")
                stored = await store.create(token, value, at)
                response.status_code = 201
            else:
                require_match(if_match, known.revision, required=False)
                # Its type stays: presented without one, it may be known by another.
                after = replace(token, ref=known.ref, type=known.type, revision=known.revision)
                stored = await store.update(after, at)
                response.status_code = 200
            if stored is not None:
                return _placed(stored, response)
        raise Unavailable("others keep changing the same token")


def _placed(found: Registered, response: Response) -> TokenAnswer:
    """The answer, with where the token is from now on and its entity tag."""
    response.headers["Location"] = f"/v1/tokens/{found.token.ref}"
    response.headers["ETag"] = etag(found.token.revision)
    return shown(found)


def _add_reading(router: APIRouter, store: TokenStore) -> None:
    read = scope("tokens:read")

    @router.get("", summary="List tokens, the newest first", dependencies=[read])
    async def list_tokens(
        paging: Annotated[SortedPaging, Depends()], filters: Annotated[TokenFilters, Depends()]
    ) -> TokenPage:
        found, more = await store.page(filters.query, paging)
        return TokenPage(**page([shown(one) for one in found], has_more=more))

    @router.get("/{ref}", summary="Show a token", dependencies=[read])
    async def get(ref: TokenRef, response: Response) -> TokenAnswer:
        found = await _found(store, ref)
        response.headers["ETag"] = etag(found.token.revision)
        return shown(found)


def _add_changing(
    router: APIRouter, store: TokenStore, now: Callable[[], datetime], erase_token: Erase
) -> None:
    write = scope("tokens:write")

    @router.patch("/{ref}", summary="Change a token's rights", dependencies=[write])
    async def patch(
        ref: TokenRef,
        changes: Annotated[dict[str, Any], Body(media_type="application/merge-patch+json")],
        response: Response,
        if_match: IfMatch = None,
    ) -> TokenAnswer:
        found = await _found(store, ref)
        require_match(if_match, found.token.revision)
        rights = patched(found.token, changes)
        after = Token(ref=ref, type=found.token.type, revision=found.token.revision, **rights)
        stored = await store.update(after, to_milliseconds(now()))
        if stored is None:
            raise _overtaken()
        response.headers["ETag"] = etag(stored.token.revision)
        return shown(stored)

    @router.delete("/{ref}", status_code=204, summary="Remove a token", dependencies=[write])
    async def delete(
        ref: TokenRef,
        caller: WhoAsks,
        request: Request,
        if_match: IfMatch = None,
        *,
        erase: Annotated[
            bool, Query(description="Forget it everywhere, as `POST …/erase` does.")
        ] = False,
    ) -> None:
        found = await _found(store, ref)
        require_match(if_match, found.token.revision)
        at = to_milliseconds(now())
        if erase:
            leave_out_resource(request)
            await erase_token(found.token, at, caller.subject)
        elif not await store.delete(found.token, at):
            raise _overtaken()


async def _found(store: TokenStore, ref: str) -> Registered:
    found = await store.find(ref)
    if found is None:
        raise not_found("token")
    return found


def _overtaken() -> Problem:
    return Problem(412, "precondition-failed", "It has changed since: read it again, then retry.")
