"""`/v1/authorizations`: why a token would be let in, or not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from voltbus_auth.decisions.domain.verdict import Question, Rule, Verdict
from voltbus_auth.decisions.handlers.knowledge import Library
from voltbus_auth.decisions.store.journal import JournalStore
from voltbus_auth.decisions.store.occupancy import OccupancyStore
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken
from voltbus_backbone.errors import Problem
from voltbus_backbone.rest import Router, scope
from voltbus_backbone.rest.conventions import Paging, page
from voltbus_backbone.rest.validation import Time


class DecisionFilters:
    """Which decisions a list shows. ``from`` and ``to`` bound when they were asked for."""

    def __init__(
        self,
        *,
        station_id: Annotated[str | None, Query()] = None,
        token_ref: Annotated[str | None, Query()] = None,
        status: Annotated[AuthorizationStatus | None, Query()] = None,
        rule: Annotated[Rule | None, Query()] = None,
        asked_by: Annotated[Literal["authorize", "transaction"] | None, Query()] = None,
        since: Annotated[Time | None, Query(alias="from")] = None,
        until: Annotated[Time | None, Query(alias="to")] = None,
    ) -> None:
        wanted = {
            "station_id": station_id,
            "token_ref": token_ref,
            "status": status.value if status is not None else None,
            "rule": rule.value if rule is not None else None,
            "asked_by": asked_by,
        }
        self.query: dict[str, Any] = {
            name: value for name, value in wanted.items() if value is not None
        }
        bounds = {"$gte": since, "$lt": until}
        window = {sign: value for sign, value in bounds.items() if value is not None}
        if window:
            self.query["at"] = window


class ExplainRequest(BaseModel):
    """Which token, where and when. Give ``token_ref``, or ``id_token`` with its ``type``."""

    model_config = ConfigDict(extra="forbid")

    station_id: str = Field(min_length=1, max_length=48)
    token_ref: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    id_token: str | None = Field(default=None, min_length=1, max_length=255)
    type: str = Field(default="", max_length=20, description="Empty: as 1.6 presents it.")
    evse_id: int | None = Field(default=None, ge=0)
    at: Time | None = Field(default=None, description="Now, when left out.")
    starting: bool = Field(default=False, description="Count open transactions as a start would.")

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.token_ref is None) == (self.id_token is None):
            raise ValueError("give either token_ref or id_token")
        return self


class Explanation(BaseModel):
    """The answer, the rule that decided and the reason in words.

    ``station_known`` false: no such station is registered, so that no hours, no kinds of EVSEs and
    no payment methods of it could speak against the token, and it could not log in to ask.
    """

    status: str
    rule: str
    reason: str
    at: datetime
    station_known: bool
    token_ref: str
    agreement_id: str | None
    cache_expiry: datetime | None
    group_id: str | None
    evse_ids: list[int]
    charging_priority: int | None
    language: str | None
    personal_message: str | None


def authorizations_router(
    journal: JournalStore,
    occupancy: OccupancyStore,
    library: Library,
    key: TokenKey,
    now: Callable[[], datetime],
) -> APIRouter:
    """The routes."""
    router = Router(prefix="/v1/authorizations", tags=["authorizations"])
    read = scope("authorizations:read")

    @router.get("", summary="List past decisions, the newest first", dependencies=[read])
    async def list_decisions(
        paging: Annotated[Paging, Depends()], filters: Annotated[DecisionFilters, Depends()]
    ) -> dict[str, Any]:
        try:
            found, more = await journal.page(
                filters.query,
                limit=paging.limit,
                after=paging.starting_after,
                before=paging.ending_before,
            )
        except ValueError:
            raise Problem(422, "invalid-request", "The cursor names no decision.") from None
        return page(found, has_more=more)

    @router.post(
        "/explain",
        summary="Would this token be accepted there and then, and why?",
        dependencies=[read],
    )
    async def explain(body: ExplainRequest) -> Explanation:
        token = IdToken(value=body.id_token or "", type=body.type)
        ref = body.token_ref or key.presented(token)
        knowledge = await library.load({ref}, {body.station_id}, key.contracts([token]))
        at = body.at.astimezone(UTC) if body.at is not None else now()
        question = Question(body.type, at, body.evse_id, body.starting)
        verdict = knowledge.verdict(ref, body.station_id, question)
        if body.starting and verdict.limits:
            full = await occupancy.full(verdict.limits)
            verdict = knowledge.verdict(ref, body.station_id, question, full=full)
        known = body.station_id in knowledge.places
        return _explained(verdict, at, knowledge.token_ref(ref), station_known=known)

    return router


def _explained(
    verdict: Verdict, at: datetime, token_ref: str, *, station_known: bool
) -> Explanation:
    decision = verdict.decision
    return Explanation(
        status=decision.status.value,
        rule=verdict.rule.value,
        reason=verdict.reason,
        at=at,
        station_known=station_known,
        token_ref=token_ref,
        agreement_id=verdict.agreement_id,
        cache_expiry=decision.cache_expiry,
        group_id=decision.group.value if decision.group is not None else None,
        evse_ids=list(decision.evse_ids),
        charging_priority=decision.charging_priority,
        language=decision.language,
        personal_message=decision.personal_message,
    )
