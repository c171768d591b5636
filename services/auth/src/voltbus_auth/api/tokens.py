"""`/v1/tokens`: the id tokens that may charge. A readable value goes in and never comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends, Header, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from voltbus_auth.domain.identifiers import TokenKey, masked
from voltbus_auth.domain.intake import to_milliseconds
from voltbus_auth.domain.tokens import DEFAULT_TYPE, TYPES, Registered, Token, TokenStatus
from voltbus_auth.store import Store, Value
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.http import scope
from voltbus_backbone.rest import Paging, StoredAnswer, etag, merge_patch, page, require_match

TokenRef = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The token's reference.")]
_CANONICAL = {name.casefold(): name for name in TYPES}


class TokenRights(BaseModel):
    """What a token may do; everything but its identity can be changed later."""

    model_config = ConfigDict(extra="forbid")

    status: TokenStatus = TokenStatus.ACCEPTED
    valid_from: AwareDatetime | None = Field(default=None, description="Not before (inclusive).")
    expires_at: AwareDatetime | None = Field(default=None, description="Not from then on.")
    group_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=36,
        description="Tokens of one group may stop each other's sessions (OCPP parentIdTag, "
        "groupIdToken). Not a person's identifier: it is shown.",
    )
    max_concurrent: int | None = Field(default=None, ge=1, le=100_000)
    charging_priority: int | None = Field(default=None, ge=-9, le=9)
    language: str | None = Field(default=None, min_length=2, max_length=8)
    personal_message: str | None = Field(default=None, max_length=512)
    credit: float | None = Field(
        default=None,
        ge=-1e9,
        le=1e9,
        description="What a prepaid token has left, in the tariff's currency (OCPP 2.1 C17).",
    )
    sites: list[str] = Field(default=[], max_length=1000)
    evse_kinds: list[str] = Field(default=[], max_length=100)

    @field_validator("valid_from", "expires_at")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return to_milliseconds(value.astimezone(UTC)) if value is not None else None

    def rights(self) -> dict[str, Any]:
        """As the domain wants them."""
        fields = self.model_dump(include=set(TokenRights.model_fields))
        return {**fields, "sites": tuple(self.sites), "evse_kinds": tuple(self.evse_kinds)}


class TokenRequest(TokenRights):
    """A token to register."""

    id_token: str = Field(min_length=1, max_length=255, description="As the reader reads it.")
    type: str = Field(default=DEFAULT_TYPE, min_length=1, max_length=20)

    @field_validator("id_token")
    @classmethod
    def _plain(cls, value: str) -> str:
        if value != value.strip() or not value.isprintable():
            raise ValueError("leave out surrounding spaces and control characters")
        return value

    @field_validator("type")
    @classmethod
    def _named(cls, value: str) -> str:
        # 2.1 opens the list of types; a known one is spelled as OCPP spells it.
        return _CANONICAL.get(value.casefold(), value)


class TokenAnswer(BaseModel):
    """A token as it is shown. ``ref`` is what agreements and events call it."""

    ref: str
    type: str
    masked: str
    status: TokenStatus
    valid_from: datetime | None
    expires_at: datetime | None
    group_id: str | None
    max_concurrent: int | None
    charging_priority: int | None
    language: str | None
    personal_message: str | None
    credit: float | None
    sites: list[str]
    evse_kinds: list[str]
    revision: int
    created_at: datetime
    updated_at: datetime


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
            self.query["type"] = _CANONICAL.get(type.casefold(), type)
        if status is not None:
            self.query["status"] = status.value
        if group_id is not None:
            self.query["group_id"] = group_id


def tokens_router(store: Store, key: TokenKey, now: Callable[[], datetime]) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/tokens", tags=["tokens"])
    read, write = scope("tokens:read"), scope("tokens:write")

    async def register(body: TokenRequest) -> StoredAnswer:
        refs = key.all_of(body.type, body.id_token)
        token = Token(ref=refs[0], type=body.type, **body.rights())
        value = Value(body.id_token, masked(body.type, body.id_token), refs, key.id)
        made = await store.token.create(token, value, to_milliseconds(now()))
        if made is None:
            raise Problem(
                409,
                "token-exists",
                "This token is registered already.",
                headers={"Location": f"/v1/tokens/{token.ref}"},
            )
        headers = {"Location": f"/v1/tokens/{token.ref}", "ETag": etag(made.token.revision)}
        content = orjson.dumps(_shown(made).model_dump(mode="json"))
        return StoredAnswer("", 201, content, headers)

    @router.post(
        "",
        status_code=201,
        summary="Register a token",
        dependencies=[write],
        response_model=TokenAnswer,
    )
    async def create(
        body: TokenRequest, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Response:
        # The value itself stays out of what is kept with the key: its reference stands for it.
        request = {**body.model_dump(mode="json"), "id_token": key.ref(body.type, body.id_token)}
        answer = await store.idempotency.run(
            idempotency_key and f"tokens:{idempotency_key}", request, lambda: register(body)
        )
        return Response(
            answer.body, answer.status or 201, answer.headers, media_type="application/json"
        )

    @router.get("", summary="List tokens", dependencies=[read])
    async def list_tokens(
        paging: Annotated[Paging, Depends()], filters: Annotated[TokenFilters, Depends()]
    ) -> TokenPage:
        found, more = await store.token.page(
            filters.query,
            limit=paging.limit,
            after=paging.starting_after,
            before=paging.ending_before,
        )
        return TokenPage(**page([_shown(one) for one in found], has_more=more))

    @router.get("/{ref}", summary="Show a token", dependencies=[read])
    async def get(ref: TokenRef, response: Response) -> TokenAnswer:
        found = await _found(store, ref)
        response.headers["ETag"] = etag(found.token.revision)
        return _shown(found)

    @router.patch("/{ref}", summary="Change a token's rights", dependencies=[write])
    async def patch(
        ref: TokenRef,
        changes: Annotated[dict[str, Any], Body(media_type="application/merge-patch+json")],
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> TokenAnswer:
        found = await _found(store, ref)
        require_match(if_match, found.token.revision, required=False)
        rights = _patched(found.token, changes)
        after = Token(ref=ref, type=found.token.type, revision=found.token.revision, **rights)
        stored = await store.token.update(after, to_milliseconds(now()))
        if stored is None:
            raise _overtaken(if_match)
        response.headers["ETag"] = etag(stored.token.revision)
        return _shown(stored)

    @router.delete("/{ref}", status_code=204, summary="Remove a token", dependencies=[write])
    async def delete(ref: TokenRef, if_match: Annotated[str | None, Header()] = None) -> None:
        found = await _found(store, ref)
        require_match(if_match, found.token.revision, required=False)
        if not await store.token.delete(found.token, to_milliseconds(now())):
            raise _overtaken(if_match)

    return router


async def _found(store: Store, ref: str) -> Registered:
    found = await store.token.find(ref)
    if found is None:
        raise not_found("token")
    return found


def _overtaken(if_match: str | None) -> Problem:
    if if_match is not None:
        return Problem(412, "precondition-failed", "It has changed since: read it again.")
    return Problem(409, "conflict", "Someone changed it at the same moment: try again.", headers={})


def _patched(token: Token, changes: dict[str, Any]) -> dict[str, Any]:
    """The rights after a merge patch (RFC 7396); null takes a right back to its default."""
    names = set(TokenRights.model_fields)
    current = {
        name: value
        for name, value in orjson.loads(orjson.dumps(asdict(token))).items()
        if name in names and value is not None
    }
    try:
        return TokenRights.model_validate(merge_patch(current, changes)).rights()
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _shown(found: Registered) -> TokenAnswer:
    return TokenAnswer(
        **asdict(found.token),
        masked=found.masked,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )
