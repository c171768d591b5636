"""Plans: which tokens an operator wants on the local lists of a group, a site or a station."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from voltbus_auth.tokens.domain.token import Whitelist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_auth.tokens.domain.token import Token


class Scope(StrEnum):
    """For which stations a plan is; the order is from the narrowest to the widest."""

    STATION = "station"
    SITE = "site"
    GROUP = "group"


class Blocked(StrEnum):
    """What becomes of a blocked token that a plan names.

    ``REMOVE``: it is taken off the list. ``LIST``: it stays there as Blocked, so that a station
    which lets unknown tokens charge while it is offline refuses this one.
    """

    REMOVE = "remove"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it is stored. ``key`` is ``<scope>:<id>``.

    ``tokens`` are references, ``token_groups`` the ``group_id`` of tokens; ``covered`` adds every
    token whose agreements cover the station, ``whitelist`` every token with one of these words.
    """

    key: str
    revision: int = 1
    tokens: tuple[str, ...] = ()
    token_groups: tuple[str, ...] = ()
    covered: bool = False
    whitelist: tuple[Whitelist, ...] = ()
    blocked: Blocked = Blocked.REMOVE


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the plans of one station come to."""

    tokens: frozenset[str] = frozenset()
    token_groups: frozenset[str] = frozenset()
    covered: bool = False
    whitelist: frozenset[Whitelist] = frozenset()
    blocked: Blocked = Blocked.REMOVE

    def rank(self, token: Token, *, covered: bool) -> int | None:
        """Where the token stands when not all find room (0 first); None: it is not wanted."""
        if token.ref in self.tokens:
            return 0
        if token.group_id is not None and token.group_id in self.token_groups:
            return 1
        if self.covered and covered:
            return 2
        if token.whitelist in self.whitelist:
            return 3 if token.whitelist is Whitelist.ALWAYS else 4
        return None


def key_of(scope: Scope, name: str) -> str:
    """What a plan is called."""
    return f"{scope.value}:{name}"


def keys_of(station_id: str, site_id: str | None, group_id: str | None) -> tuple[str, ...]:
    """The plans that a station may have, the narrowest first."""
    named = ((Scope.STATION, station_id), (Scope.SITE, site_id), (Scope.GROUP, group_id))
    return tuple(key_of(scope, name) for scope, name in named if name)


def merged(plans: Sequence[Plan]) -> Wanted | None:
    """The plans of one station together, the narrowest given first; None where there is none.

    What they name adds up; of what they decide, the narrowest does.
    """
    if not plans:
        return None
    return Wanted(
        tokens=frozenset(ref for plan in plans for ref in plan.tokens),
        token_groups=frozenset(name for plan in plans for name in plan.token_groups),
        covered=any(plan.covered for plan in plans),
        whitelist=frozenset(word for plan in plans for word in plan.whitelist) - {Whitelist.NEVER},
        blocked=plans[0].blocked,
    )
