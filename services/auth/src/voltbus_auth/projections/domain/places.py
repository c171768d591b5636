"""Where and when: a station as authorization sees it, and time windows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.values.hours import is_open, next_change

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.stations import StationState
    from voltbus_backbone.contract.values import OpeningHours


class Window:
    """Opening hours with a memory: between two changes the answer is the same for everyone."""

    __slots__ = ("_from", "_hours", "_open", "_until")

    def __init__(self, hours: OpeningHours) -> None:
        self._hours = hours
        self._from: datetime | None = None
        self._until: datetime | None = None
        self._open = False

    def at(self, moment: datetime) -> tuple[bool, datetime | None]:
        """Whether it is open then, and when that ends (None: never)."""
        start, until = self._from, self._until
        if start is None or moment < start or (until is not None and moment >= until):
            self._open = is_open(self._hours, moment)
            self._until = until = next_change(self._hours, moment)
            self._from = moment
        return self._open, until


@dataclass(frozen=True, slots=True)
class Place:
    """A station: its site, its group, what its EVSEs are, when it is open, how one may pay."""

    station_id: str
    site_id: str | None = None
    group_id: str | None = None
    hours: Window | None = None
    payment_methods: frozenset[str] = frozenset()
    evse_kinds: dict[int, str] = field(default_factory=dict)


def place_of(state: StationState) -> Place:
    """The part of a station's state that decides."""
    kinds = {int(evse): kind for evse, kind in state.evse_kinds.items() if evse.isdigit()}
    return Place(
        station_id=state.station_id,
        site_id=state.site_id,
        group_id=state.group_id,
        hours=Window(state.opening_hours) if state.opening_hours is not None else None,
        payment_methods=frozenset(state.payment_methods),
        evse_kinds=kinds,
    )


def evse_of(protocol: Protocol, evse_id: int | None, connector_id: int | None) -> int | None:
    """The EVSE that is meant: in 1.6 a connector is one, and connector 0 is the whole station."""
    if protocol is Protocol.OCPP16:
        return connector_id or None
    return evse_id
