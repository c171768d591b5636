"""Command requests: accept each once, with an answer that names the command or the fault."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.config import (
    CommandAccepted,
    CommandRequested,
)
from voltbus_backbone.contract.registry import (
    Fault,
)
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain import shapes, sizes
from voltbus_config.domain.commands import Command, compute_fingerprint
from voltbus_config.domain.outgoing import build_command_changed
from voltbus_config.handlers.tokens import add_token_type, needs_token_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event
    from voltbus_config.domain.stations import RegisteredStation
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.requests.batch import Batch
    from voltbus_config.store import Session


class CommandRequestHandler:
    """Accepts commands that other systems ask for over Kafka."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def add_token_types(self, events: Sequence[Event]) -> dict[int, CommandRequested]:
        """Return remote starts without a type, by their place, with their tokens' types added.

        Without an answer of auth a request stays as it is: its sender may be gone by then.
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

    async def accept(
        self,
        events: Sequence[Event],
        typed: dict[int, CommandRequested],
        stations: dict[str, RegisteredStation],
        batch: Batch,
        session: Session,
    ) -> None:
        """Accept or refuse the commands of a batch within its transaction (``batch.answers``)."""
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


def _add_key(request: CommandRequested, event: Event) -> CommandRequested:
    """Use the record's id as the idempotency key of a request that has none."""
    if request.idempotency_key is not None:
        return request
    return msgspec.structs.replace(request, idempotency_key=f"{event.source}:{event.id}")
