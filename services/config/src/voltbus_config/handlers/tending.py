"""Looks at stations whenever something happened to them or one of their times has come."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.lookout import Lookout
from voltbus_config.domain import layers as layering
from voltbus_config.domain.commands import FINAL
from voltbus_config.domain.connections import Presence
from voltbus_config.domain.desired import Desired
from voltbus_config.domain.tending import Case, Decision, decide
from voltbus_config.handlers.reservations import Reservations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.store import Session

log = structlog.get_logger(__name__)

_MOST = 200
_LEASE = timedelta(seconds=30)
_LOOK_EVERY_S = 0.5


class Tending:
    """Run ``domain.tending``: loads what it needs, stores what it decides."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._reservations = Reservations(context)
        self._lookout = Lookout("tending", self._look_at_due, every_s=_LOOK_EVERY_S)

    def wake(self, after_s: float = 0.0) -> None:
        """Something was marked due: look now, or when it is."""
        self._lookout.wake(after_s)

    async def tend(self, station_ids: Iterable[str], session: Session) -> None:
        """Look at these stations, within the caller's transaction."""
        ids = list(dict.fromkeys(station_ids))
        if not ids:
            return
        context, now = self._context, self._context.now()
        decisions = {
            case.station_id: decide(case, now, context.terms)
            for case in await self._cases(ids, now, session)
        }
        await self._store(decisions, now, session)

    async def run(self) -> None:
        """Look at what is due, for the life of the process."""
        await self._lookout.run()

    async def _look_at_due(self) -> int:
        ids = await self._context.store.due.take(self._context.now(), _LEASE, _MOST)
        if ids:
            await self._look(ids)
        return len(ids)

    async def _look(self, ids: list[str]) -> None:
        try:
            await self._context.store.transact(lambda session: self.tend(ids, session))
        except Unavailable:
            raise
        except Exception:
            # One station's data must not keep the others waiting; its lease brings it back.
            if len(ids) == 1:
                log.exception("tending.failed", station_id=ids[0])
                return
            for station_id in ids:
                await self._look([station_id])
        self._context.outbox.wake()

    async def _cases(self, ids: list[str], now: datetime, session: Session) -> list[Case]:
        store = self._context.store
        stations = await store.stations.get(ids, session)
        presence = await store.presence.get(ids, session)
        desired = await store.desired.get(ids, session)
        commands = await store.open_commands(ids, session)
        known = list(stations.values())
        names = {name for station in known for name in layering.names_for(station)}
        stored = await store.layers(names, session)
        agreements = await store.agreements_for(known, session) if known else []
        cases = []
        for station_id in ids:
            station = stations.get(station_id)
            covering = [] if station is None else [a for a in agreements if a.covers(station)]
            wanted = (
                {}
                if station is None
                else layering.resolve(layering.layers_of(station, stored, covering, now))
            )
            changes = [agreement.next_change(now) for agreement in covering]
            cases.append(
                Case(
                    station_id,
                    station,
                    presence.get(station_id) or Presence(id=station_id),
                    wanted,
                    desired.get(station_id) or Desired(id=station_id),
                    commands.get(station_id, []),
                    min((time for time in changes if time is not None), default=None),
                )
            )
        return cases

    async def _store(self, decisions: dict[str, Decision], now: datetime, session: Session) -> None:
        store = self._context.store
        commands = [
            command for decision in decisions.values() for command in decision.commands.values()
        ]
        # What ends makes room for what goes out (one per station, by a unique index).
        commands.sort(key=lambda command: command.status not in FINAL)
        await store.commands.put(commands, session)
        await store.desired.put(
            [each.desired for each in decisions.values() if each.desired_changed], session
        )
        await store.due.set({name: each.due for name, each in decisions.items()}, session)
        messages = [one for decision in decisions.values() for one in decision.messages]
        await self._context.add_to_outbox(messages, now, session)
        await self._reservations.apply_commands(commands, now, session)
