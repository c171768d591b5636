"""The life cycle: which command leads from which state to which, and what it makes of an agreement.

Every change gives a new ``Agreement`` with the next revision and the event that tells of it; what
is not allowed raises a ``Refusal`` and changes nothing. The picture is in docs/agreements.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from voltbus_agreements.domain import usage
from voltbus_agreements.domain.agreement import (
    AMENDABLE,
    DELETABLE,
    LIVE,
    Agreement,
    Change,
    Command,
    EventKind,
    Policy,
)
from voltbus_agreements.domain.refusals import (
    FieldError,
    IllegalTransition,
    Immutable,
    Incomplete,
    InvalidTerms,
    PeriodOver,
)
from voltbus_agreements.domain.terms import (
    Terms,
    find_missing_for_activation,
    normalize,
    to_instant,
)
from voltbus_backbone.bounds import AGREEMENT_BYTES
from voltbus_backbone.contract.agreements import AgreementStatus as Status

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

_FIXED_AFTER_ACTIVATION = ("parties", "kind", "contract_id")

BY_CLOCK = frozenset({Command.BEGIN, Command.EXPIRE})

# From which states, and to which; None: scheduled or active, whichever the time says.
TRANSITIONS: dict[Command, tuple[frozenset[Status], Status | None]] = {
    Command.SUBMIT: (frozenset({Status.DRAFT}), Status.PENDING_APPROVAL),
    Command.APPROVE: (frozenset({Status.PENDING_APPROVAL}), None),
    Command.REJECT: (frozenset({Status.PENDING_APPROVAL}), Status.REJECTED),
    Command.REOPEN: (frozenset({Status.REJECTED}), Status.DRAFT),
    Command.ACTIVATE: (frozenset({Status.DRAFT}), None),  # submitted and approved in one
    Command.SUSPEND: (frozenset({Status.ACTIVE}), Status.SUSPENDED),
    Command.RESUME: (frozenset({Status.SUSPENDED}), Status.ACTIVE),
    Command.TERMINATE: (frozenset({Status.ACTIVE, Status.SUSPENDED}), Status.TERMINATED),
    Command.CANCEL: (frozenset({Status.DRAFT, Status.SCHEDULED}), Status.CANCELLED),
    Command.BEGIN: (frozenset({Status.SCHEDULED}), Status.ACTIVE),
    Command.EXPIRE: (frozenset({Status.ACTIVE, Status.SUSPENDED}), Status.EXPIRED),
}


_EVENT_OF = {
    Command.SUSPEND: EventKind.SUSPENDED,
    Command.RESUME: EventKind.RESUMED,
    Command.TERMINATE: EventKind.TERMINATED,
    Command.BEGIN: EventKind.ACTIVATED,
    Command.EXPIRE: EventKind.EXPIRED,
}


def create(agreement_id: str, terms: Terms, *, now: datetime) -> Change:
    """Create a draft.

    Raises:
        InvalidTerms: a rule that holds in every state is broken.
    """
    at = to_instant(now)
    draft = Agreement(agreement_id, normalize(terms), Status.DRAFT, 1, at, at)
    _check_size(draft)
    return Change(draft, EventKind.CREATED, "create")


def list_allowed(status: Status, policy: Policy) -> list[str]:
    """List what an operator may do in a state."""
    found = [
        command.value
        for command, (sources, _) in TRANSITIONS.items()
        if status in sources and command not in BY_CLOCK
    ]
    if policy.approval_required and Command.ACTIVATE in found:
        found.remove(Command.ACTIVATE)
    if status in AMENDABLE:
        found.append("amend")
    if status in DELETABLE:
        found.append("delete")
    return found


def act(
    agreement: Agreement,
    command: Command,
    *,
    now: datetime,
    policy: Policy,
    reason: str | None = None,
    used_wh: int = 0,
) -> Change:
    """Carry out a command.

    Raises:
        IllegalTransition: not from this state.
        Incomplete: activation needs something that the terms lack.
        PeriodOver: it would begin or resume after its end.
    """
    sources, target = TRANSITIONS[command]
    by_policy = command is Command.ACTIVATE and policy.approval_required
    if agreement.status not in sources or by_policy:
        raise IllegalTransition(command, agreement.status, list_allowed(agreement.status, policy))
    at = to_instant(now)
    if target is None:
        target = _choose_initial_status(agreement.terms, at)
    if command is Command.RESUME and _is_over(agreement.terms, at):
        raise PeriodOver
    advanced = replace(
        agreement,
        status=target,
        status_reason=reason,
        revision=agreement.revision + 1,
        at=at,
        exhausted=usage.is_exhausted(agreement.terms.limits, used_wh),
        activated_at=(
            at
            if target is Status.ACTIVE and agreement.activated_at is None
            else agreement.activated_at
        ),
        ended_at=at if target in {Status.TERMINATED, Status.EXPIRED} else None,
    )
    event = _EVENT_OF.get(command, EventKind.UPDATED)
    if target is Status.ACTIVE and command in {Command.ACTIVATE, Command.APPROVE}:
        event = EventKind.ACTIVATED
    return Change(advanced, event, command.value)


def amend(
    agreement: Agreement, terms: Terms, *, now: datetime, policy: Policy, used_wh: int = 0
) -> Change | None:
    """Give an agreement other terms; None when they are the same.

    After activation the new revision supersedes the one before it.

    Raises:
        IllegalTransition: not in this state.
        InvalidTerms: a rule that holds in every state is broken.
        Immutable: a field that is fixed since activation would change.
        Incomplete: it is activated and would lack what that needs.
    """
    if agreement.status not in AMENDABLE:
        raise IllegalTransition("amend", agreement.status, list_allowed(agreement.status, policy))
    new = normalize(terms)
    old = agreement.terms
    if new == old:
        return None
    at = to_instant(now)
    supersedes = agreement.supersedes
    if agreement.status in LIVE:
        _check_live_amendment(agreement, new, at)
        supersedes = f"{agreement.id}:{agreement.revision}"
    amended = replace(
        agreement,
        terms=new,
        supersedes=supersedes,
        revision=agreement.revision + 1,
        at=at,
        exhausted=usage.is_exhausted(new.limits, used_wh),
    )
    _check_size(amended)
    return Change(amended, EventKind.UPDATED, "amend")


def delete(agreement: Agreement, *, now: datetime, policy: Policy) -> Change:
    """Delete an agreement: returns its last revision.

    Raises:
        IllegalTransition: it has been activated, or waits for approval.
    """
    if agreement.status not in DELETABLE:
        raise IllegalTransition("delete", agreement.status, list_allowed(agreement.status, policy))
    last = replace(agreement, revision=agreement.revision + 1, at=to_instant(now))
    return Change(last, EventKind.DELETED, "delete")


def update_exhausted(agreement: Agreement, *, used_wh: int, now: datetime) -> Change | None:
    """Mark an agreement whose cap is used up, or no longer is; None when nothing changes."""
    exhausted = usage.is_exhausted(agreement.terms.limits, used_wh)
    if exhausted == agreement.exhausted or agreement.status not in LIVE:
        return None
    settled = replace(
        agreement, exhausted=exhausted, revision=agreement.revision + 1, at=to_instant(now)
    )
    return Change(settled, EventKind.UPDATED, "usage")


def forget_tokens(agreement: Agreement, refs: Collection[str], *, now: datetime) -> Change | None:
    """Remove tokens whose holders were erased; None when the agreement names none of them.

    In every state, also after its end, and even if no token is left: a person's wish goes before
    what an activation needs. Without tokens it lets nobody charge.
    """
    kept = tuple(token for token in agreement.terms.tokens if token.ref not in refs)
    if kept == agreement.terms.tokens:
        return None
    without = replace(
        agreement,
        terms=replace(agreement.terms, tokens=kept),
        revision=agreement.revision + 1,
        at=to_instant(now),
    )
    return Change(without, EventKind.UPDATED, "token_erased")


def choose_due_command(agreement: Agreement, now: datetime) -> Command | None:
    """Choose what is due for an agreement now: begin, expire or None."""
    terms = agreement.terms
    if agreement.status is Status.SCHEDULED and terms.valid_from <= now:
        return Command.BEGIN
    if agreement.status in {Status.ACTIVE, Status.SUSPENDED} and _is_over(terms, now):
        return Command.EXPIRE
    return None


def _choose_initial_status(terms: Terms, at: datetime) -> Status:
    if missing := find_missing_for_activation(terms):
        raise Incomplete(missing)
    if _is_over(terms, at):
        raise PeriodOver
    return Status.ACTIVE if terms.valid_from <= at else Status.SCHEDULED


def _is_over(terms: Terms, at: datetime) -> bool:
    return terms.valid_to is not None and terms.valid_to <= at


def _check_size(agreement: Agreement) -> None:
    """Others get the whole agreement in one record: no field's own bound keeps their sum small."""
    told = msgspec.to_builtins(agreement.snapshot())
    sizes = {name: len(msgspec.json.encode(value)) for name, value in told.items()}
    size = sum(sizes.values()) + sum(len(name) + 4 for name in sizes)
    if size > AGREEMENT_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        message = f"takes {sizes[largest]} of {size} bytes; an agreement may take {AGREEMENT_BYTES}"
        raise InvalidTerms([FieldError(largest, message)])


def _check_live_amendment(agreement: Agreement, new: Terms, at: datetime) -> None:
    old = agreement.terms
    fixed = list(_FIXED_AFTER_ACTIVATION)
    if agreement.status is not Status.SCHEDULED:
        fixed.append("valid_from")  # it has begun
    changed = [name for name in fixed if getattr(old, name) != getattr(new, name)]
    if changed:
        raise Immutable(changed)
    if missing := find_missing_for_activation(new):
        raise Incomplete(missing)
    if new.valid_to != old.valid_to and _is_over(new, at):
        raise InvalidTerms([FieldError("valid_to", "must be in the future: terminate it instead")])
