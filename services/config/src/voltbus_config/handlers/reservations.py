"""What becomes of reservations: by the ends of their calls, by facts, and by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.contract.auth import TransactionChanged
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.registry import (
    STATION_REPORTED,
    TOKEN_ERASED,
    TRANSACTION_CORRECTED,
    TRANSACTION_ENDED,
    TRANSACTION_STARTED,
    TRANSACTION_UPDATED,
)
from voltbus_backbone.contract.stations import StationReported
from voltbus_backbone.lookout import Lookout
from voltbus_config.domain import reservations as reservation_rules
from voltbus_config.domain.commands import FINAL, Command, Purpose
from voltbus_config.domain.outgoing import build_command_changed, build_reservation_changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_config.domain.reservations import Reservation
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.store import Session

TYPES = frozenset(
    row.name
    for row in (
        TRANSACTION_STARTED,
        TRANSACTION_UPDATED,
        TRANSACTION_ENDED,
        TRANSACTION_CORRECTED,
        STATION_REPORTED,
        TOKEN_ERASED,
    )
)
_STATUS = "ReservationStatusUpdate"
_LOOK_EVERY_S = 1.0
_MOST = 200


class ReservationHandler:
    """Moves reservations, within the transaction of their cause."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._lookout = Lookout("reservations", self.expire_due, every_s=_LOOK_EVERY_S)

    # The ends of their calls.

    async def apply_commands(
        self, commands: Iterable[Command], now: datetime, session: Session
    ) -> None:
        """Commands changed: those that ended move their reservations."""
        ended = [each for each in commands if each.reservation_id and each.status in FINAL]
        if not ended:
            return
        store = self._context.store
        known = await store.reservations.get([each.reservation_id or "" for each in ended], session)
        before = dict(known)
        for command in ended:
            name = command.reservation_id or ""
            found = known.get(name)
            if found is None:
                continue
            known[name] = reservation_rules.apply_command(found, command, now) or found
            if reservation_rules.is_uncertain(command):
                await self.queue_commands([self.build_cancel_command(found, now)], now, session)
        await self.write(before, known, now, session)

    def build_cancel_command(self, reservation: Reservation, now: datetime) -> Command:
        """Build the call that cancels a reservation; it expires with the reservation."""
        return Command(
            id=self._context.reconciler_config.new_id(now),
            station_id=reservation.station_id,
            action=reservation_rules.CANCEL,
            status=CommandStatus.QUEUED,
            purpose=Purpose.RESERVATION,
            created_at=now,
            payload={"number": reservation.number},
            expires_at=reservation.expires_at,
            reservation_id=reservation.id,
        )

    async def queue_commands(
        self, commands: Sequence[Command], now: datetime, session: Session
    ) -> None:
        """Queue calls of reservations; their stations are looked at next."""
        store = self._context.store
        await store.commands.put(commands, session)
        await self._context.add_to_outbox(
            [build_command_changed(each, now) for each in commands], now, session
        )
        await store.schedule.mark_due({each.station_id: now for each in commands}, session)

    async def write(
        self,
        before: dict[str, Reservation],
        after: dict[str, Reservation],
        now: datetime,
        session: Session,
    ) -> None:
        """Store and tell those that changed."""
        moved = [each for name, each in after.items() if before.get(name) != each]
        await self._context.store.reservations.put(moved, session)
        await self._context.add_to_outbox(
            [build_reservation_changed(each, now) for each in moved], now, session
        )

    async def remove_station(self, station_id: str, now: datetime, session: Session) -> None:
        """End the open reservations of a station that was removed."""
        found = await self._context.store.reservations.load_open_of(station_id, session)
        after = {
            name: reservation_rules.withdraw(each, now) or each for name, each in found.items()
        }
        await self.write(found, after, now, session)

    # Stations' facts.

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Transactions that began with a reservation, 2.x's status updates, erased tokens."""
        erased = [each.message.token_ref for each in events if each.type == TOKEN_ERASED.name]
        if erased:
            await self._context.store.reservations.forget_tokens(erased)
        facts = [fact for fact in map(_read_fact, events) if fact is not None]
        if facts:
            await self._context.store.transact(lambda session: self._apply(facts, session))
            self._context.outbox.wake()
        return []

    async def _apply(self, facts: Sequence[_Fact], session: Session) -> None:
        now = self._context.now()
        places = {(station_id, number) for station_id, number, _ in facts}
        found = await self._context.store.reservations.find_by_number(places, session)
        known = {(each.station_id, each.number): each for each in found.values()}
        for station_id, number, fact in facts:
            before = known.get((station_id, number))
            if before is None:
                continue
            if isinstance(fact, TransactionChanged):
                after = reservation_rules.use(before, fact.transaction_ref, now)
            else:
                after = reservation_rules.apply_status(
                    before, fact.payload.get("reservationUpdateStatus"), now
                )
            known[station_id, number] = after or before
        await self.write(found, {each.id: each for each in known.values()}, now, session)

    # The clock.

    async def run(self) -> None:
        """Let what is over expire, for the life of the process."""
        await self._lookout.run()

    async def expire_due(self) -> int:
        """Expire some of those whose time is over; how many there were."""
        store, now = self._context.store, self._context.now()
        due = await store.reservations.find_due(now, _MOST)
        if due:
            await store.transact(lambda session: self._expire(due, now, session))
            self._context.outbox.wake()
        return len(due)

    async def _expire(self, due: Sequence[str], now: datetime, session: Session) -> None:
        before = await self._context.store.reservations.get(due, session)
        after = {name: reservation_rules.expire(each, now) or each for name, each in before.items()}
        await self.write(before, after, now, session)


_Fact = tuple[str, int, TransactionChanged | StationReported]


def _read_fact(event: Event) -> _Fact | None:
    """Return a station, a reservation's number there, and the message about it; None: no such."""
    message = event.message
    if isinstance(message, TransactionChanged) and message.reservation_id is not None:
        return message.station_id, message.reservation_id, message
    if isinstance(message, StationReported) and message.action == _STATUS:
        number = message.payload.get("reservationId")
        return None if type(number) is not int else (message.station_id, number, message)
    return None
