"""What config is asked: Boot, registration, commands; and what became of the calls it sent.

A batch is one read, one decision in the order of the log, and one transaction in which the changes
and their events commit; the replies follow. The same record twice finds its effect already there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.config import (
    Boot,
    BootAnswer,
    CallEnded,
    CallOutcome,
    CommandAccepted,
    CommandRequested,
    Registration,
)
from voltbus_backbone.contract.registry import (
    BOOT,
    BOOT_ANSWER,
    CALL_ENDED,
    COMMAND,
    COMMAND_ACCEPTED,
    FAULT,
    REGISTRATION,
    STATION_BOOTED,
    Fault,
)
from voltbus_backbone.contract.stations import StationBooted
from voltbus_config.domain import boot_requests, shapes, sizes
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain import stations as station_rules
from voltbus_config.domain.commands import Command, compute_fingerprint
from voltbus_config.domain.outgoing import OutgoingMessage, build_command_changed
from voltbus_config.domain.reconciliation import apply_command_result, build_setting_events
from voltbus_config.domain.stations import Intervals, RegisteredStation
from voltbus_config.handlers.acceptance import accept_refusing_stations
from voltbus_config.handlers.reservations import ReservationHandler
from voltbus_config.handlers.tokens import add_token_type, needs_token_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.reconciler import Reconciler
    from voltbus_config.store import Session

TYPES = frozenset(row.name for row in (BOOT, REGISTRATION, COMMAND, CALL_ENDED))


@dataclass
class _Batch:
    """What the handling of one batch gathers. ``answers`` belong to events by their place."""

    answers: dict[int, Message] = field(default_factory=dict)
    messages: list[OutgoingMessage] = field(default_factory=list)
    to_reconcile: list[str] = field(default_factory=list)
    booted: dict[str, str] = field(default_factory=dict)


class RequestHandler:
    """The consumer of `config.requests`."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler
        self._reservations = ReservationHandler(context)
        settings = context.settings
        self._policy = settings.unknown_station
        self._intervals = Intervals(heartbeat_s=settings.heartbeat_s, retry_s=settings.boot_retry_s)

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Handle a batch."""
        if all(isinstance(event.message, Registration) for event in events):
            batch = await self._answer_registrations(events)
        else:
            typed = await self._add_token_types(events)
            batch = await self._context.store.transact(
                lambda session: self._handle_in_transaction(events, typed, session)
            )
            await self._release_calls_after_registration(events)
            await self._release_calls_after_boot(batch)
            self._context.outbox.wake()
            self._reconciler.wake()
        return self._build_replies(events, batch)

    async def _answer_registrations(self, events: Sequence[Event]) -> _Batch:
        """Stations that reconnect without Boot: the most frequent batch after an outage."""
        batch = _Batch()
        with self._context.store.reachable.watching():
            stations = await self._context.store.stations.get(_station_ids(events))
        for place, event in enumerate(events):
            batch.answers[place] = self._answer_registration(event.message, stations)
        await self._release_calls_after_registration(events)
        return batch

    async def _add_token_types(self, events: Sequence[Event]) -> dict[int, CommandRequested]:
        """The remote starts that name no type, with that of their tokens, by their place.

        Where nobody answers it stays as it is: whoever asks over Kafka may have gone by then.
        """
        asked = {
            place: event.message
            for place, event in enumerate(events)
            if isinstance(event.message, CommandRequested)
            and needs_token_type(event.message)
            and sizes.find_problem(event.message) is None
            and shapes.find_problem(event.message.action, event.message.payload) is None
        }
        find = self._context.tokens.find
        found = await asyncio.gather(
            *(find(each.station_id, each.payload["id_token"], None) for each in asked.values())
        )
        return {
            place: add_token_type(each, token)
            for (place, each), token in zip(asked.items(), found, strict=True)
        }

    async def _handle_in_transaction(
        self, events: Sequence[Event], typed: dict[int, CommandRequested], session: Session
    ) -> _Batch:
        batch, now, store = _Batch(), self._context.now(), self._context.store
        stations = await store.stations.get(_station_ids(events), session)
        touched: dict[str, RegisteredStation] = {}
        for place, event in enumerate(events):
            if isinstance(event.message, Boot):
                batch.answers[place] = self._apply_boot(event, stations, touched, batch, now)
            elif isinstance(event.message, Registration):
                batch.answers[place] = self._answer_registration(event.message, stations)
        await store.stations.put(touched.values(), session)
        await self._apply_call_results(events, stations, batch, now, session)
        await self._accept_commands(events, typed, stations, batch, session)
        await self._context.add_to_outbox(batch.messages, now, session)
        await self._reconciler.reconcile(batch.to_reconcile, session)
        # A booted station is looked at after its answer had the time to reach it.
        soon = now + timedelta(seconds=self._context.settings.boot_lag_s)
        booted = [station_id for station_id in batch.booted if station_id not in batch.to_reconcile]
        await store.schedule.mark_due(dict.fromkeys(booted, soon), session)
        return batch

    # Boot and registration.

    def _apply_boot(
        self,
        event: Event,
        stations: dict[str, RegisteredStation],
        touched: dict[str, RegisteredStation],
        batch: _Batch,
        now: datetime,
    ) -> BootAnswer:
        boot: Boot = event.message
        before = stations.get(boot.station_id)
        after = station_rules.apply_boot(before, boot, event.id, self._policy, now)
        status = self._policy if after is None else after.registration
        if after is None or after is not before:
            batch.messages.append(_build_booted(event, boot, status.ocpp))
        if after is not None:
            stations[boot.station_id] = after
            if after is not before:
                touched[boot.station_id] = after
            batch.booted[boot.station_id] = boot.connection_id
        interval = station_rules.choose_interval(status, boot.station_id, self._intervals)
        return BootAnswer(status=status.ocpp, interval=interval)

    def _answer_registration(
        self, asked: Registration, stations: dict[str, RegisteredStation]
    ) -> BootAnswer:
        status = station_rules.effective_registration(stations.get(asked.station_id), self._policy)
        interval = station_rules.choose_interval(status, asked.station_id, self._intervals)
        return BootAnswer(status=status.ocpp, interval=interval)

    async def _release_calls_after_boot(self, batch: _Batch) -> None:
        if batch.booted:
            lag = timedelta(seconds=self._context.settings.boot_lag_s)
            await self._mark_ready(batch.booted, lag)

    async def _release_calls_after_registration(self, events: Sequence[Event]) -> None:
        """Who says something else first may still boot; calls need not wait for it as long."""
        said = {
            event.message.station_id: event.message.connection_id
            for event in events
            if isinstance(event.message, Registration) and event.message.connection_id
        }
        if said:
            await self._mark_ready(said, timedelta(seconds=self._context.settings.settle_s))

    async def _mark_ready(self, connections: dict[str, str], lag: timedelta) -> None:
        """Calls may follow on these connections, by station, after so long."""
        store, at = self._context.store, self._context.now() + lag
        await store.mark_ready(connections, at)
        # Again, behind its cause: who looked in between has set the time for a silent station.
        with store.reachable.watching():
            await store.schedule.mark_due(dict.fromkeys(connections, at))
        self._reconciler.wake(lag.total_seconds())

    # Calls that ended.

    async def _apply_call_results(
        self,
        events: Sequence[Event],
        stations: dict[str, RegisteredStation],
        batch: _Batch,
        now: datetime,
        session: Session,
    ) -> None:
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
        self, over: Iterable[Command], batch: _Batch, now: datetime, session: Session
    ) -> None:
        """What the answers say of the settings, or the Boot, that the commands were to bring."""
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

    # Commands.

    async def _accept_commands(
        self,
        events: Sequence[Event],
        typed: dict[int, CommandRequested],
        stations: dict[str, RegisteredStation],
        batch: _Batch,
        session: Session,
    ) -> None:
        asked = [
            (place, event, event.message)
            for place, event in enumerate(events)
            if isinstance(event.message, CommandRequested)
        ]
        if not asked:
            return
        store, now = self._context.store, self._context.now()
        keyed = [(place, _add_key(request, event)) for place, event, request in asked]
        earlier = await store.find_commands_by_key(
            [(request.station_id, request.idempotency_key or "") for _, request in keyed], session
        )
        new: list[Command] = []
        for place, request in keyed:
            key = request.idempotency_key or ""
            known = earlier.get((request.station_id, key))
            if known is None and request.station_id not in stations:
                batch.answers[place] = Fault(code="UnknownStation", detail="no such station")
                continue
            mistake = (
                sizes.find_problem(request)
                or command_rules.find_problem(request)
                or shapes.find_problem(request.action, request.payload)
            )
            if mistake is not None:
                batch.answers[place] = Fault(code="InvalidCommand", detail=str(mistake))
                continue
            if known is None:
                # Its fingerprint is that of the request as it came.
                known = msgspec.structs.replace(
                    self._new_command(request, now),
                    payload=typed.get(place, request).payload,
                    own_key=events[place].message.idempotency_key is not None,
                )
                earlier[request.station_id, key] = known
                new.append(known)
            elif known.fingerprint != compute_fingerprint(key, request.action, request.payload):
                batch.answers[place] = Fault(
                    code="IdempotencyKeyReused", detail="the key was used for another command"
                )
                continue
            batch.answers[place] = CommandAccepted(command_id=known.id, status=known.status.value)
        await store.commands.put(new, session)
        batch.messages.extend(build_command_changed(command, now) for command in new)
        batch.to_reconcile.extend(command.station_id for command in new)

    def _new_command(self, request: CommandRequested, now: datetime) -> Command:
        return command_rules.create_command(
            self._context.reconciler_config.new_id(now),
            request,
            now,
            timedelta(seconds=self._context.settings.command_ttl_s),
        )

    def _build_replies(self, events: Sequence[Event], batch: _Batch) -> list[Record]:
        now = self._context.now()
        result = []
        for place, message in sorted(batch.answers.items()):
            row = _ANSWERS[type(message)]
            record = reply(events[place], row, message, source=self._context.source, now=now)
            if record is not None:
                result.append(record)
        return result


_ANSWERS: dict[type[Message], MessageType[Any]] = {
    BootAnswer: BOOT_ANSWER,
    CommandAccepted: COMMAND_ACCEPTED,
    Fault: FAULT,
}


def _station_ids(events: Sequence[Event]) -> list[str]:
    return [event.message.station_id for event in events]


def _add_key(request: CommandRequested, event: Event) -> CommandRequested:
    """Without an idempotency key of its own, a request is told from others by its record's id."""
    if request.idempotency_key is not None:
        return request
    return msgspec.structs.replace(request, idempotency_key=f"{event.source}:{event.id}")


def _build_booted(event: Event, boot: Boot, status: str) -> OutgoingMessage:
    message = StationBooted(
        station_id=boot.station_id,
        protocol=boot.protocol,
        status=status,
        at=boot.at,
        vendor=boot.vendor,
        model=boot.model,
        serial_number=boot.serial_number,
        firmware_version=boot.firmware_version,
        reason=boot.reason,
        meter_type=boot.meter_type,
        meter_serial_number=boot.meter_serial_number,
    )
    return OutgoingMessage(STATION_BOOTED, message, f"booted:{event.id}")
