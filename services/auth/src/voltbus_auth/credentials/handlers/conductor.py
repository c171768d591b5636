"""Asks for the commands of rotations and upgrades, and notices those whose time is over.

What is due is claimed for some seconds, so that replicas share the work; a claim whose process died
lapses. A command is published first and marked afterwards: a process that is killed in between
leaves it to the next one, which asks again under the same idempotency key and with the same
password, and config keeps one command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from voltbus_auth.credentials.domain.changes import change as states
from voltbus_auth.credentials.domain.changes import following, rotation, upgrade
from voltbus_auth.credentials.domain.changes.change import Change, Kind, State
from voltbus_auth.credentials.handlers import changes as following_events
from voltbus_auth.credentials.store.changes import OvertakenError
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.refusals import deliver
from voltbus_backbone.contract.config import CommandRequested
from voltbus_backbone.contract.registry import COMMAND, Topic
from voltbus_backbone.lookout import Lookout

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_auth.credentials.domain.changes.change import Wanted
    from voltbus_auth.credentials.domain.changes.rotation import PasswordKey
    from voltbus_auth.credentials.store.changes import ChangeStore
    from voltbus_auth.credentials.store.credentials import CredentialStore
    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.bus.ports import Publishing

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0


class Conductor:
    """The part of changes that the clock drives."""

    def __init__(
        self,
        changes: ChangeStore,
        credentials: CredentialStore,
        publisher: Publishing,
        *,
        key: PasswordKey,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._changes = changes
        self._credentials = credentials
        self._publisher = publisher
        self._key = key
        self._source = source
        self._now = now
        self._lookout = Lookout("changes", self.look, every_s=_LOOK_EVERY_S)

    def wake(self) -> None:
        """Look at once: something is due."""
        self._lookout.wake()

    async def run(self) -> None:
        """Look for the life of the process."""
        await self._lookout.run()

    async def look(self) -> int:
        """Do what is due once; how many changes were looked at."""
        now = self._now()
        claimed = await self._changes.claim(now)
        asked = [change for change in claimed if change.state is State.STARTING]
        requests = [(change, self._wanted(change)) for change in asked]
        records = {
            change.id: self._record(change, each, now)
            for change, each in requests
            if each is not None
        }
        if records:
            await deliver(self._publisher, list(records.values()), Topic.AUTH_DEAD_LETTER, now)
        for change in claimed:
            await self._mark(change, now, published=change.id in records)
        return len(claimed)

    async def _mark(self, change: Change, now: datetime, *, published: bool) -> None:
        after = following.overdue(change, now)
        if after is None and published:
            after = states.published(change)
        if after is None:
            return
        try:
            before = {change.id: change.revision}
            await following_events.write(self._changes, self._credentials, [after], before)
        except OvertakenError:
            log.debug("changes.overtaken", change_id=change.id)  # its events were quicker

    def _wanted(self, change: Change) -> Wanted | None:
        if change.kind is Kind.ROTATION:
            return rotation.wanted(change, self._key)
        return upgrade.wanted(change)

    def _record(self, change: Change, wanted: Wanted, now: datetime) -> Record:
        cause = states.cause(change)
        request = CommandRequested(
            station_id=change.station_id,
            action=wanted.action,
            payload=wanted.payload,
            idempotency_key=cause,
            expires_at=change.expires_at,
            timeout_s=change.timeout_s,
            cause=cause,
        )
        return envelope.event(COMMAND, request, id=cause, source=self._source, now=now)
