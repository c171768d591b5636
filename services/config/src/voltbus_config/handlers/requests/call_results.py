"""Call results: what became of the calls that config sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.config import (
    CallEnded,
    CallOutcome,
)
from voltbus_config.domain import boot_requests
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain.outgoing import build_command_changed
from voltbus_config.domain.reconciliation import apply_command_result, build_setting_events
from voltbus_config.handlers.acceptance import accept_refusing_stations
from voltbus_config.handlers.reservations import ReservationHandler

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event
    from voltbus_config.domain.commands import Command
    from voltbus_config.domain.stations import RegisteredStation
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.requests.batch import Batch
    from voltbus_config.store import Session


class CallResultHandler:
    """Applies the ends of calls to commands, reservations, settings and registrations."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._reservations = ReservationHandler(context)

    async def apply(
        self,
        events: Sequence[Event],
        stations: dict[str, RegisteredStation],
        batch: Batch,
        now: datetime,
        session: Session,
    ) -> None:
        """Apply all CallEnded of a batch within its transaction; ``stations`` change in place."""
        ends = [event.message for event in events if isinstance(event.message, CallEnded)]
        if not ends:
            return
        store = self._context.store
        commands = await store.commands.get([end.command_id for end in ends], session)
        over: dict[str, Command] = {}
        absent: dict[str, str] = {}
        refused: list[Command] = []
        for end in ends:
            command = commands.get(end.command_id)
            after = None if command is None else command_rules.apply_result(command, end, now)
            if command is None or after is None:
                continue
            commands[end.command_id] = over[end.command_id] = after
            batch.messages.append(build_command_changed(after, now))
            if end.outcome is CallOutcome.NOT_CONNECTED and not end.late:
                absent[command.station_id] = end.connection_id
            if after.answer_status == boot_requests.REFUSED:
                refused.append(command)
        await store.commands.put(over.values(), session)
        await self._reservations.apply_commands(over.values(), now, session)
        await store.close_connections(absent, now, session)
        await self._apply_settings_results(over.values(), batch, now, session)
        batch.messages += await accept_refusing_stations(
            refused, stations, self._context, now, session
        )
        batch.to_reconcile.extend(command.station_id for command in over.values())

    async def _apply_settings_results(
        self, over: Iterable[Command], batch: Batch, now: datetime, session: Session
    ) -> None:
        """Apply answers to the settings, or the Boot, that the commands were to bring."""
        done = [
            each
            for each in over
            if each.status in command_rules.FINAL
            and (each.settings or each.purpose is command_rules.Purpose.REGISTRATION)
        ]
        if not done:
            return
        store = self._context.store
        known = await store.desired.get([command.station_id for command in done], session)
        before = dict(known)
        for command in done:
            desired = known.get(command.station_id)
            if desired is not None:
                known[command.station_id] = apply_command_result(desired, command, now)
        written = []
        for name, old in before.items():
            if known[name] != old:
                new = msgspec.structs.replace(known[name], revision=old.revision + 1)
                written.append(new)
                batch.messages.extend(build_setting_events(old, new, now))
        await store.desired.put(written, session)
