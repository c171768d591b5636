"""Stations' certificates: what was asked for, what came of it, and what expires when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from voltbus_auth.station_certificates.domain.application import Application, State
from voltbus_auth.station_certificates.store import ApplicationStore
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest.conventions import Paging, page
from voltbus_backbone.rest.validation import Time

StationId = Annotated[str, Path(pattern=r"^[^:/\x00-\x1f]{1,48}$", description="OCPP identity.")]
_MOST_OF_A_STATION = 100


class CertificateAnswer(BaseModel):
    """A station's signing request and its certificate, which is public."""

    id: str
    station_id: str
    type: str = Field(description="CertificateSigningUseEnumType of OCPP 2.x.")
    state: State = Field(
        description="pending: nobody has signed yet; refused: nobody will; issued: on its way; "
        "accepted or rejected: the station's answer; undelivered: it gave none; in_use: it has "
        "logged in with it; replaced: it has logged in with another since."
    )
    reason: str | None = Field(description="Why it was refused.")
    request_id: str = Field(description="Under which an external authority was asked.")
    key_sha256: str = Field(description="SHA-256 of the public key (SubjectPublicKeyInfo), hex.")
    serial_number: str | None
    subject: str | None
    issuer: str | None
    not_before: datetime | None
    not_after: datetime | None
    certificate_chain: str | None = Field(description="PEM, as it went to the station.")
    command_id: str | None = Field(description="The command that carried it, once it has ended.")
    asked_at: datetime
    issued_at: datetime | None
    changed_at: datetime
    seen_at: datetime | None = Field(description="First log-in with it (security profile 3).")


class CertificateList(BaseModel):
    """Everything of one station, the newest first."""

    data: list[CertificateAnswer]


class CertificatePage(BaseModel):
    """A page of the fleet's, the first to expire first."""

    data: list[CertificateAnswer]
    has_more: bool


class CertificateFilters:
    """Which certificates a list shows."""

    def __init__(
        self,
        expires_before: Annotated[Time | None, Query(description="not_after before this.")] = None,
        state: Annotated[State | None, Query()] = None,
        certificate_type: Annotated[
            Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate"] | None,
            Query(alias="type"),
        ] = None,
    ) -> None:
        self.query: dict[str, Any] = {"not_after": {"$type": "date"}}
        if expires_before is not None:
            self.query["not_after"]["$lt"] = expires_before
        if state is not None:
            self.query["state"] = state.value
        if certificate_type is not None:
            self.query["type"] = certificate_type


def station_certificates_router(store: ApplicationStore) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1", tags=["station certificates"])
    read = scope("stations:read")

    @router.get(
        "/stations/{station_id}/certificates",
        summary="A station's certificates and its requests for them, the newest first",
        dependencies=[read],
    )
    async def of_station(station_id: StationId) -> CertificateList:
        found = await store.newest_of(station_id, _MOST_OF_A_STATION)
        return CertificateList(data=[_shown(one) for one in found])

    @router.get(
        "/station-certificates",
        summary="The fleet's certificates, the first to expire first",
        dependencies=[read],
    )
    async def list_certificates(
        paging: Annotated[Paging, Depends()], filters: Annotated[CertificateFilters, Depends()]
    ) -> CertificatePage:
        found, more = await store.page(
            filters.query,
            limit=paging.limit,
            after=await _edge(store, paging.starting_after),
            before=await _edge(store, paging.ending_before),
        )
        return CertificatePage(**page([_shown(one) for one in found], has_more=more))

    @router.get(
        "/station-certificates/{application_id}",
        summary="Show one of them",
        dependencies=[read],
    )
    async def get(
        application_id: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")],
    ) -> CertificateAnswer:
        found = await store.find(application_id)
        if found is None:
            raise not_found("station certificate")
        return _shown(found)

    return router


async def _edge(store: ApplicationStore, application_id: str | None) -> Application | None:
    if application_id is None:
        return None
    found = await store.find(application_id)
    if found is None or found.not_after is None:
        raise Problem(422, "invalid-request", "The cursor names no certificate.")
    return found


def _shown(one: Application) -> CertificateAnswer:
    return CertificateAnswer(
        id=one.id,
        station_id=one.station_id,
        type=one.type,
        state=one.state,
        reason=one.reason,
        request_id=one.request_id,
        key_sha256=one.key_sha256,
        serial_number=one.serial,
        subject=one.subject,
        issuer=one.issuer,
        not_before=one.not_before,
        not_after=one.not_after,
        certificate_chain=one.chain,
        command_id=one.command_id,
        asked_at=one.asked_at,
        issued_at=one.issued_at,
        changed_at=one.changed_at,
        seen_at=one.seen_at,
    )
