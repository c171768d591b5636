"""REST: send a call to a station, and see what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response

from voltbus_backbone.bounds import COMMAND_BODY_BYTES
from voltbus_backbone.contract.config import CommandRequested, CommandStatus
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, body_of, scope
from voltbus_backbone.rest import conventions as rest
from voltbus_backbone.rest.conventions import SortedPaging
from voltbus_config.api import views
from voltbus_config.api.bodies import NewCommand
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain import shapes, sizes
from voltbus_config.domain.commands import Command, Purpose, compute_fingerprint
from voltbus_config.domain.outgoing import build_command_changed
from voltbus_config.handlers.command_waiter import LONGEST_WAIT_S, CommandWaiter
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.handlers.tokens import add_token_type, needs_token_type
from voltbus_config.store import Session


def router(context: ServiceContext, reconciler: Reconciler, waiter: CommandWaiter) -> APIRouter:
    """Return the routes of commands."""
    routes = Router(prefix="/v1", tags=["commands"])
    commands = CommandService(context, reconciler)

    @routes.post(
        "/stations/{station_id}/commands",
        status_code=202,
        dependencies=[scope("commands:write"), body_of(COMMAND_BODY_BYTES)],
        summary="Send a call to a station, now or when it is there",
    )
    async def create(station_id: str, body: NewCommand, response: Response) -> dict[str, Any]:
        found = await commands.create(station_id, body)
        response.headers["Location"] = f"/v1/commands/{found.id}"
        return views.show_command(found)

    @routes.get("/commands", dependencies=[scope("commands:read")], summary="List commands")
    async def listed(
        paging: Annotated[SortedPaging, Depends()],
        station_id: Annotated[str | None, Query(max_length=48)] = None,
        status: CommandStatus | None = None,
    ) -> dict[str, Any]:
        query = {
            name: str(value)
            for name, value in {"station_id": station_id, "status": status}.items()
            if value is not None
        }
        with context.store.reachable.watching():
            found, more = await context.store.page_commands(query, paging)
        return rest.page([views.show_command(each) for each in found], has_more=more)

    @routes.get(
        "/commands/{command_id}", dependencies=[scope("commands:read")], summary="See a command"
    )
    async def see(
        command_id: str,
        response: Response,
        wait: Annotated[
            int | None,
            Query(
                ge=0,
                le=LONGEST_WAIT_S,
                description="Answer when the command has ended, after so many seconds at the most.",
            ),
        ] = None,
        prefer: Annotated[
            list[str] | None, Header(description="wait=30 is the same, where it can be had.")
        ] = None,
    ) -> dict[str, Any]:
        preferred = None if wait is not None else preferred_wait(prefer or ())
        found, waited = await waiter.wait_until_ended(
            lambda: commands.require(command_id), wait or preferred or 0
        )
        if preferred is not None and waited:
            response.headers["Preference-Applied"] = f"wait={preferred}"
        return views.show_command(found)

    @routes.post(
        "/commands/{command_id}/cancel",
        dependencies=[scope("commands:write")],
        summary="Cancel a command that was not sent yet",
    )
    @routes.delete(
        "/commands/{command_id}",
        dependencies=[scope("commands:write")],
        summary="Cancel a command that was not sent yet",
    )
    async def cancel(command_id: str) -> dict[str, Any]:
        return views.show_command(await commands.cancel(command_id))

    return routes


# A preference ends at a comma, or where its own parameters begin (RFC 7240 §2).
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=[,;]|$)", re.IGNORECASE)


def preferred_wait(headers: Iterable[str]) -> int | None:
    """The seconds of ``Prefer: wait=30`` (RFC 7240 §4.3), at most what we wait; None without it."""
    found = _WAIT.search(",".join(headers))
    return None if found is None else min(int(found[1]), LONGEST_WAIT_S)


def build_token_problem(help_by: str = "") -> Problem:
    """Build the problem of tokens that cannot be looked up now. ``help_by``: another remedy."""
    return Problem(
        503,
        "unavailable",
        f"What is known of the token could not be asked now: try again{help_by}.",
        headers={"Retry-After": "5"},
    )


class CommandService:
    """What the routes do."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler

    async def create(self, station_id: str, body: NewCommand) -> Command:
        """Queue a command, and send it if the station is there and nothing else is out."""
        context = self._context
        request = CommandRequested(station_id=station_id, **body.model_dump())
        mistake = sizes.find_problem(request) or shapes.find_problem(body.action, body.payload)
        if mistake is not None:
            errors = [mistake._asdict()]
            raise Problem(422, "invalid-request", "No station can be told so.", errors=errors)
        typed, known = await self._add_token_type(request)
        created: list[str] = []

        async def work(session: Session) -> None:
            now, store = context.now(), context.store
            created.clear()
            # First: a retry is owed its command, also when it would be refused by now.
            earlier = await self._earlier(request, session)
            if earlier is not None:
                created.append(earlier.id)
                return
            if await store.stations.find(station_id, session) is None:
                raise not_found("station")
            if body.expires_at is not None and body.expires_at <= now:
                raise Problem(422, "invalid-request", "expires_at is in the past.")
            if not known and not await self._is_16(station_id, session):
                raise build_token_problem(", or give payload.type")
            ttl = timedelta(seconds=context.settings.command_ttl_s)
            command = command_rules.create_command(
                context.reconciler_config.new_id(now), request, now, ttl
            )
            command = msgspec.structs.replace(command, payload=typed.payload)
            created.append(command.id)
            await store.commands.put([command], session)
            await context.add_to_outbox([build_command_changed(command, now)], now, session)
            await self._reconciler.reconcile([station_id], session)

        await self._commit(work)
        return await self.require(created[0])

    async def _add_token_type(self, request: CommandRequested) -> tuple[CommandRequested, bool]:
        """Add its token's type to a request; also return whether auth could be asked."""
        if not needs_token_type(request):
            return request, True
        value = request.payload["id_token"]
        found = await self._context.tokens.find(request.station_id, value, None)
        return add_token_type(request, found), found is not None

    async def _is_16(self, station_id: str, session: Session) -> bool:
        """Return whether the station was last there with 1.6, which has no types."""
        presence = await self._context.store.presence.find(station_id, session)
        connection = None if presence is None else presence.connection
        return connection is not None and connection.protocol is Protocol.OCPP16

    async def cancel(self, command_id: str) -> Command:
        """Cancel; 409 for one that was sent, is over, or brings a setting."""
        context = self._context

        async def work(session: Session) -> None:
            now = context.now()
            found = await context.store.commands.find(command_id, session)
            if found is None:
                raise not_found("command")
            if found.status is CommandStatus.CANCELLED:
                return
            if found.purpose is not Purpose.OPERATOR:
                raise Problem(
                    409, "not-cancellable", "Change the setting or the reservation behind it."
                )
            if found.status is not CommandStatus.QUEUED:
                raise Problem(409, "not-cancellable", f"The command is {found.status.value}.")
            over = command_rules.end_command(found, CommandStatus.CANCELLED, now)
            await context.store.commands.put([over], session)
            await context.add_to_outbox([build_command_changed(over, now)], now, session)
            await self._reconciler.reconcile([found.station_id], session)

        await self._commit(work)
        return await self.require(command_id)

    async def _earlier(self, request: CommandRequested, session: Session) -> Command | None:
        """The command that this idempotency key stands for; 422 when it asked for another."""
        key = request.idempotency_key
        if key is None:
            return None
        place = (request.station_id, key)
        found = (await self._context.store.find_commands_by_key([place], session)).get(place)
        if found is not None and found.fingerprint != compute_fingerprint(
            key, request.action, request.payload
        ):
            raise Problem(
                422, "idempotency-key-reused", "This idempotency key was used for another command."
            )
        return found

    async def require(self, command_id: str) -> Command:
        """Return the command; 404 when there is none."""
        with self._context.store.reachable.watching():
            found = await self._context.store.commands.find(command_id)
        if found is None:
            raise not_found("command")
        return found

    async def _commit(self, work: Any) -> None:
        await self._context.store.transact(work)
        self._context.outbox.wake()
        self._reconciler.wake()
