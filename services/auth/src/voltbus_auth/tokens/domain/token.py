"""An id token as the operator registered it, without its readable value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from voltbus_backbone.contract.auth import TokenChanged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

DEFAULT_TYPE = "ISO14443"

# An idTag of 1.6 has no type; should several stored tokens fit it, the likeliest is meant.
_LIKELIEST = {
    name: rank
    for rank, name in enumerate(
        ("iso14443", "iso15693", "local", "central", "keycode", "emaid", "macaddress")
    )
}

# OCPP 2.0.1 IdTokenEnumType; 2.1 opens the list and names three more.
TYPES = (
    "Central",
    "DirectPayment",
    "eMAID",
    "EVCCID",
    "ISO14443",
    "ISO15693",
    "KeyCode",
    "Local",
    "MacAddress",
    "VIN",
)
NO_AUTHORIZATION = "NoAuthorization"


class TokenStatus(StrEnum):
    """What the operator says of a token."""

    ACCEPTED = "accepted"
    BLOCKED = "blocked"


class Whitelist(StrEnum):
    """Whether stations may keep a token on a local list (OCPI WhitelistType).

    ``ALWAYS``, ``ALLOWED`` and ``ALLOWED_OFFLINE`` may be listed, where a plan asks for them;
    ``NEVER`` stays out of every list.
    """

    ALWAYS = "ALWAYS"
    ALLOWED = "ALLOWED"
    ALLOWED_OFFLINE = "ALLOWED_OFFLINE"
    NEVER = "NEVER"


@dataclass(frozen=True, slots=True)
class Token:
    """A token's rights. ``valid_from`` inclusive, ``expires_at`` exclusive.

    ``credit`` is what a prepaid token has left, in the tariff's currency; None: not prepaid.
    ``sites`` and ``evse_kinds`` limit where it charges; empty means everywhere.
    """

    ref: str
    type: str
    status: TokenStatus = TokenStatus.ACCEPTED
    revision: int = 1
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    group_id: str | None = None
    max_concurrent: int | None = None
    charging_priority: int | None = None
    language: str | None = None
    personal_message: str | None = None
    credit: float | None = None
    sites: tuple[str, ...] = ()
    evse_kinds: tuple[str, ...] = ()
    whitelist: Whitelist = Whitelist.ALLOWED


@dataclass(frozen=True, slots=True)
class Registered:
    """A token with what the operator sees of it. ``masked``: the end of its value."""

    token: Token
    masked: str
    created_at: datetime
    updated_at: datetime


def likeliest(candidates: Iterable[Token]) -> Token | None:
    """The token that a presentation without a type means."""
    return min(
        candidates,
        key=lambda token: (
            _LIKELIEST.get(token.type.casefold(), len(_LIKELIEST)),
            token.type,
            token.ref,
        ),
        default=None,
    )


def changed(token: Token, at: datetime, *, status: str | None = None) -> TokenChanged:
    """The token as others may know it."""
    return TokenChanged(
        token_ref=token.ref,
        type=token.type,
        status=status or token.status.value,
        revision=token.revision,
        at=at,
        expires_at=token.expires_at,
    )
