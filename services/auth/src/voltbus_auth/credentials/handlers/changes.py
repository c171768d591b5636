"""`commands.events` and `stations.events`: how changes' commands end, and how stations log in.

A consumer group of its own: settling a password must not wait behind meter values. A batch is one
read, a pure decision in the order of the log, and one transaction. The same record twice finds a
change that it moves no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from voltbus_auth.credentials.domain.changes import following
from voltbus_auth.credentials.domain.changes.change import FINAL, Change, change_of, settled
from voltbus_auth.credentials.domain.changes.presence import Presence, presence_of
from voltbus_auth.credentials.store.changes import Move, OvertakenError
from voltbus_backbone.contract.config import CommandChanged
from voltbus_backbone.contract.registry import (
    COMMAND_CHANGED,
    STATION_CONNECTED,
    STATION_DISCONNECTED,
)
from voltbus_backbone.contract.stations import StationConnected, StationDisconnected
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus_auth.credentials.handlers.conductor import Conductor
    from voltbus_auth.credentials.store.changes import ChangeStore
    from voltbus_auth.credentials.store.credentials import CredentialStore
    from voltbus_backbone.bus.envelope import Event, Record

log = structlog.get_logger(__name__)

_TRIES = 10

TYPES = frozenset({COMMAND_CHANGED.name, STATION_CONNECTED.name, STATION_DISCONNECTED.name})


class Following:
    """Moves open changes by what is heard."""

    def __init__(
        self, changes: ChangeStore, credentials: CredentialStore, conductor: Conductor
    ) -> None:
        self._changes = changes
        self._credentials = credentials
        self._conductor = conductor

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Move what a batch moves; commands that follow are the conductor's."""
        await self._remember(events)
        for _ in range(_TRIES):
            try:
                moved = await self._move(events)
            except OvertakenError:
                continue  # somebody else wrote one of them: with what stands now it goes again
            if moved:
                self._conductor.wake()
            return []
        raise Unavailable("changes are being written by others again and again")

    async def _move(self, events: Sequence[Event]) -> bool:
        messages = [event.message for event in events]
        ids = {change_of(each.cause) for each in messages if isinstance(each, CommandChanged)}
        stations = {each.station_id for each in messages if isinstance(each, StationConnected)}
        wanted = {each for each in ids if each is not None}
        if not wanted and not stations:
            return False
        loaded = await self._changes.concerned(wanted, stations)
        if not loaded:
            return False
        known = {change.id: change for change in loaded}
        # One for each station, or more where its credentials were deleted and made anew.
        of_station: dict[str, list[str]] = {}
        for change in loaded:
            of_station.setdefault(change.station_id, []).append(change.id)
        for message in messages:
            for name in of_station.get(message.station_id, ()):
                known[name] = _after(known[name], message) or known[name]
        before = {change.id: change.revision for change in loaded}
        moved = [change for change in known.values() if change.revision != before[change.id]]
        await write(self._changes, self._credentials, moved, before)
        return bool(moved)

    async def _remember(self, events: Sequence[Event]) -> None:
        """How stations came and went, folded to one write for each."""
        seen: dict[str, Presence] = {}
        gone: list[tuple[str, str]] = []
        for event in events:
            message = event.message
            if isinstance(message, StationConnected):
                seen[message.station_id] = presence_of(message)
            elif isinstance(message, StationDisconnected):
                gone.append((message.station_id, message.connection_id))
        if seen or gone:
            await self._changes.seen(list(seen.values()), gone)


async def write(
    changes: ChangeStore,
    credentials: CredentialStore,
    moved: Iterable[Change],
    before: dict[str, int],
) -> None:
    """Store changes that moved, as one revision above ``before``, and what they settle.

    Raises:
        OvertakenError: somebody else wrote one of them, or a station's credentials.
    """
    stepped = [msgspec.structs.replace(change, revision=before[change.id] + 1) for change in moved]
    over = [change for change in stepped if change.state in FINAL]
    known = await credentials.credentials([change.station_id for change in over]) if over else {}
    moves = []
    for change in stepped:
        held = known.get(change.station_id) if change.state in FINAL else None
        # Credentials that were deleted, or set anew after that, are no longer this change's.
        mine = held is not None and held.change_id == change.id
        moves.append(Move(change, settled(held, change) if held is not None and mine else None))
    if moves:
        await changes.write(moves)
    for change in over:
        log.info(
            "credentials.changed",
            kind=change.kind.value,
            change_id=change.id,
            station_id=change.station_id,
            state=change.state.value,
        )


def _after(change: Change, message: object) -> Change | None:
    if isinstance(message, CommandChanged):
        return following.heard(change, message)
    if isinstance(message, StationConnected):
        return following.connected(change, message)
    return None
