"""Every way in which the domain says no.

Refusal
├── InvalidTerms       the terms contradict themselves; ``errors`` name the fields
├── IllegalTransition  the current state does not allow it; names the state and what is allowed
├── Incomplete         something is missing for activation; ``errors`` name the fields
├── PeriodOver         the agreement's time has passed
├── Immutable          these fields are fixed since activation
└── Overlapping        a token already has an agreement for this period and scope
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class FieldError(NamedTuple):
    """What is wrong with one field, without its value."""

    field: str
    message: str


class Refusal(Exception):  # noqa: N818 - a decision, not a malfunction
    """The command has no effect. ``errors`` names fields where fields are at fault."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)


class InvalidTerms(Refusal):
    """The terms break a rule that holds in every state."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("The terms do not fit together.", errors)


class IllegalTransition(Refusal):
    """The life cycle has no such step from here."""

    def __init__(self, command: str, status: str, allowed: Sequence[str]) -> None:
        choice = ", ".join(allowed) if allowed else "nothing: this is its end"
        super().__init__(f"Cannot {command} an agreement that is {status}. Allowed now: {choice}.")
        self.status = status
        self.allowed = list(allowed)


class Incomplete(Refusal):
    """Activation needs a provider, a customer and at least one token or station."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("The agreement lacks what it needs to be activated.", errors)


class PeriodOver(Refusal):
    """Its end has come: nothing can begin or resume."""

    def __init__(self) -> None:
        super().__init__("The period of the agreement is over: its valid_to has passed.")


class Immutable(Refusal):
    """What is fixed once an agreement is activated."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(
            "Fixed since activation: make a new agreement for other values.",
            [FieldError(field, "cannot change after activation") for field in fields],
        )


class Overlapping(Refusal):
    """A token has at most one agreement per period and scope."""

    def __init__(self, other_id: str) -> None:
        super().__init__(
            f"A token of this agreement has agreement {other_id} for the same time and place."
        )
        self.other_id = other_id
