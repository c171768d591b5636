"""Tokens as MongoDB documents, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.tokens.domain.token import Token, TokenStatus, Whitelist

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.mongo.store import Document

TOKEN_FIELDS = (
    "type",
    "status",
    "revision",
    "valid_from",
    "expires_at",
    "group_id",
    "max_concurrent",
    "charging_priority",
    "language",
    "personal_message",
    "credit",
    "sites",
    "evse_kinds",
    "whitelist",
)


def token_document(token: Token) -> Document:
    """A token's rights; what it does not say is left out, so that more tokens fit in memory."""
    document: Document = {name: getattr(token, name) for name in TOKEN_FIELDS}
    document["status"] = token.status.value
    document["sites"] = list(token.sites)
    document["evse_kinds"] = list(token.evse_kinds)
    # The default is left out too: most tokens have it, also those stored before there was one.
    allowed = token.whitelist is Whitelist.ALLOWED
    document["whitelist"] = None if allowed else token.whitelist.value
    return {name: value for name, value in document.items() if value not in (None, [])}


def token_change(token: Token, at: datetime) -> Document:
    """The update that makes a stored token's rights these."""
    document = token_document(token)
    gone = dict.fromkeys(set(TOKEN_FIELDS) - document.keys(), "")
    change: Document = {"$set": {**document, "updated_at": at}}
    return {**change, "$unset": gone} if gone else change


def token_of(document: Document) -> Token:
    """A stored token."""
    fields: dict[str, Any] = {name: document.get(name) for name in TOKEN_FIELDS}
    fields["status"] = TokenStatus(document["status"])
    fields["sites"] = tuple(document.get("sites") or ())
    fields["evse_kinds"] = tuple(document.get("evse_kinds") or ())
    fields["whitelist"] = Whitelist(fields["whitelist"] or Whitelist.ALLOWED)
    return Token(ref=document["_id"], **fields)
