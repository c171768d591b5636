"""The wire form of tokens: what a client writes, checked field by field, and what it reads."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import Header, Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from voltbus_auth.tokens.domain.identifiers import TokenKey, masked
from voltbus_auth.tokens.domain.token import (
    DEFAULT_TYPE,
    TYPES,
    Registered,
    Token,
    TokenStatus,
    Whitelist,
)
from voltbus_auth.tokens.store.tokens import Value
from voltbus_backbone.contract.pushed import PutToken, RemoveToken
from voltbus_backbone.errors import InvalidRecord
from voltbus_backbone.rest.conventions import merge_patch
from voltbus_backbone.rest.validation import Text, Time, checked
from voltbus_backbone.values.blanks import trimmed
from voltbus_backbone.values.times import to_milliseconds

_REF = re.compile(r"[0-9a-f]{64}")
TokenRef = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The token's reference.")]
IfMatch = Annotated[str | None, Header(description="The ETag that was last read.")]
_CANONICAL = {name.casefold(): name for name in TYPES}


def printable(value: str) -> str:
    """The text, when it is what a reader or an operator can mean.

    Raises:
        ValueError: it has spaces around it or control characters in it.
    """
    if value != value.strip() or not value.isprintable():
        raise ValueError("leave out surrounding spaces and control characters")
    return value


def canonical_type(name: str) -> str:
    """A known type as OCPP spells it; 2.1 opens the list, so another is taken as it is."""
    return _CANONICAL.get(name.casefold(), name)


class TokenRights(BaseModel):
    """What a token may do; everything but its identity can be changed later."""

    model_config = ConfigDict(extra="forbid")

    status: TokenStatus = TokenStatus.ACCEPTED
    valid_from: Time | None = Field(default=None, description="Not before (inclusive).")
    expires_at: Time | None = Field(default=None, description="Not from then on.")
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
        allow_inf_nan=False,
        description="What a prepaid token has left, in the tariff's currency (OCPP 2.1 C17).",
    )
    sites: list[Text] = Field(default=[], max_length=1000)
    evse_kinds: list[Text] = Field(default=[], max_length=100)
    whitelist: Whitelist = Field(
        default=Whitelist.ALLOWED,
        description="Whether it may be on stations' local lists, where a plan asks for it; NEVER "
        "keeps it out of all, and has an external authorizer asked each time, where there is one "
        "(OCPI WhitelistType).",
    )

    @field_validator("valid_from", "expires_at")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return to_milliseconds(value.astimezone(UTC)) if value is not None else None

    def rights(self) -> dict[str, Any]:
        """As the domain wants them."""
        fields = self.model_dump(include=set(TokenRights.model_fields))
        return {**fields, "sites": tuple(self.sites), "evse_kinds": tuple(self.evse_kinds)}


def _without_blanks(value: Any) -> Any:
    return trimmed(value) if isinstance(value, str) else value


class TokenRequest(TokenRights):
    """A token to register."""

    id_token: Annotated[str, BeforeValidator(_without_blanks)] = Field(
        min_length=1,
        max_length=255,
        description="As the reader reads it; blanks and NULs around it are left out.",
    )
    type: str = Field(default=DEFAULT_TYPE, min_length=1, max_length=20)

    @field_validator("id_token")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("leave out control characters")
        return value

    @field_validator("type")
    @classmethod
    def _named(cls, value: str) -> str:
        return canonical_type(printable(value))


def entry(body: TokenRequest, key: TokenKey) -> tuple[Token, Value]:
    """What is stored of a token: its rights under its reference, and its value to encrypt."""
    refs = key.all_of(body.type, body.id_token)
    token = Token(ref=refs[0], type=body.type, **body.rights())
    shown_end = masked(body.type, body.id_token)
    identities = key.identities(body.type, body.id_token)
    return token, Value(body.id_token, shown_end, refs, key.id, identities)


def pushed(message: PutToken, key: TokenKey) -> tuple[Token, Value]:
    """A token that came over Kafka, by the same rules.

    Raises:
        InvalidRecord: it breaks one of them.
    """
    fields = {
        name: value
        for name in TokenRequest.model_fields
        if (value := getattr(message, name)) is not None
    }
    try:
        return entry(TokenRequest.model_validate(fields), key)
    except ValidationError as error:
        # Field by field, never the value that is wrong.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        reasons = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found)
        raise InvalidRecord("; ".join(reasons)) from None


def named(message: RemoveToken, key: TokenKey) -> list[str]:
    """The reference of the token that is to be removed, or what it may be found under.

    Raises:
        InvalidRecord: none is named, or two ways at once.
    """
    if (message.token_ref is None) == (message.id_token is None):
        raise InvalidRecord("give either token_ref or id_token")
    if message.token_ref is None:
        return key.identities(canonical_type(message.type), message.id_token or "")
    if _REF.fullmatch(message.token_ref) is None:
        raise InvalidRecord("token_ref: a reference has 64 hexadecimal digits")
    return [message.token_ref]


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
    whitelist: Whitelist
    revision: int
    created_at: datetime
    updated_at: datetime


def patched(token: Token, changes: dict[str, Any]) -> dict[str, Any]:
    """The rights after a merge patch (RFC 7396); null takes a right back to its default."""
    names = set(TokenRights.model_fields)
    current = {
        name: value
        for name, value in orjson.loads(orjson.dumps(asdict(token))).items()
        if name in names and value is not None
    }
    return checked(TokenRights, merge_patch(current, changes)).rights()


def shown(found: Registered) -> TokenAnswer:
    """A token as it is shown."""
    return TokenAnswer(
        **asdict(found.token),
        masked=found.masked,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )
