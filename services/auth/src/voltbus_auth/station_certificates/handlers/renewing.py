"""Has stations renew certificates that are soon at their end: they are told to ask for a new one.

Paced, so that a fleet whose certificates were made on one day does not come to the authority on
one day. A command is published first and marked afterwards, under an idempotency key of certificate
and day: replicas that find the same one, or a process killed in between, make one command of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.station_certificates.domain.application import (
    ASKED_AGAIN,
    needs_renewal,
    renewal_looked_at,
)
from voltbus_auth.station_certificates.handlers.applications import COUNTED
from voltbus_backbone.bus.envelope import event as new_event
from voltbus_backbone.bus.refusals import deliver
from voltbus_backbone.contract.config import CommandRequested
from voltbus_backbone.contract.registry import COMMAND, Topic
from voltbus_backbone.lookout import Lookout
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta
    from typing import Protocol

    from voltbus_auth.station_certificates.domain.application import Application
    from voltbus_auth.station_certificates.handlers.applications import Applications
    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.bus.ports import Publishing

    class Expiring(Applications, Protocol):
        """Keeps applications, and finds those whose certificates end."""

        async def expiring(
            self, before: datetime, looked_before: datetime, most: int
        ) -> Sequence[Application]:
            """Certificates in use that end before a time and were not looked at since another."""
            ...


_LOOK_EVERY_S = 60.0


class Renewing:
    """Looks once a minute, at so many at most."""

    def __init__(
        self,
        kept: Expiring,
        publisher: Publishing,
        *,
        ahead: timedelta,
        per_minute: int,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._kept = kept
        self._publisher = publisher
        self._ahead = ahead
        self._most = per_minute
        self._source = source
        self._now = now
        self._lookout = Lookout("renewals", self._once, every_s=_LOOK_EVERY_S)

    async def run(self) -> None:
        """Look for the life of the process."""
        await self._lookout.run()

    async def _once(self) -> None:
        await self.look()  # however many there were, the others have their turn in a minute

    async def look(self) -> int:
        """How many stations were told to ask for a new certificate."""
        now = to_milliseconds(self._now())
        ends = now + self._ahead
        found = await self._kept.expiring(ends, now - ASKED_AGAIN, self._most)
        if not found:
            return 0
        others = list((await self._kept.of_stations({one.station_id for one in found})).values())
        due = [one for one in found if needs_renewal(one, others, ends, now)]
        if due:
            orders = [self._order(one, now) for one in due]
            await deliver(self._publisher, orders, Topic.AUTH_DEAD_LETTER, now)
        marked = [renewal_looked_at(one, now) for one in found]
        # Who was changed meanwhile is looked at again in a minute.
        await self._kept.write(marked, {one.id: one.revision for one in found})
        COUNTED.labels("renewal_asked").inc(len(due))
        return len(due)

    def _order(self, one: Application, now: datetime) -> Record:
        key = f"station-certificate-renewal:{one.id}:{one.round}:{now:%Y-%m-%d}"
        return new_event(
            COMMAND,
            CommandRequested(
                station_id=one.station_id,
                action="trigger",
                payload={"message": "sign_certificate"},
                idempotency_key=key,
            ),
            id=key,
            source=self._source,
            now=now,
        )
