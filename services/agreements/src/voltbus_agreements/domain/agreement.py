"""An agreement at one revision, and the names of what can happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the store rebuilds agreements by their annotations
from enum import StrEnum
from typing import Any

from voltbus_agreements.domain.terms import Terms
from voltbus_backbone.contract.agreements import AgreementSnapshot
from voltbus_backbone.contract.agreements import AgreementStatus as Status

_TERMS = tuple(Terms.__dataclass_fields__)

# States in which an agreement holds its tokens: it has been activated and has not ended.
LIVE = frozenset({Status.SCHEDULED, Status.ACTIVE, Status.SUSPENDED})
AMENDABLE = LIVE | {Status.DRAFT}
DELETABLE = frozenset({Status.DRAFT, Status.REJECTED, Status.CANCELLED})


class Command(StrEnum):
    """What can be done to an agreement; the last two only the clock does."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    REOPEN = "reopen"
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"
    CANCEL = "cancel"
    BEGIN = "begin"
    EXPIRE = "expire"


class EventKind(StrEnum):
    """The events of agreements.events (rules D)."""

    CREATED = "created"
    UPDATED = "updated"
    ACTIVATED = "activated"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    EXPIRED = "expired"
    TERMINATED = "terminated"
    DELETED = "deleted"


@dataclass(frozen=True)
class Agreement:
    """An agreement at one revision. ``at`` is the time of that revision.

    ``supersedes`` names the revision whose terms these terms replaced after activation, as
    ``<id>:<revision>``.
    """

    id: str
    terms: Terms
    status: Status
    revision: int
    created_at: datetime
    at: datetime
    status_reason: str | None = None
    supersedes: str | None = None
    exhausted: bool = False
    activated_at: datetime | None = None
    ended_at: datetime | None = None

    def snapshot(self) -> AgreementSnapshot:
        """Return the agreement as others see it."""
        fields: dict[str, Any] = {name: getattr(self.terms, name) for name in _TERMS}
        return AgreementSnapshot(
            id=self.id,
            status=self.status,
            revision=self.revision,
            at=self.at,
            status_reason=self.status_reason,
            supersedes=self.supersedes,
            exhausted=self.exhausted,
            **(fields | {"kind": str(self.terms.kind)}),
        )


@dataclass(frozen=True)
class Change:
    """A new revision, the event that tells of it, and the command or edit that caused it."""

    agreement: Agreement
    event: EventKind
    cause: str


@dataclass(frozen=True)
class Policy:
    """The operator's choices."""

    approval_required: bool = False
