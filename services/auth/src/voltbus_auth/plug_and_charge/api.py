"""`/v1/roots`: the authorities whose contract certificates are accepted (Plug and Charge)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from cryptography import x509
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, field_validator

from voltbus_auth.plug_and_charge.domain.authorities import Authority, read_authority
from voltbus_auth.plug_and_charge.handlers.trust import Trust
from voltbus_auth.plug_and_charge.store import RootStore
from voltbus_backbone.errors import Problem, not_found
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest.conventions import SortedPaging, page
from voltbus_backbone.values.times import to_milliseconds

Fingerprint = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the certificate, hex.")
]


class RootRequest(BaseModel):
    """An authority to trust."""

    model_config = ConfigDict(extra="forbid")

    certificate: str = Field(max_length=20_000, description="One certificate, PEM.")
    type: Literal["V2G", "MO"] = Field(description="Whose root: V2G or mobility operator.")
    responder_url: str | None = Field(
        default=None,
        max_length=2000,
        description="Asked for the status of what this authority issued, instead of the OCSP "
        "responder that the certificates name.",
    )

    @field_validator("responder_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("give an http or https address")
        return value


class RootAnswer(BaseModel):
    """An authority that is trusted. ``id`` is its fingerprint."""

    id: str
    type: str
    subject: str
    issuer: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    responder_url: str | None
    added_at: datetime
    certificate: str


class RootPage(BaseModel):
    """A page of authorities."""

    data: list[RootAnswer]
    has_more: bool


def roots_router(store: RootStore, trust: Trust, now: Callable[[], datetime]) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1/roots", tags=["roots"])
    read, write = scope("tokens:read"), scope("tokens:write")

    @router.post("", status_code=201, summary="Trust an authority", dependencies=[write])
    async def add(body: RootRequest, response: Response) -> RootAnswer:
        try:
            authority = read_authority(
                body.certificate, body.type, body.responder_url, to_milliseconds(now())
            )
        except ValueError as error:
            raise RequestValidationError(
                [{"loc": ("body", "certificate"), "msg": str(error), "type": "value_error"}]
            ) from None
        location = f"/v1/roots/{authority.fingerprint}"
        if not await store.add(authority):
            raise Problem(
                409,
                "root-exists",
                "This authority is trusted already.",
                headers={"Location": location},
            )
        await trust.refresh()
        response.headers["Location"] = location
        return _shown(authority)

    @router.get("", summary="List the trusted authorities", dependencies=[read])
    async def list_roots(
        paging: Annotated[SortedPaging, Depends()],
        type: Annotated[Literal["V2G", "MO"] | None, Query()] = None,  # noqa: A002 - the field's name
    ) -> RootPage:
        found = [one for one in await store.roots() if type in {None, one.type}]
        chosen, more = _cut(found, paging)
        return RootPage(**page([_shown(one) for one in chosen], has_more=more))

    @router.get("/{fingerprint}", summary="Show a trusted authority", dependencies=[read])
    async def get(fingerprint: Fingerprint) -> RootAnswer:
        for one in await store.roots():
            if one.fingerprint == fingerprint:
                return _shown(one)
        raise not_found("root")

    @router.delete(
        "/{fingerprint}", status_code=204, summary="Trust it no more", dependencies=[write]
    )
    async def delete(fingerprint: Fingerprint) -> None:
        if not await store.remove(fingerprint):
            raise not_found("root")
        await trust.refresh()

    return router


def _cut(found: list[Authority], paging: SortedPaging) -> tuple[list[Authority], bool]:
    """A page, by when they were added: there are dozens of roots, not thousands.

    Raises:
        Problem: 422, the cursor names none of them.
    """
    in_order = sorted(
        found, key=lambda one: (one.added_at, one.fingerprint), reverse=paging.newest_first
    )
    places = {one.fingerprint: place for place, one in enumerate(in_order)}
    cursor = paging.starting_after or paging.ending_before
    if cursor is None:
        return in_order[: paging.limit], len(in_order) > paging.limit
    if cursor not in places:
        raise Problem(422, "invalid-request", "The cursor names nothing in this list.")
    if paging.ending_before is not None:
        before = in_order[: places[cursor]]
        return before[-paging.limit :], len(before) > paging.limit
    after = in_order[places[cursor] + 1 :]
    return after[: paging.limit], len(after) > paging.limit


def _shown(authority: Authority) -> RootAnswer:
    certificate = x509.load_pem_x509_certificate(authority.certificate.encode())
    return RootAnswer(
        id=authority.fingerprint,
        type=authority.type,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial_number=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        responder_url=authority.responder_url,
        added_at=authority.added_at,
        certificate=authority.certificate,
    )
