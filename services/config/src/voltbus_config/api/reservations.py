"""REST: keep a place at a station for a token, see what became of it, and give it back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest import conventions as rest
from voltbus_backbone.rest.conventions import SortedPaging
from voltbus_config.api import views
from voltbus_config.api.bodies import NewReservation
from voltbus_config.api.commands import build_token_problem
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain import reservations as reservation_rules
from voltbus_config.domain import shapes
from voltbus_config.domain.commands import Command, Purpose
from voltbus_config.domain.outgoing import build_command_changed, build_reservation_changed
from voltbus_config.domain.reservations import Reservation, State
from voltbus_config.domain.shapes import UNREGISTERED
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.handlers.reservations import ReservationHandler
from voltbus_config.store import Session


def router(context: ServiceContext, reconciler: Reconciler) -> APIRouter:
    """Return the routes of reservations."""
    routes = Router(prefix="/v1/reservations", tags=["reservations"])
    service = ReservationService(context, reconciler)

    @routes.post(
        "",
        status_code=201,
        dependencies=[scope("commands:write")],
        summary="Keep a place at a station for a token",
    )
    async def create(body: NewReservation, response: Response) -> dict[str, Any]:
        made = await service.create(body, await service.find(body))
        response.headers["Location"] = f"/v1/reservations/{made.id}"
        return views.show_reservation(made)

    @routes.get("", dependencies=[scope("commands:read")], summary="List reservations")
    async def listed(
        paging: Annotated[SortedPaging, Depends()],
        station_id: Annotated[str | None, Query(max_length=48)] = None,
        token_ref: Annotated[str | None, Query(max_length=100)] = None,
        state: State | None = None,
    ) -> dict[str, Any]:
        filters = {"station_id": station_id, "token_ref": token_ref, "state": state}
        query = {name: str(value) for name, value in filters.items() if value is not None}
        with context.store.reachable.watching():
            found, more = await context.store.reservations.page(query, paging)
        return rest.page([views.show_reservation(each) for each in found], has_more=more)

    @routes.get(
        "/{reservation_id}", dependencies=[scope("commands:read")], summary="See a reservation"
    )
    async def see(reservation_id: str) -> dict[str, Any]:
        return views.show_reservation(await service.require(reservation_id))

    @routes.delete(
        "/{reservation_id}",
        status_code=202,
        dependencies=[scope("commands:write")],
        summary="Give a reservation back; its state tells when the station has",
    )
    async def cancel(reservation_id: str) -> dict[str, Any]:
        return views.show_reservation(await service.cancel(reservation_id))

    return routes


class _Token(msgspec.Struct, frozen=True):
    """Whom a place is kept for. ``type`` is what it has on 2.x."""

    ref: str
    type: str


class ReservationService:
    """What the routes do."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler
        self._reservations = ReservationHandler(context)

    async def find(self, body: NewReservation) -> _Token:
        """Whom it is for, by auth's reference.

        Raises:
            Problem: 422 for what no station can be told, 503 while nobody knows tokens.
        """
        mistake = shapes.find_reservation_problem(_payload(body, 0, body.type))
        if mistake is not None:
            field = mistake.field.removeprefix("payload").removeprefix(".")
            errors = [{"field": field or "body", "message": mistake.message}]
            raise Problem(422, "invalid-request", "No station can be told so.", errors=errors)
        tokens = self._context.tokens
        found = await tokens.find(body.station_id, body.id_token, body.type)
        if found is not None and found.type is None and body.type is None:
            # What nobody registered goes out as this, and is known by it from then on.
            found = await tokens.find(body.station_id, body.id_token, UNREGISTERED)
        if found is None:
            raise build_token_problem()
        return _Token(found.token_ref, body.type or found.type or UNREGISTERED)

    async def create(self, body: NewReservation, token: _Token) -> Reservation:
        """Keep a place: the station is asked when it is there."""
        context = self._context
        made: list[Reservation] = []

        async def work(session: Session) -> None:
            now, store = context.now(), context.store
            made.clear()
            if body.expires_at <= now:
                errors = [{"field": "expires_at", "message": "is in the past"}]
                raise Problem(422, "invalid-request", "The time is over.", errors=errors)
            if await store.stations.find(body.station_id, session) is None:
                raise not_found("station")
            reservation, command = self._new(body, token, now)
            made.append(reservation)
            await store.reservations.put([reservation], session)
            await store.commands.put([command], session)
            messages = [
                build_reservation_changed(reservation, now),
                build_command_changed(command, now),
            ]
            await context.add_to_outbox(messages, now, session)
            await self._reconciler.reconcile([body.station_id], session)

        await self._commit(work)
        return await self.require(made[0].id)

    def _new(
        self, body: NewReservation, token: _Token, now: datetime
    ) -> tuple[Reservation, Command]:
        command_id = self._context.reconciler_config.new_id(now)
        name = f"rsv-{command_id.removeprefix('cmd-')}"
        until = now + timedelta(seconds=self._context.settings.command_ttl_s)
        reservation = Reservation(
            id=name,
            number=reservation_rules.compute_number(name),
            station_id=body.station_id,
            state=State.PENDING,
            token_ref=token.ref,
            token_type=token.type,
            expires_at=body.expires_at,
            created_at=now,
            updated_at=now,
            command_id=command_id,
            evse_id=body.evse_id,
            connector_id=body.connector_id,
        )
        command = Command(
            id=command_id,
            station_id=body.station_id,
            action=reservation_rules.RESERVE,
            status=CommandStatus.QUEUED,
            purpose=Purpose.RESERVATION,
            created_at=now,
            payload=_payload(body, reservation.number, token.type),
            expires_at=min(body.expires_at, until),
            reservation_id=name,
        )
        return reservation, command

    async def cancel(self, reservation_id: str) -> Reservation:
        """Give it back: at once where the station was not asked yet, else by asking it.

        Raises:
            Problem: 404, or 409 when it ended otherwise.
        """

        async def work(session: Session) -> None:
            now, store = self._context.now(), self._context.store
            found = await store.reservations.find(reservation_id, session)
            if found is None:
                raise not_found("reservation")
            if found.state is State.CANCELLED or (found.cancel_command_id and found.open):
                return
            if not found.open:
                raise Problem(409, "not-cancellable", f"The reservation is {found.state.value}.")
            asked = await store.commands.find(found.command_id, session)
            if asked is not None and asked.status is CommandStatus.QUEUED:
                over = command_rules.end_command(asked, CommandStatus.CANCELLED, now)
                await store.commands.put([over], session)
                await self._context.add_to_outbox([build_command_changed(over, now)], now, session)
                await self._reservations.apply_commands([over], now, session)
            else:
                command = self._reservations.build_cancel_command(found, now)
                await self._reservations.queue_commands([command], now, session)
                after = reservation_rules.wait_for_cancel(found, command.id, now)
                await self._reservations.write({found.id: found}, {found.id: after}, now, session)
            await self._reconciler.reconcile([found.station_id], session)

        await self._commit(work)
        return await self.require(reservation_id)

    async def require(self, reservation_id: str) -> Reservation:
        """Return the reservation; 404 when there is none."""
        with self._context.store.reachable.watching():
            found = await self._context.store.reservations.find(reservation_id)
        if found is None:
            raise not_found("reservation")
        return found

    async def _commit(self, work: Any) -> None:
        await self._context.store.transact(work)
        self._context.outbox.wake()
        self._reconciler.wake()


def _payload(body: NewReservation, number: int, kind: str | None) -> dict[str, Any]:
    """Return what goes to the station; it is dropped once the call has ended."""
    found = {
        "id_token": body.id_token,
        "type": kind,
        "number": number,
        "expires_at": body.expires_at.isoformat(),
        "evse_id": body.evse_id,
        "connector_id": body.connector_id,
    }
    return {name: value for name, value in found.items() if value is not None}
