"""Decisions as they are remembered, so that an operator can see later why a card was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Verdict
    from voltbus_backbone.contract.values import Protocol

AUTHORIZE = "authorize"
TRANSACTION = "transaction"


class Decided(msgspec.Struct, frozen=True):
    """One decision. ``asked_by``: an Authorize, or a transaction message with a token."""

    at: datetime
    station_id: str
    protocol: Protocol
    asked_by: str
    token_ref: str
    verdict: Verdict
    evse_id: int | None = None
    transaction_ref: str | None = None
