"""Examples of terms and agreements for the pure tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.agreement import Agreement, Command, Policy
from voltbus_agreements.domain.terms import Kind, Terms
from voltbus_backbone.contract.agreements import AgreementToken, Party

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
IMPLIED = Policy()
APPROVED = Policy(approval_required=True)
PARTIES = (Party(id="provider-1", role="provider"), Party(id="customer-1", role="customer"))


def terms(**fields: Any) -> Terms:
    """A driver's complete terms from yesterday on."""
    base = Terms(
        kind=Kind.DRIVER,
        name="A driver's contract",
        valid_from=NOW - DAY,
        parties=PARTIES,
        tokens=(AgreementToken(ref="token-1"),),
    )
    return replace(base, **fields)


def draft(**fields: Any) -> Agreement:
    """A draft with those terms."""
    return lifecycle.create("agr_1", terms(**fields), now=NOW).agreement


def after(agreement: Agreement, *commands: Command, now: datetime = NOW) -> Agreement:
    """The agreement after these commands."""
    for command in commands:
        agreement = lifecycle.act(agreement, command, now=now, policy=IMPLIED).agreement
    return agreement
