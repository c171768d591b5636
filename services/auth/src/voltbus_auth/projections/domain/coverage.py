"""A service agreement as authorization sees it: whom it covers, where, when and how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.projections.domain.places import Place, Window
from voltbus_backbone.contract.agreements import AgreementSnapshot, AgreementStatus

if TYPE_CHECKING:
    from datetime import datetime

EVERYWHERE = "*"
_SUSPENDS = frozenset({AgreementStatus.SUSPENDED, AgreementStatus.TERMINATED})


@dataclass(frozen=True, slots=True)
class Coverage:
    """One agreement, ready to be asked. ``evses`` maps a station to the EVSEs named of it."""

    terms: AgreementSnapshot
    schedule: Window | None
    evses: dict[str, frozenset[int]]

    def in_force(self, at: datetime) -> bool:
        """Active, and within its term even if its service is late in saying so."""
        terms = self.terms
        return (
            terms.status is AgreementStatus.ACTIVE
            and terms.valid_from <= at
            and (terms.valid_to is None or at < terms.valid_to)
        )

    def blocks(self) -> bool:
        """Suspended or terminated: what it covered is blocked."""
        return self.terms.status in _SUSPENDS

    def has_expired(self, at: datetime) -> bool:
        """Its term is over, whether or not its service has said so."""
        terms = self.terms
        return terms.status is AgreementStatus.EXPIRED or (
            terms.status is AgreementStatus.ACTIVE
            and terms.valid_to is not None
            and terms.valid_to <= at
        )

    def evses_at(self, place: Place) -> frozenset[int] | None:
        """The EVSEs of this station in its scope: None for all of them, empty for none."""
        scope = self.terms.scope
        if not (scope.locations or scope.stations or scope.groups or scope.evses):
            return None
        if (
            place.station_id in scope.stations
            or (place.site_id is not None and place.site_id in scope.locations)
            or (place.group_id is not None and place.group_id in scope.groups)
        ):
            return None
        return self.evses.get(place.station_id, frozenset())


def scope_keys(snapshot: AgreementSnapshot) -> list[str]:
    """Where an agreement holds, in a form to be looked up: ``*`` is everywhere."""
    scope = snapshot.scope
    keys = [f"site:{name}" for name in scope.locations]
    keys += [f"station:{name}" for name in scope.stations]
    keys += [f"group:{name}" for name in scope.groups]
    keys += [f"station:{name.rpartition('/')[0]}" for name in scope.evses if "/" in name]
    named = bool(scope.locations or scope.stations or scope.groups or scope.evses)
    return list(dict.fromkeys(keys)) if named else [EVERYWHERE]


def coverage_of(snapshot: AgreementSnapshot) -> Coverage:
    """Prepare an agreement for deciding."""
    evses: dict[str, set[int]] = {}
    for name in snapshot.scope.evses:
        station_id, _, number = name.rpartition("/")
        if station_id and number.isdigit():
            evses.setdefault(station_id, set()).add(int(number))
    return Coverage(
        terms=snapshot,
        schedule=Window(snapshot.schedule) if snapshot.schedule is not None else None,
        evses={station: frozenset(numbers) for station, numbers in evses.items()},
    )


def needed(snapshot: AgreementSnapshot) -> AgreementSnapshot:
    """The agreement without what authorization has no business knowing (names, parties, notes)."""
    return msgspec.structs.replace(
        snapshot, name="", parties=(), metadata={}, station_terms=None, status_reason=None
    )
