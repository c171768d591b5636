"""Tokens that other systems push (`auth.token-requests`), and what became of them.

The topic is kept for an hour: readable tokens are allowed there, and nowhere else.
"""

from __future__ import annotations

from datetime import datetime

from voltbus_backbone.contract.values import Message


class PutToken(Message, frozen=True):
    """Register this token, or give it these rights. (request from another system)

    The fields and their rules are those of ``POST /v1/tokens``. ``provider_id`` names the system
    that pushes; as the key it keeps that system's messages in order. ``expected_revision`` refuses
    the change when the token has another revision by now (0: when it exists).
    """

    provider_id: str
    id_token: str
    type: str = "ISO14443"
    status: str = "accepted"
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
    whitelist: str = "ALLOWED"
    expected_revision: int | None = None

    def __repr__(self) -> str:
        """Show nothing readable."""
        return f"PutToken(provider_id={self.provider_id!r}, type={self.type!r})"


class PutTokenAnswer(Message, frozen=True):
    """``outcome``: ``created``, ``updated``, or ``unchanged`` when all of it was so already."""

    token_ref: str
    revision: int
    outcome: str


class RemoveToken(Message, frozen=True):
    """Remove this token. (request from another system)

    Named by ``token_ref``, or else by ``id_token`` and ``type``. ``erase`` forgets it everywhere,
    as ``POST /v1/tokens/{ref}/erase`` does.
    """

    provider_id: str
    token_ref: str | None = None
    id_token: str | None = None
    type: str = "ISO14443"
    erase: bool = False
    expected_revision: int | None = None

    def __repr__(self) -> str:
        """Show nothing readable."""
        return f"RemoveToken(provider_id={self.provider_id!r}, token_ref={self.token_ref!r})"


class RemoveTokenAnswer(Message, frozen=True):
    """``outcome``: ``removed``, ``erased``, or ``absent`` when there was none."""

    token_ref: str
    outcome: str
