"""What an operator may ask for, whatever the path: refusals come out as problems (RFC 9457)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError

from voltbus_agreements.api import bodies
from voltbus_agreements.domain import ids, lifecycle, refusals
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest.conventions import merge_patch, require_match
from voltbus_backbone.rest.validation import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from voltbus_agreements.domain.agreement import Agreement, Change, Command, Policy
    from voltbus_agreements.handlers.changes import ChangeHandler
    from voltbus_agreements.scheduler import LifecycleScheduler
    from voltbus_agreements.store import Store

_KINDS: dict[type[refusals.Refusal], tuple[int, str]] = {
    refusals.InvalidTerms: (422, "invalid-request"),
    refusals.IllegalTransition: (409, "illegal-transition"),
    refusals.Incomplete: (409, "incomplete"),
    refusals.PeriodOver: (409, "period-over"),
    refusals.Immutable: (409, "immutable"),
    refusals.Overlapping: (409, "overlapping-agreement"),
}


class AgreementService:
    """Reads and changes agreements. ``entropy`` gives so many random bytes."""

    def __init__(
        self,
        store: Store,
        changes: ChangeHandler,
        policy: Policy,
        scheduler: LifecycleScheduler,
        *,
        now: Callable[[], datetime],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.store = store
        self.changes = changes
        self.policy = policy
        self.scheduler = scheduler
        self.now = now
        self.entropy = entropy

    async def get(self, agreement_id: str) -> Agreement:
        """Return an agreement, or 404."""
        return _require(await self.store.get(agreement_id))

    async def create(self, body: bodies.TermsBody) -> Agreement:
        """Create a draft."""
        now = self.now()
        with _raise_refusals_as_problems():
            agreement_id = ids.new_id(now, self.entropy(ids.ENTROPY_BYTES))
            change = lifecycle.create(agreement_id, body.terms(now=now), now=now)
        await self.changes.create(change)
        return change.agreement

    async def act(
        self, agreement_id: str, command: Command, *, if_match: str | None, reason: str | None
    ) -> Agreement:
        """Carry out a command; ``if_match`` counts when it is given."""

        def decide(agreement: Agreement, used_wh: int) -> Change:
            require_match(if_match, agreement.revision, required=False)
            return lifecycle.act(
                agreement,
                command,
                now=self.now(),
                policy=self.policy,
                reason=reason,
                used_wh=used_wh,
            )

        return await self._change(agreement_id, decide)

    async def amend(
        self, agreement_id: str, patch: dict[str, Any], *, if_match: str | None
    ) -> Agreement:
        """Apply a JSON merge patch to the terms."""

        def decide(agreement: Agreement, used_wh: int) -> Change | None:
            require_match(if_match, agreement.revision)
            terms = _apply_patch(agreement, patch).terms(now=agreement.terms.valid_from)
            return lifecycle.amend(
                agreement, terms, now=self.now(), policy=self.policy, used_wh=used_wh
            )

        return await self._change(agreement_id, decide)

    async def delete(self, agreement_id: str, *, if_match: str | None) -> None:
        """Remove an agreement that never came to life."""

        def decide(agreement: Agreement, used_wh: int) -> Change:
            del used_wh
            require_match(if_match, agreement.revision)
            return lifecycle.delete(agreement, now=self.now(), policy=self.policy)

        await self._change(agreement_id, decide)

    async def _change(
        self, agreement_id: str, decide: Callable[[Agreement, int], Change | None]
    ) -> Agreement:
        with _raise_refusals_as_problems():
            agreement = _require(await self.changes.change(agreement_id, decide))
        self.scheduler.wake()
        return agreement


def _require(agreement: Agreement | None) -> Agreement:
    if agreement is None:
        raise not_found("agreement")
    return agreement


def _apply_patch(agreement: Agreement, patch: dict[str, Any]) -> bodies.TermsBody:
    body = checked(bodies.TermsBody, merge_patch(bodies.dump_terms(agreement.terms), patch))
    if body.valid_from is None:
        raise RequestValidationError(
            [{"loc": ("valid_from",), "msg": "cannot be removed", "type": "missing"}]
        )
    return body


@contextlib.contextmanager
def _raise_refusals_as_problems() -> Iterator[None]:
    try:
        yield
    except refusals.Refusal as refusal:
        status, kind = _KINDS[type(refusal)]
        errors = [{"field": name, "message": message} for name, message in refusal.errors]
        raise Problem(status, kind, refusal.detail, errors=errors) from None
