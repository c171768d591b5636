"""Applications for certificates in memory, as the store on MongoDB keeps them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from voltbus_auth.station_certificates.domain.application import RENEWED, Application, State
from voltbus_auth.station_certificates.domain.requests import STATION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime


class MemoryApplications:
    """The tests of the handlers run on this and on MongoDB alike."""

    def __init__(self) -> None:
        self.all: dict[str, Application] = {}

    async def load(
        self, ids: Collection[str], pending_of: Collection[str]
    ) -> tuple[dict[str, Application], Counter[str]]:
        counts = Counter(
            one.station_id
            for one in self.all.values()
            if one.station_id in pending_of and one.state is State.PENDING
        )
        return {name: self.all[name] for name in ids if name in self.all}, counts

    async def of_stations(self, station_ids: Collection[str]) -> dict[str, Application]:
        return {name: one for name, one in self.all.items() if one.station_id in station_ids}

    async def write(
        self, applications: Sequence[Application], loaded: Mapping[str, int]
    ) -> set[str]:
        lost = set()
        for one in applications:
            stored = self.all.get(one.id)
            if (stored.revision if stored is not None else None) == loaded.get(one.id):
                self.all[one.id] = one
            elif stored != one:
                lost.add(one.id)
        return lost

    async def expiring(
        self, before: datetime, looked_before: datetime, most: int
    ) -> list[Application]:
        found = [
            one
            for one in self.all.values()
            if one.not_after is not None
            and one.not_after < before
            and one.state in RENEWED
            and one.type == STATION
            and (one.renewal_at is None or one.renewal_at <= looked_before)
        ]
        return sorted(found, key=lambda one: (one.not_after, one.id))[:most]
