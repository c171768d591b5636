"""Which agreements exclude each other: a token has at most one per period and scope (rules D).

Two scopes count as overlapping unless they provably do not. What can be proved without knowing
which station stands where: two lists of EVSE kinds without a common one, or two scopes that name
only stations and EVSEs, only groups, or only locations, without a common one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_agreements.domain.agreement import Agreement
    from voltbus_agreements.domain.terms import Terms
    from voltbus_backbone.contract.agreements import Scope


def find_rival(agreement: Agreement, others: Iterable[Agreement]) -> Agreement | None:
    """Find another agreement that claims a token of this one for the same time and place."""
    refs = {token.ref for token in agreement.terms.tokens}
    for other in others:
        if (
            other.id != agreement.id
            and refs.intersection(token.ref for token in other.terms.tokens)
            and periods_overlap(agreement.terms, other.terms)
            and scopes_overlap(agreement.terms.scope, other.terms.scope)
        ):
            return other
    return None


def periods_overlap(first: Terms, other: Terms) -> bool:
    """Return whether two half-open periods share an instant; they may touch."""
    return _begins_before_end(first.valid_from, other.valid_to) and _begins_before_end(
        other.valid_from, first.valid_to
    )


def scopes_overlap(first: Scope, other: Scope) -> bool:
    """Return whether two scopes may share an EVSE."""
    if first.evse_kinds and other.evse_kinds and set(first.evse_kinds).isdisjoint(other.evse_kinds):
        return False
    first_kind, other_kind = _list_place_kinds(first), _list_place_kinds(other)
    if len(first_kind) != 1 or first_kind != other_kind:
        return True  # everywhere, or places that cannot be compared
    if first_kind == {"stations"}:
        return _stations_overlap(first, other) or _stations_overlap(other, first)
    names = "groups" if first_kind == {"groups"} else "locations"
    return not set(getattr(first, names)).isdisjoint(getattr(other, names))


def _begins_before_end(begin: datetime, end: datetime | None) -> bool:
    return end is None or begin < end


def _list_place_kinds(scope: Scope) -> set[str]:
    """By what the scope names its places; empty means everywhere."""
    found = set()
    if scope.stations or scope.evses:
        found.add("stations")
    if scope.groups:
        found.add("groups")
    if scope.locations:
        found.add("locations")
    return found


def _stations_overlap(first: Scope, other: Scope) -> bool:
    """Return whether a station or an EVSE that ``first`` names is within ``other``."""
    stations = {*first.stations, *(evse.rpartition("/")[0] for evse in first.evses)}
    return (
        not stations.isdisjoint(other.stations)
        or not set(first.evses).isdisjoint(other.evses)
        or not set(first.stations).isdisjoint(evse.rpartition("/")[0] for evse in other.evses)
    )
