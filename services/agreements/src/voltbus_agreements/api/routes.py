"""The paths of `/v1/agreements`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from voltbus_agreements.api import bodies
from voltbus_agreements.api.service import AgreementService
from voltbus_agreements.domain import ids
from voltbus_agreements.domain.agreement import Agreement, Command
from voltbus_agreements.domain.lifecycle import BY_CLOCK
from voltbus_agreements.domain.terms import Kind
from voltbus_agreements.store import Filters
from voltbus_backbone.contract.agreements import AgreementStatus as Status
from voltbus_backbone.errors import Problem
from voltbus_backbone.rest import Router, body_of, scope
from voltbus_backbone.rest.bodies import LARGER_BODY_BYTES
from voltbus_backbone.rest.conventions import SortedPaging, etag, page
from voltbus_backbone.rest.validation import Time
from voltbus_backbone.values import emaid

READ, WRITE = "agreements:read", "agreements:write"
MERGE_PATCH = "application/merge-patch+json"

_SUMMARIES = {
    Command.SUBMIT: "Hand a draft in for approval",
    Command.APPROVE: "Approve it: it becomes scheduled, or active when its time has come",
    Command.REJECT: "Reject it",
    Command.REOPEN: "Make a rejected agreement a draft again",
    Command.ACTIVATE: "Activate a draft without an approval of its own (if the policy allows)",
    Command.SUSPEND: "Suspend an active agreement",
    Command.RESUME: "Resume a suspended agreement",
    Command.TERMINATE: "End it before its time, for good",
    Command.CANCEL: "Cancel a draft, or a scheduled agreement before it begins",
}

IfMatch = Annotated[str | None, Header(description="The ETag that was last read.")]
Pages = Annotated[SortedPaging, Depends()]
TERMS = body_of(LARGER_BODY_BYTES)
QueryTime = Annotated[Time | None, Query()]


def router(service: AgreementService) -> APIRouter:
    """All routes of the agreements service."""
    result = Router(prefix="/v1/agreements", tags=["agreements"])
    _add_reading(result, service)
    _add_writing(result, service)
    for command in Command:
        if command not in BY_CLOCK:
            _add_command(result, service, command)
    return result


def _add_reading(router: APIRouter, service: AgreementService) -> None:
    @router.get(
        "",
        dependencies=[scope(READ)],
        response_model=bodies.PageBody,
        summary="List agreements, the newest first",
    )
    async def find(paging: Pages, filters: Annotated[Filters, Depends(_filters)]) -> JSONResponse:
        for cursor in (paging.starting_after, paging.ending_before):
            if cursor is not None and not ids.is_id(cursor):
                raise Problem(422, "invalid-request", "A cursor is the id of an agreement.")
        found, has_more = await service.store.find(filters, paging)
        return JSONResponse(
            page([bodies.show_agreement(agreement) for agreement in found], has_more=has_more)
        )

    @router.get(
        "/{agreement_id}",
        dependencies=[scope(READ)],
        response_model=bodies.AgreementBody,
        summary="Retrieve an agreement",
    )
    async def get(agreement_id: str) -> JSONResponse:
        return _single(await service.get(agreement_id))

    @router.get(
        "/{agreement_id}/history",
        dependencies=[scope(READ)],
        response_model=bodies.HistoryBody,
        summary="List its revisions, the newest first",
    )
    async def history(agreement_id: str, paging: Pages) -> JSONResponse:
        await service.get(agreement_id)
        found, has_more = await service.store.history(
            agreement_id,
            paging,
            edge=_revision(agreement_id, paging.starting_after or paging.ending_before),
        )
        return JSONResponse(
            page([bodies.show_change(change) for change in found], has_more=has_more)
        )

    @router.get(
        "/{agreement_id}/usage",
        dependencies=[scope(READ)],
        response_model=bodies.UsageBody,
        summary="What was used under it: totals, and the transactions they are made of",
    )
    async def usage(agreement_id: str, paging: Pages) -> JSONResponse:
        agreement = await service.get(agreement_id)
        energy_wh, transactions = await service.store.load_usage(agreement_id)
        found, has_more = await service.store.sessions(agreement_id, paging)
        cap = agreement.terms.limits.energy_cap_wh
        totals = {
            "agreement_id": agreement.id,
            "energy_wh": energy_wh,
            "transactions": transactions,
            "energy_cap_wh": cap,
            "remaining_wh": None if cap is None else max(cap - energy_wh, 0),
            "exhausted": agreement.exhausted,
        }
        sessions = page(
            [bodies.show_transaction(transaction) for transaction in found], has_more=has_more
        )
        return JSONResponse(totals | sessions)


def _add_writing(router: APIRouter, service: AgreementService) -> None:
    @router.post(
        "",
        dependencies=[scope(WRITE), TERMS],
        response_model=bodies.AgreementBody,
        status_code=201,
        summary="Create a draft",
    )
    async def create(body: bodies.TermsBody) -> JSONResponse:
        agreement = await service.create(body)
        response = _single(agreement, 201)
        response.headers["Location"] = f"/v1/agreements/{agreement.id}"
        return response

    @router.patch(
        "/{agreement_id}",
        dependencies=[scope(WRITE), TERMS],
        response_model=bodies.AgreementBody,
        summary="Amend its terms by a JSON merge patch (RFC 7396)",
    )
    async def amend(
        agreement_id: str,
        patch: Annotated[dict[str, Any], Body(media_type=MERGE_PATCH)],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        return _single(await service.amend(agreement_id, patch, if_match=if_match))

    @router.delete(
        "/{agreement_id}",
        dependencies=[scope(WRITE)],
        status_code=204,
        summary="Delete a draft, or a rejected or cancelled agreement",
    )
    async def delete(agreement_id: str, if_match: IfMatch = None) -> Response:
        await service.delete(agreement_id, if_match=if_match)
        return Response(status_code=204)


def _add_command(router: APIRouter, service: AgreementService, command: Command) -> None:
    @router.post(
        f"/{{agreement_id}}/{command}",
        dependencies=[scope(WRITE)],
        response_model=bodies.AgreementBody,
        summary=_SUMMARIES[command],
        name=str(command),
    )
    async def act(
        agreement_id: str,
        body: bodies.ReasonBody | None = None,
        if_match: IfMatch = None,
    ) -> JSONResponse:
        reason = (body.reason or None) if body else None
        return _single(await service.act(agreement_id, command, if_match=if_match, reason=reason))


def _filters(
    *,
    status: Annotated[list[Status] | None, Query(description="May be repeated.")] = None,
    kind: Kind | None = None,
    token_ref: str | None = None,
    party_id: str | None = None,
    station_id: Annotated[str | None, Query(description="Named in the scope.")] = None,
    site_id: Annotated[str | None, Query(description="Named in the scope.")] = None,
    contract_id: Annotated[str | None, Query(description="EMAID in any spelling.")] = None,
    valid_at: QueryTime = None,
) -> Filters:
    if contract_id is not None:
        try:
            contract_id = emaid.normalise(contract_id)
        except ValueError as error:
            raise RequestValidationError(
                [{"loc": ("contract_id",), "msg": str(error), "type": "value_error"}]
            ) from None
    return Filters(
        status=status,
        kind=kind,
        token_ref=token_ref,
        party_id=party_id,
        station_id=station_id,
        site_id=site_id,
        contract_id=contract_id,
        valid_at=valid_at,
    )


def _revision(agreement_id: str, cursor: str | None) -> int | None:
    """Return a cursor of history, ``<agreement id>:<revision>``, as a revision."""
    if cursor is None:
        return None
    owner, _, number = cursor.rpartition(":")
    if owner != agreement_id or not (number.isascii() and number.isdigit() and len(number) < 10):  # noqa: PLR2004 - far below 2**63
        raise Problem(422, "invalid-request", "A cursor is the id of a revision of this agreement.")
    return int(number)


def _single(agreement: Agreement, status: int = 200) -> JSONResponse:
    return JSONResponse(
        bodies.show_agreement(agreement), status, {"ETag": etag(agreement.revision)}
    )
