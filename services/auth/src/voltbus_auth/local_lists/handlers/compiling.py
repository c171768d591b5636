"""What stations should hold, worked out for some of them at a time.

What was read and decided is shared among the stations of one portion: in a group most lists are
alike. The work is done in slices, between which other requests get their turn.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

from voltbus_auth.local_lists.domain.entries import Compilation, Desired
from voltbus_auth.local_lists.domain.plans import merged
from voltbus_auth.projections.domain.places import place_of
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Policy
    from voltbus_auth.local_lists.domain.entries import Candidate
    from voltbus_auth.local_lists.domain.facts import Station
    from voltbus_auth.local_lists.domain.plans import Plan, Wanted
    from voltbus_auth.local_lists.store.list_stores import ListStores

# The plans, where agreements may hold, how many find room, and whether tags have no types.
_Name = tuple[tuple[str, ...], tuple[str, ...], int, bool]

_SLICE = 50  # decisions, of about 10 µs each


class Compiling:
    """Compiles for one portion of stations, at one time."""

    def __init__(self, store: ListStores, policy: Policy, at: datetime) -> None:
        self._tokens = store.listed_token
        self._plans = store.plan
        self._policy = policy
        self._at = at
        self._candidates: dict[_Name, dict[str, Candidate]] = {}
        self._desired: dict[Any, Desired] = {}

    async def of(self, station: Station, plans: Sequence[Plan]) -> Desired:
        """What the station should hold by these plans, the narrowest first."""
        wanted, told, protocol = merged(plans), station.told, station.list.protocol
        if wanted is None or told is None or protocol is None:
            return Desired()
        place = place_of(told)
        keys = tuple(plan.key for plan in plans)
        most = station.list.most_entries
        # Agreements may name single stations; then nothing is shared.
        where = station.plan_keys if wanted.covered else ()
        name = (keys, where, most, protocol is Protocol.OCPP16)
        candidates = await self._candidates_of(wanted, plans, name)
        alike = (
            keys,
            protocol,
            most,
            place.site_id,
            place.group_id,
            place.payment_methods,
            tuple(sorted(place.evse_kinds.items())),
            station.id if where or _names_stations(candidates) else "",
        )
        if alike not in self._desired:
            work = Compilation(wanted, place, protocol, self._at, self._policy)
            for some in _slices(candidates):
                work.add(some)
                await asyncio.sleep(0)
            self._desired[alike] = work.done(most)
        return self._desired[alike]

    async def _candidates_of(
        self, wanted: Wanted, plans: Sequence[Plan], name: _Name
    ) -> dict[str, Candidate]:
        if name not in self._candidates:
            _, where, most, untyped = name
            refs = await self._tokens.wanted(wanted, where, most, self._at)
            found = await self._tokens.candidates(refs, untyped=untyped)
            # Noted before it is read for good: whoever changes a token from now on marks this list.
            if await self._plans.note(_members(found, plans)):
                found = await self._tokens.candidates(refs, untyped=untyped)
            self._candidates[name] = found
        return self._candidates[name]


def _members(candidates: dict[str, Candidate], plans: Sequence[Plan]) -> Iterator[tuple[str, str]]:
    """Which token is wanted by which plan. By an agreement: each that wants covered tokens.

    A rival is noted with the token whose line it may take: it is led to that list when it goes.
    """
    for plan in plans:
        alone = merged([plan])
        assert alone is not None  # noqa: S101 - of one plan
        for ref, candidate in candidates.items():
            covered = bool(candidate.coverages)
            if alone.rank(candidate.token, covered=covered) is not None:
                yield ref, plan.key
                for rival in candidate.rivals:
                    yield rival.ref, plan.key


def _names_stations(candidates: dict[str, Candidate]) -> bool:
    return any(
        coverage.terms.scope.stations or coverage.terms.scope.evses
        for candidate in candidates.values()
        for coverage in candidate.coverages
    )


def _slices(candidates: dict[str, Candidate]) -> Iterator[list[Candidate]]:
    rest = iter(candidates.values())
    while some := list(islice(rest, _SLICE)):
        yield some
