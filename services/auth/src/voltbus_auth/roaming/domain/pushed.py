"""What becomes of a token that another system puts or removes: pure, from what is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltbus_auth.tokens.domain.token import Token


class Outcome(StrEnum):
    """What a message came to."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ERASED = "erased"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The token is not at the revision that the sender expected."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """What it came to. ``revision`` is the one that holds afterwards.

    ``token``: what is to be written or removed, at the revision that is there; None for nothing.
    """

    outcome: Outcome
    revision: int
    token: Token | None = None


def put(there: Token | None, wanted: Token, expected: int | None) -> Done | Overtaken:
    """Put a token. The same content again changes nothing, whatever revision was expected.

    So a message that is delivered twice succeeds twice, with one effect.
    """
    if there is None:
        if expected:
            return Overtaken(f"expected_revision: there is no token, and so no revision {expected}")
        return Done(Outcome.CREATED, wanted.revision, wanted)
    # It keeps the name it has, whatever key that was made under.
    after = replace(wanted, ref=there.ref, revision=there.revision)
    if after == there:
        return Done(Outcome.UNCHANGED, there.revision)
    if expected is not None and expected != there.revision:
        return Overtaken(f"expected_revision: it is at revision {there.revision} by now")
    return Done(Outcome.UPDATED, there.revision + 1, after)


def remove(there: Token | None, expected: int | None, *, erase: bool) -> Done | Overtaken:
    """Remove a token; one that is gone already is gone."""
    if there is None:
        return Done(Outcome.ABSENT, 0)
    if expected is not None and expected != there.revision:
        return Overtaken(f"expected_revision: it is at revision {there.revision} by now")
    return Done(Outcome.ERASED if erase else Outcome.REMOVED, there.revision, there)
