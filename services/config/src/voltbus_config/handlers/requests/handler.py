"""Requests to config: Boot, registration and commands; and the results of calls that it sent.

A batch is one read, one decision in the order of the log, and one transaction in which the changes
and their events commit; the replies follow. A record that comes twice finds its effect stored.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.config import (
    Boot,
    BootAnswer,
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
    Fault,
)
from voltbus_config.handlers.requests.batch import Batch
from voltbus_config.handlers.requests.boot import BootHandler
from voltbus_config.handlers.requests.call_results import CallResultHandler
from voltbus_config.handlers.requests.commands import CommandRequestHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message
    from voltbus_config.domain.stations import RegisteredStation
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.reconciler import Reconciler
    from voltbus_config.store import Session

TYPES = frozenset(row.name for row in (BOOT, REGISTRATION, COMMAND, CALL_ENDED))


class RequestHandler:
    """The consumer of `config.requests`."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler
        self._boots = BootHandler(context, reconciler)
        self._call_results = CallResultHandler(context)
        self._commands = CommandRequestHandler(context)

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Handle a batch."""
        if all(isinstance(event.message, Registration) for event in events):
            batch = await self._answer_registrations(events)
        else:
            typed = await self._commands.add_token_types(events)
            batch = await self._context.store.transact(
                lambda session: self._handle_in_transaction(events, typed, session)
            )
            await self._boots.release_calls_after_registration(events)
            await self._boots.release_calls_after_boot(batch)
            self._context.outbox.wake()
            self._reconciler.wake()
        return self._build_replies(events, batch)

    async def _answer_registrations(self, events: Sequence[Event]) -> Batch:
        """Answer stations that reconnect without Boot: the most frequent batch after an outage."""
        batch = Batch()
        with self._context.store.reachable.watching():
            stations = await self._context.store.stations.get(_station_ids(events))
        for place, event in enumerate(events):
            batch.answers[place] = self._boots.answer_registration(event.message, stations)
        await self._boots.release_calls_after_registration(events)
        return batch

    async def _handle_in_transaction(
        self, events: Sequence[Event], typed: dict[int, CommandRequested], session: Session
    ) -> Batch:
        batch, now, store = Batch(), self._context.now(), self._context.store
        stations = await store.stations.get(_station_ids(events), session)
        touched: dict[str, RegisteredStation] = {}
        for place, event in enumerate(events):
            if isinstance(event.message, Boot):
                batch.answers[place] = self._boots.apply(event, stations, touched, batch, now)
            elif isinstance(event.message, Registration):
                batch.answers[place] = self._boots.answer_registration(event.message, stations)
        await store.stations.put(touched.values(), session)
        await self._call_results.apply(events, stations, batch, now, session)
        await self._commands.accept(events, typed, stations, batch, session)
        await self._context.add_to_outbox(batch.messages, now, session)
        await self._reconciler.reconcile(batch.to_reconcile, session)
        # A booted station is reconciled once its answer had the time to reach it.
        soon = now + timedelta(seconds=self._context.settings.boot_lag_s)
        booted = [station_id for station_id in batch.booted if station_id not in batch.to_reconcile]
        await store.schedule.mark_due(dict.fromkeys(booted, soon), session)
        return batch

    def _build_replies(self, events: Sequence[Event], batch: Batch) -> list[Record]:
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
