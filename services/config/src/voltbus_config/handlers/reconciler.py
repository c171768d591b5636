"""Reconciles stations when something happened to them or one of their times has come."""

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
from voltbus_config.domain.reconciliation import Decision, StationSnapshot, reconcile
from voltbus_config.handlers.reservations import ReservationHandler

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.store import Session

log = structlog.get_logger(__name__)

_MOST = 200
_LEASE = timedelta(seconds=30)
_CHECK_EVERY_S = 0.5


class Reconciler:
    """Run ``domain.reconciler``: loads what it needs, stores what it decides."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._reservations = ReservationHandler(context)
        self._lookout = Lookout("tending", self._reconcile_due, every_s=_CHECK_EVERY_S)

    def wake(self, after_s: float = 0.0) -> None:
        """Reconcile what is due now, or in ``after_s`` seconds."""
        self._lookout.wake(after_s)

    async def reconcile(self, station_ids: Iterable[str], session: Session) -> None:
        """Reconcile these stations within the caller's transaction."""
        ids = list(dict.fromkeys(station_ids))
        if not ids:
            return
        context, now = self._context, self._context.now()
        decisions = {
            snapshot.station_id: reconcile(snapshot, now, context.reconciler_config)
            for snapshot in await self._load_snapshots(ids, now, session)
        }
        await self._store_decisions(decisions, now, session)

    async def run(self) -> None:
        """Reconcile what is due, for the life of the process."""
        await self._lookout.run()

    async def _reconcile_due(self) -> int:
        ids = await self._context.store.schedule.take_due(self._context.now(), _LEASE, _MOST)
        if ids:
            await self._reconcile_batch(ids)
        return len(ids)

    async def _reconcile_batch(self, ids: list[str]) -> None:
        try:
            await self._context.store.transact(lambda session: self.reconcile(ids, session))
        except Unavailable:
            raise
        except Exception:
            # One station's data must not keep the others waiting; its lease brings it back.
            if len(ids) == 1:
                log.exception("tending.failed", station_id=ids[0])
                return
            for station_id in ids:
                await self._reconcile_batch([station_id])
        self._context.outbox.wake()

    async def _load_snapshots(
        self, ids: list[str], now: datetime, session: Session
    ) -> list[StationSnapshot]:
        store = self._context.store
        stations = await store.stations.get(ids, session)
        presence = await store.presence.get(ids, session)
        desired = await store.desired.get(ids, session)
        commands = await store.load_open_commands(ids, session)
        known = list(stations.values())
        names = {name for station in known for name in layering.list_layer_names(station)}
        stored = await store.load_layers(names, session)
        agreements = await store.load_agreements_for(known, session) if known else []
        snapshots = []
        for station_id in ids:
            station = stations.get(station_id)
            covering = [] if station is None else [a for a in agreements if a.covers(station)]
            wanted = (
                {}
                if station is None
                else layering.resolve(layering.select_layers(station, stored, covering, now))
            )
            changes = [agreement.next_change(now) for agreement in covering]
            snapshots.append(
                StationSnapshot(
                    station_id,
                    station,
                    presence.get(station_id) or Presence(id=station_id),
                    wanted,
                    desired.get(station_id) or Desired(id=station_id),
                    commands.get(station_id, []),
                    min((time for time in changes if time is not None), default=None),
                )
            )
        return snapshots

    async def _store_decisions(
        self, decisions: dict[str, Decision], now: datetime, session: Session
    ) -> None:
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
        await store.schedule.reschedule(
            {name: each.due for name, each in decisions.items()}, session
        )
        messages = [message for decision in decisions.values() for message in decision.messages]
        await self._context.add_to_outbox(messages, now, session)
        await self._reservations.apply_commands(commands, now, session)
