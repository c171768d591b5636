"""`/v1/stations/{id}/credentials`: a station's password and security profile."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from voltbus_auth.credentials.domain import credentials
from voltbus_auth.credentials.domain.credentials import Credentials
from voltbus_auth.credentials.store.credentials import CredentialStore
from voltbus_backbone.contract.auth import PasswordVerifier
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest.conventions import etag

# A URL's last segment; at most 48 characters and no colon (OCPP 2.0.1 Part 4 §3.1.1).
StationId = Annotated[str, Path(pattern=r"^[^:/\x00-\x1f]{1,48}$", description="OCPP identity.")]
_MUTUAL_TLS = 3
_MOST_PASSWORDS = 4


class CredentialsRequest(BaseModel):
    """What a station logs in with."""

    model_config = ConfigDict(extra="forbid")

    security_profile: int = Field(
        default=1,
        ge=1,
        le=3,
        description="The least it must use: 1 Basic, 2 TLS and Basic, 3 mutual TLS.",
    )
    password: SecretStr | None = Field(
        default=None, description="16 to 64 characters; left out, one of 160 random bits is made."
    )
    hex_password: bool = Field(
        default=False, description="A 1.6 station that sends the digits of its key verbatim."
    )
    serial_number: str | None = Field(
        default=None, max_length=255, description="May stand for its identity in its certificate."
    )
    keep_previous: bool = Field(
        default=False, description="Let the password before this one in as well, while rotating."
    )

    @field_validator("password")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            found = credentials.problems(value.get_secret_value())
            if found:
                raise ValueError("; ".join(found))
        return value


class CredentialsAnswer(BaseModel):
    """``password`` is shown this once and cannot be read again."""

    station_id: str
    security_profile: int
    hex_password: bool
    serial_number: str | None
    passwords: int = Field(description="How many are let in: 2 or more while rotating.")
    updated_at: datetime | None
    change_id: str | None = Field(description="The rotation or upgrade that is open.")
    password: str | None = None


def credentials_router(store: CredentialStore, now: Callable[[], datetime]) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1/stations/{station_id}/credentials", tags=["credentials"])
    read, write = scope("stations:read"), scope("stations:write")

    @router.put("", summary="Set a station's credentials", dependencies=[write])
    async def put(
        station_id: StationId, body: CredentialsRequest, response: Response
    ) -> CredentialsAnswer:
        chosen = body.password.get_secret_value() if body.password is not None else None
        password, verifiers = await _new_password(body, chosen)
        if body.keep_previous and verifiers:
            known = (await store.credentials([station_id])).get(station_id)
            verifiers += _earlier(known)
        stored = await store.put(
            Credentials(
                station_id=station_id,
                minimum_profile=body.security_profile,
                verifiers=verifiers,
                hex_password=body.hex_password,
                serial_number=body.serial_number,
                updated_at=now(),
            )
        )
        if stored is None:
            raise change_open(station_id)
        response.headers["Cache-Control"] = "no-store"
        response.headers["ETag"] = etag(stored.revision)
        return CredentialsAnswer(**_shown(stored), password=password)

    @router.get("", summary="What is known of a station's credentials", dependencies=[read])
    async def get(station_id: StationId, response: Response) -> CredentialsAnswer:
        known = (await store.credentials([station_id])).get(station_id)
        if known is None:
            raise not_found("station with credentials")
        response.headers["Cache-Control"] = "no-store"
        response.headers["ETag"] = etag(known.revision)
        return CredentialsAnswer(**_shown(known))

    @router.delete("/previous", summary="End a rotation: only the newest", dependencies=[write])
    async def delete_previous(station_id: StationId) -> CredentialsAnswer:
        known = await _only_newest(store, station_id, now())
        return CredentialsAnswer(**_shown(known))

    @router.delete("", status_code=204, summary="Shut a station out", dependencies=[write])
    async def delete(station_id: StationId) -> None:
        if not await store.delete(station_id):
            raise not_found("station with credentials")

    return router


def change_open(station_id: str) -> Problem:
    """409: a rotation or an upgrade of this station's is open, and would be crossed."""
    return Problem(
        409,
        "change-open",
        "A rotation or an upgrade of this station is open: its credentials name it in change_id. "
        "Wait for its end, or settle it.",
        headers={"Link": f"</v1/stations/{quote(station_id, safe='')}/credentials>"},
    )


def _earlier(known: Credentials | None) -> tuple[PasswordVerifier, ...]:
    """All that are let in now: which of them the station has, nobody knows (A7).

    Raises:
        Problem: 409 there are so many already that something goes round in circles.
    """
    found = known.verifiers if known is not None else ()
    if len(found) >= _MOST_PASSWORDS:
        raise Problem(
            409,
            "too-many-passwords",
            f"{len(found)} passwords of this station are let in. When it uses the newest, "
            "DELETE .../credentials/previous; else leave keep_previous out, and set the password "
            "at the station itself.",
        )
    return found


async def _only_newest(store: CredentialStore, station_id: str, at: datetime) -> Credentials:
    known = await store.keep_newest(station_id, at)
    if known is not None:
        return known
    if (await store.credentials([station_id])).get(station_id) is None:
        raise not_found("station with credentials")
    raise change_open(station_id)


async def _new_password(
    body: CredentialsRequest, chosen: str | None
) -> tuple[str | None, tuple[PasswordVerifier, ...]]:
    """The password to show, and its verifier. Mutual TLS needs none."""
    if chosen is not None:
        if body.security_profile == _MUTUAL_TLS:
            raise Problem(422, "invalid-request", "Security profile 3 uses no password.")
        verifier = await asyncio.to_thread(credentials.slow_verifier, chosen, secrets.token_bytes)
        return chosen, (verifier,)
    if body.security_profile == _MUTUAL_TLS:
        return None, ()
    made = credentials.generate(secrets.token_bytes)
    return made, (credentials.fast_verifier(made, secrets.token_bytes),)


def _shown(known: Credentials) -> dict[str, Any]:
    return {
        "station_id": known.station_id,
        "security_profile": known.minimum_profile,
        "hex_password": known.hex_password,
        "serial_number": known.serial_number,
        "passwords": len(known.verifiers),
        "updated_at": known.updated_at,
        "change_id": known.change_id,
    }
