"""The wire form of local lists: plans as operators write them, and stations' lists as shown."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from voltbus_auth.local_lists.domain.facts import Station
from voltbus_auth.local_lists.domain.plans import Blocked, Plan, Scope, key_of
from voltbus_auth.local_lists.domain.station import Status
from voltbus_auth.tokens.domain.token import Whitelist
from voltbus_backbone.rest.validation import Text

Ref = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Place(StrEnum):
    """What a plan is for, as its address says."""

    GROUPS = "groups"
    SITES = "sites"
    STATIONS = "stations"


SCOPES = {Place.GROUPS: Scope.GROUP, Place.SITES: Scope.SITE, Place.STATIONS: Scope.STATION}


class PlanRequest(BaseModel):
    """Which tokens belong on these stations' lists; what several plans name adds up."""

    model_config = ConfigDict(extra="forbid")

    tokens: list[Ref] = Field(default=[], max_length=5000, description="Tokens by reference.")
    token_groups: list[Text] = Field(
        default=[], max_length=1000, description="Every token with one of these `group_id`s."
    )
    covered: bool = Field(
        default=False, description="Every token whose agreements cover the station."
    )
    whitelist: list[Whitelist] = Field(
        default=[], max_length=3, description="Every token with one of these words."
    )
    blocked: Blocked = Field(
        default=Blocked.REMOVE,
        description="A blocked token is removed, or listed as Blocked: for stations that let "
        "unknown tokens charge while they are offline. Of several plans the narrowest decides.",
    )

    @field_validator("whitelist")
    @classmethod
    def _never_listed(cls, value: list[Whitelist]) -> list[Whitelist]:
        if Whitelist.NEVER in value:
            raise ValueError("tokens with NEVER are on no list")
        return value

    def plan(self, key: str, revision: int) -> Plan:
        """As the domain wants it."""
        return Plan(
            key=key,
            revision=revision,
            tokens=tuple(dict.fromkeys(self.tokens)),
            token_groups=tuple(dict.fromkeys(self.token_groups)),
            covered=self.covered,
            whitelist=tuple(dict.fromkeys(self.whitelist)),
            blocked=self.blocked,
        )


class PlanAnswer(BaseModel):
    """A plan as it is stored. ``id`` is ``<scope>:<name>``."""

    id: str
    scope: Scope
    name: str
    tokens: list[str]
    token_groups: list[str]
    covered: bool
    whitelist: list[Whitelist]
    blocked: Blocked
    revision: int
    updated_at: datetime


class PlanPage(BaseModel):
    """A page of plans."""

    data: list[PlanAnswer]
    has_more: bool


class LimitsAnswer(BaseModel):
    """What the station said that it holds and takes; null where it said nothing."""

    entries: int | None
    items_per_message: int | None
    bytes_per_message: int | None


class ListAnswer(BaseModel):
    """How a station's list stands. ``left_out`` counts wanted tokens that are not on it by reason.

    ``next_try_at``: the station did not take it, and is not sent anything before then.
    """

    station_id: str
    status: Status
    detail: str
    since: datetime | None
    version: int
    wanted: int
    left_out: dict[str, int]
    limits: LimitsAnswer | None
    failures: int
    next_try_at: datetime | None


class WholeListAnswer(ListAnswer):
    """With what the station acknowledged to hold, by reference, and the plans that are for it."""

    held: int
    entries: list[str]
    plans: list[str]


class ListPage(BaseModel):
    """A page of stations' lists."""

    data: list[ListAnswer]
    has_more: bool


def plan_key(place: Place, name: str) -> str:
    """What the plan at an address is called."""
    return key_of(SCOPES[place], name)


def shown_plan(plan: Plan, updated_at: datetime) -> PlanAnswer:
    """A plan as it is shown."""
    scope, _, name = plan.key.partition(":")
    return PlanAnswer(
        id=plan.key,
        scope=Scope(scope),
        name=name,
        tokens=list(plan.tokens),
        token_groups=list(plan.token_groups),
        covered=plan.covered,
        whitelist=list(plan.whitelist),
        blocked=plan.blocked,
        revision=plan.revision,
        updated_at=updated_at,
    )


def shown(station: Station) -> ListAnswer:
    """A station's list without what is on it."""
    state = station.list
    limits = None
    if state.limits is not None:
        limits = LimitsAnswer(
            entries=state.limits.entries
            if state.limits.entries is not None
            else state.reported_entries,
            items_per_message=state.limits.items,
            bytes_per_message=state.limits.bytes,
        )
    return ListAnswer(
        station_id=station.id,
        status=state.status,
        detail=state.detail,
        since=state.since,
        version=state.version,
        wanted=state.wanted,
        left_out=dict(state.left_out),
        limits=limits,
        failures=state.failures,
        next_try_at=state.not_before,
    )


def shown_whole(station: Station, plans: list[str]) -> WholeListAnswer:
    """A station's list with what is on it."""
    held = sorted(station.list.held)
    return WholeListAnswer(**shown(station).model_dump(), held=len(held), entries=held, plans=plans)
