"""Begins the rotations of fleets at their pace.

One replica at a time looks at a fleet; a claim whose process died lapses. A rotation's id is its
place in the fleet, so that one that was begun before a kill -9 is found to be there.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.credentials.domain.changes import fleet as pacing
from voltbus_auth.credentials.domain.changes import rotation
from voltbus_auth.credentials.store.changes import Move, OvertakenError
from voltbus_backbone.lookout import Lookout

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_auth.credentials.domain.changes.fleet import Fleet
    from voltbus_auth.credentials.domain.changes.rotation import PasswordKey
    from voltbus_auth.credentials.domain.credentials import Credentials
    from voltbus_auth.credentials.handlers.conductor import Conductor
    from voltbus_auth.credentials.store.changes import ChangeStore
    from voltbus_auth.credentials.store.credentials import CredentialStore
    from voltbus_auth.credentials.store.fleets import FleetStore
    from voltbus_auth.projections.store import ProjectionStore

_LOOK_EVERY_S = 0.5


class Fleets:
    """The part of fleets that the clock drives."""

    def __init__(
        self,
        fleets: FleetStore,
        changes: ChangeStore,
        credentials: CredentialStore,
        stations: ProjectionStore,
        conductor: Conductor,
        *,
        key: PasswordKey,
        now: Callable[[], datetime],
    ) -> None:
        self._fleets = fleets
        self._changes = changes
        self._credentials = credentials
        self._stations = stations
        self._conductor = conductor
        self._key = key
        self._now = now
        self._lookout = Lookout("fleets", self.look, every_s=_LOOK_EVERY_S)

    async def run(self) -> None:
        """Look for the life of the process."""
        await self._lookout.run()

    async def look(self) -> bool:
        """Look at one fleet that is due; whether there was one."""
        now = self._now()
        fleet = await self._fleets.claim(now)
        if fleet is None:
            return False
        progress = await self._fleets.progress(fleet.id)
        wanted = pacing.room(fleet, progress, now)
        outcomes: dict[str, str | None] = {}
        if wanted:
            targets = await self._fleets.waiting(fleet.id, wanted)
            names = [station_id for _, station_id in targets]
            known = await self._credentials.credentials(names)
            registered = await self._stations.registered(names)
            for change_id, station_id in targets:
                held = known.get(station_id) if station_id in registered else None
                outcomes[change_id] = await self._begin(fleet, change_id, held, now)
            await self._fleets.mark(outcomes)
            self._conductor.wake()
        begun = sum(reason is None for reason in outcomes.values())
        after = msgspec.structs.replace(
            progress, waiting=progress.waiting - len(outcomes), open=progress.open + begun
        )
        await self._fleets.write(pacing.looked_at(fleet, after, begun, now))
        return True

    async def _begin(
        self, fleet: Fleet, change_id: str, known: Credentials | None, now: datetime
    ) -> str | None:
        """Begin a station's rotation; the reason when that cannot be."""
        if known is None:
            return "it is not registered, or has no credentials"
        if known.change_id == change_id:
            return None  # begun before a process died
        if known.change_id is not None:
            return "a rotation or an upgrade of it is open"
        if not known.verifiers:
            return "it has no password"
        change, both = rotation.begin(
            change_id,
            known,
            self._key,
            secrets.token_bytes,
            now,
            wait_s=fleet.wait_s,
            timeout_s=fleet.timeout_s,
            fleet_id=fleet.id,
        )
        try:
            await self._changes.start(Move(change, both))
        except OvertakenError:
            return "its credentials were changed at the same moment"
        return None
