"""`agreements.events` and `stations.state`: what other services own and decisions need."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.agreements import AgreementSnapshot
from voltbus_backbone.contract.stations import StationState
from voltbus_backbone.values.hours import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from voltbus_auth.projections.handlers.ports import Projections
    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.values import OpeningHours

S = TypeVar("S", AgreementSnapshot, StationState)

TYPES = frozenset(
    {
        registry.AGREEMENT_CREATED.name,
        registry.AGREEMENT_UPDATED.name,
        registry.AGREEMENT_ACTIVATED.name,
        registry.AGREEMENT_SUSPENDED.name,
        registry.AGREEMENT_RESUMED.name,
        registry.AGREEMENT_EXPIRED.name,
        registry.AGREEMENT_TERMINATED.name,
        registry.AGREEMENT_DELETED.name,
        registry.STATION_STATE.name,
    }
)


class Projecting:
    """Keeps the newest revision of each agreement and station."""

    def __init__(
        self,
        projections: Projections,
        *,
        agreements_changed: Callable[[Collection[str]], Awaitable[None]] | None = None,
    ) -> None:
        self._projections = projections
        self._agreements_changed = agreements_changed

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Store a batch; nothing is answered.

        Raises:
            ValueError: hours that nobody can read; the loop sends that record to the dead letters.
        """
        kept: dict[str, AgreementSnapshot] = {}
        dropped: dict[str, AgreementSnapshot] = {}
        states: dict[str, StationState] = {}
        for event in events:
            message = event.message
            if isinstance(message, StationState):
                _check(message.opening_hours)
                _keep_newest(states, message.station_id, message)
            elif event.type == registry.AGREEMENT_DELETED.name:
                dropped[message.id] = message
            else:
                _check(message.schedule)
                _keep_newest(kept, message.id, message)
        if kept:
            await self._projections.put_agreements(list(kept.values()))
        if dropped:
            await self._projections.drop_agreements(list(dropped.values()))
        if self._agreements_changed is not None and (kept or dropped):
            # After they are stored: whoever is told reads the new ones.
            await self._agreements_changed({*kept, *dropped})
        if states:
            await self._projections.put_stations(list(states.values()))
        return []


def _keep_newest(into: dict[str, S], name: str, found: S) -> None:
    earlier = into.get(name)
    if earlier is None or found.revision >= earlier.revision:
        into[name] = found


def _check(hours: OpeningHours | None) -> None:
    if hours is not None and validate(hours):
        raise ValueError("hours that cannot be read")
