"""`/v1/stations/{id}/credentials/rotate` and `.../security-profile`: begin a change."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, UrlConstraints

from voltbus_auth.credentials.api.changes import ChangeAnswer, shown
from voltbus_auth.credentials.api.credentials import StationId, change_open
from voltbus_auth.credentials.domain.changes import rotation, upgrade
from voltbus_auth.credentials.domain.changes.change import Change, HigherProfile
from voltbus_auth.credentials.domain.changes.rotation import PasswordKey
from voltbus_auth.credentials.domain.credentials import Credentials
from voltbus_auth.credentials.handlers.conductor import Conductor
from voltbus_auth.credentials.store.changes import ChangeStore, Move, OvertakenError
from voltbus_auth.credentials.store.credentials import CredentialStore
from voltbus_auth.credentials.store.fleets import FleetStore
from voltbus_auth.projections.store import ProjectionStore
from voltbus_auth.station_certificates.domain.application import opens_door
from voltbus_auth.station_certificates.store import ApplicationStore
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.values.times import to_milliseconds

_MUTUAL_TLS = 3
Slot = Annotated[int, Field(ge=0, le=1000)]
Secure = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["wss"], max_length=512)]


class RotateRequest(BaseModel):
    """How long it may take. Nothing need be given."""

    model_config = ConfigDict(extra="forbid")

    wait_s: float | None = Field(
        default=None, gt=0, le=604_800, description="How long it may wait for the station."
    )
    timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="How long the station may take to answer."
    )


class UpgradeRequest(RotateRequest):
    """The profile to reach, and for OCPP 2.x the network profile to write."""

    security_profile: Literal[2, 3]
    url: Secure | None = Field(
        default=None, description="2.x: where the station connects then, without its identity."
    )
    configuration_slot: Slot = Field(default=1, description="2.x: the slot that is written.")
    fallback_slots: list[Slot] | None = Field(
        default=None,
        max_length=20,
        description="2.x: slots that the station tries next, so that it is not lost when the new "
        "one does not work; [] for none.",
    )
    interface: str = Field(
        default="Wired0", pattern=r"^(Wired[0-3]|Wireless[0-3]|Any)$", description="2.x."
    )
    message_timeout_s: int = Field(default=30, ge=1, le=600, description="2.x.")
    window_s: float | None = Field(
        default=None, gt=0, le=604_800, description="By when it must be back after its restart."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What it takes to begin changes.

    ``change_wait_s`` and ``upgrade_window_s`` hold where a request gives none.
    """

    credential: CredentialStore
    change: ChangeStore
    fleet: FleetStore
    projection: ProjectionStore
    application: ApplicationStore
    conductor: Conductor
    key: PasswordKey
    change_wait_s: float
    upgrade_window_s: float
    now: Callable[[], datetime]

    def new_id(self, now: datetime) -> str:
        """An id that sorts by time."""
        return f"{int(now.timestamp() * 1000):011x}-{secrets.token_hex(6)}"

    async def credentials(self, station_id: str) -> Credentials:
        """The station's.

        Raises:
            Problem: 404 there are none, 409 config does not know it or a change is open.
        """
        known = (await self.credential.credentials([station_id])).get(station_id)
        if known is None:
            raise not_found("station with credentials")
        if known.change_id is not None:
            raise change_open(station_id)
        if station_id not in await self.projection.registered([station_id]):
            raise Problem(409, "not-registered", "Register the station at config first.")
        return known

    async def start(self, change: Change, credentials: Credentials) -> None:
        """Store both, and have the command asked for.

        Raises:
            Problem: 409, another one began at the same moment.
        """
        try:
            await self.change.start(Move(change, credentials))
        except OvertakenError:
            raise change_open(change.station_id) from None
        self.conductor.wake()


def rotating_router(beginning: Beginning) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1/stations/{station_id}", tags=["credentials"])
    write = scope("stations:write")

    @router.post(
        "/credentials/rotate",
        status_code=202,
        summary="Give a station a new password",
        dependencies=[write],
    )
    async def rotate(
        station_id: StationId, response: Response, body: RotateRequest | None = None
    ) -> ChangeAnswer:
        change = await _rotate(beginning, station_id, body or RotateRequest())
        response.headers["Location"] = f"/v1/rotations/{change.id}"
        return change

    @router.post(
        "/security-profile",
        status_code=202,
        summary="Bring a station to a higher security profile",
        dependencies=[write],
    )
    async def raise_profile(
        station_id: StationId, body: UpgradeRequest, response: Response
    ) -> ChangeAnswer:
        change = await _upgrade(beginning, station_id, body)
        response.headers["Location"] = f"/v1/upgrades/{change.id}"
        return change

    return router


async def _rotate(beginning: Beginning, station_id: str, body: RotateRequest) -> ChangeAnswer:
    known = await beginning.credentials(station_id)
    if not known.verifiers:
        raise Problem(409, "no-password", "The station has no password that could be replaced.")
    now = to_milliseconds(beginning.now())
    change, both = rotation.begin(
        beginning.new_id(now),
        known,
        beginning.key,
        secrets.token_bytes,
        now,
        wait_s=body.wait_s or beginning.change_wait_s,
        timeout_s=body.timeout_s,
    )
    await beginning.start(change, both)
    return shown(change)


async def _upgrade(beginning: Beginning, station_id: str, body: UpgradeRequest) -> ChangeAnswer:
    known = await beginning.credentials(station_id)
    if body.security_profile <= known.minimum_profile:
        raise Problem(
            422,
            "no-upgrade",
            f"The station's security profile is {known.minimum_profile}, and it is only raised.",
        )
    profile = await _profile(beginning, station_id, body)
    now = to_milliseconds(beginning.now())
    change = upgrade.begin(
        beginning.new_id(now),
        station_id,
        profile,
        now,
        wait_s=body.wait_s or beginning.change_wait_s,
        timeout_s=body.timeout_s,
    )
    marked = replace(known, change_id=change.id, revision=known.revision + 1)
    await beginning.start(change, marked)
    return shown(change, await _warnings(beginning, known, body, now))


def address(body: UpgradeRequest) -> str:
    """Where a 2.x station connects: it appends "/" and its identity, so none is at the end."""
    return str(body.url).rstrip("/") if body.url is not None else ""


async def _profile(beginning: Beginning, station_id: str, body: UpgradeRequest) -> HigherProfile:
    """What the station's OCPP version takes.

    Raises:
        Problem: 409 nobody knows its version, 422 something is missing for it.
    """
    presence = (await beginning.change.presences([station_id])).get(station_id)
    if presence is None:
        raise Problem(409, "never-connected", "The station's OCPP version is not known yet.")
    missing = []
    if presence.protocol is not Protocol.OCPP16:
        missing = [name for name in ("url", "fallback_slots") if getattr(body, name) is None]
    if missing:
        raise Problem(
            422, "invalid-request", f"A station of OCPP 2.x needs {' and '.join(missing)}."
        )
    if presence.protocol is Protocol.OCPP201 and body.interface == "Any":
        raise Problem(422, "invalid-request", "OCPP 2.0.1 has no interface Any.")
    return HigherProfile(
        security_profile=body.security_profile,
        protocol=presence.protocol,
        window_s=body.window_s or beginning.upgrade_window_s,
        url=address(body),
        configuration_slot=body.configuration_slot,
        fallback_slots=tuple(body.fallback_slots or ()),
        interface=body.interface,
        message_timeout_s=body.message_timeout_s,
    )


async def _warnings(
    beginning: Beginning, known: Credentials, body: UpgradeRequest, now: datetime
) -> list[str]:
    """What may keep the station from coming back."""
    if body.security_profile != _MUTUAL_TLS:
        if known.verifiers:
            return []
        return ["The station has no password, and security profile 2 asks for one."]
    applications = await beginning.application.of_stations([known.station_id])
    if any(opens_door(each, now) for each in applications.values()):
        return []
    return ["Security profile 3 needs a station certificate, and none is known that it took here."]
