"""The wire form of agreements: what a client writes, checked field by field, and what it reads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
)

from voltbus_agreements.domain.agreement import Agreement, Change
from voltbus_agreements.domain.terms import Kind, Terms
from voltbus_agreements.domain.usage import CountedTransaction
from voltbus_backbone.contract.agreements import AgreementStatus as Status
from voltbus_backbone.rest.validation import Time

_MOST = 1000  # entries of a list
_INT64 = 2**63 - 1


def _exact(value: Any) -> Any:
    """No whole number that MongoDB cannot hold: as a float it would be another number."""
    if isinstance(value, int) and not -_INT64 <= value <= _INT64:
        raise ValueError("a whole number takes at most 64 bits")
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Texts = Annotated[tuple[Text, ...], Field(max_length=_MOST)]
Reference = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
MetadataValue = Annotated[
    StrictBool
    | StrictInt
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | Annotated[str, StringConstraints(max_length=500)],
    BeforeValidator(_exact),
]
Period = tuple[str, str]


class Body(BaseModel):
    """A part of the wire form: unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class PartyBody(Body):
    """Someone who takes part, by their id in the operator's own systems."""

    id: Text
    role: Literal["provider", "customer", "site_host", "operator", "roaming_partner"]


class TokenBody(Body):
    """A token by the ``token_ref`` that auth gave it; never the readable token."""

    ref: Reference
    type: Annotated[str, StringConstraints(max_length=20)] = ""


class ScopeBody(Body):
    """Where it holds; what is empty restricts nothing. EVSEs as ``station/number``."""

    locations: Texts = ()
    stations: Texts = ()
    groups: Texts = ()
    evses: Texts = ()
    evse_kinds: Texts = ()


class LimitsBody(Body):
    """What it allows. Energy in Wh over the whole term."""

    max_concurrent: Annotated[int, Field(ge=1, le=100_000)] | None = None
    max_power_w: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prepaid: bool = False
    energy_cap_wh: Annotated[int, Field(ge=0, le=_INT64)] | None = None


class HoursBody(Body):
    """Per weekday (mon..sun) half-open periods ``["HH:MM", "HH:MM"]`` in an IANA time zone."""

    timezone: Text
    weekly: dict[str, tuple[Period, ...]]
    exceptions: dict[str, tuple[Period, ...]] = {}


class SpeedBody(Body):
    """The most that a station may deliver."""

    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    unit: Literal["W", "A"] = "W"


class StationTermsBody(Body):
    """What a site-host agreement makes of its stations."""

    charging_speed: SpeedBody | None = None
    payment_methods: Texts = ()
    opening_hours: HoursBody | None = None


class TermsBody(Body):
    """What a client writes of an agreement."""

    kind: Kind
    name: Text
    valid_from: Time | None = Field(default=None, description="Inclusive; when left out, now.")
    valid_to: Time | None = Field(default=None, description="Exclusive; when left out, open.")
    timezone: Text = "UTC"
    parties: Annotated[tuple[PartyBody, ...], Field(max_length=_MOST)] = ()
    contract_id: Text | None = Field(default=None, description="EMAID; kept folded.")
    tokens: Annotated[tuple[TokenBody, ...], Field(max_length=_MOST)] = ()
    group_id: Text | None = None
    scope: ScopeBody = ScopeBody()
    schedule: HoursBody | None = Field(default=None, description="When it allows charging.")
    limits: LimitsBody = LimitsBody()
    station_terms: StationTermsBody | None = None
    charging_priority: Annotated[int, Field(ge=-9, le=9)] | None = None
    tariff: Text | None = None
    payment_methods: Texts = ()
    language: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=8),
        ]
        | None
    ) = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)] = {}

    def terms(self, *, now: datetime) -> Terms:
        """Return the same as the domain knows it; ``valid_from`` is now where it was left out."""
        fields = self.model_dump()
        fields["valid_from"] = self.valid_from or now
        return msgspec.convert(fields, Terms)


class AgreementBody(TermsBody):
    """What a client reads: the terms and everything that the life cycle adds."""

    id: str
    status: Status
    revision: int
    status_reason: str | None
    supersedes: str | None
    exhausted: bool
    created_at: datetime
    updated_at: datetime
    activated_at: datetime | None
    ended_at: datetime | None


class ReasonBody(Body):
    """Why, in words for people; kept as ``status_reason``."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] | None = None


class PageBody(BaseModel):
    """A page, the newest first."""

    data: list[AgreementBody]
    has_more: bool


class RevisionBody(BaseModel):
    """One line of history: what happened, why, and the agreement after it."""

    id: str
    revision: int
    event: str
    cause: str
    at: datetime
    agreement: AgreementBody


class HistoryBody(BaseModel):
    """A page of history, the newest first."""

    data: list[RevisionBody]
    has_more: bool


class SessionBody(BaseModel):
    """One transaction as it counts."""

    transaction_ref: str
    station_id: str
    energy_wh: int
    revision: int
    ended_at: datetime | None


class UsageBody(BaseModel):
    """Totals in Wh, and a page of the transactions they are made of."""

    agreement_id: str
    energy_wh: int
    transactions: int
    energy_cap_wh: int | None
    remaining_wh: int | None
    exhausted: bool
    data: list[SessionBody]
    has_more: bool


def dump_terms(terms: Terms) -> dict[str, Any]:
    """Terms as their client would write them: what a merge patch is applied to."""
    body = TermsBody.model_validate(msgspec.to_builtins(terms, builtin_types=(datetime,)))
    return body.model_dump(mode="json")


def show_agreement(agreement: Agreement) -> dict[str, Any]:
    """Return an agreement as its client reads it, every field present."""
    body = AgreementBody.model_validate(
        {
            **msgspec.to_builtins(agreement.terms, builtin_types=(datetime,)),
            "id": agreement.id,
            "status": agreement.status,
            "revision": agreement.revision,
            "status_reason": agreement.status_reason,
            "supersedes": agreement.supersedes,
            "exhausted": agreement.exhausted,
            "created_at": agreement.created_at,
            "updated_at": agreement.at,
            "activated_at": agreement.activated_at,
            "ended_at": agreement.ended_at,
        }
    )
    return body.model_dump(mode="json")


def show_change(change: Change) -> dict[str, Any]:
    """Return a line of history."""
    agreement = show_agreement(change.agreement)
    return {
        "id": f"{agreement['id']}:{agreement['revision']}",
        "revision": agreement["revision"],
        "event": change.event.value,
        "cause": change.cause,
        "at": agreement["updated_at"],
        "agreement": agreement,
    }


def show_transaction(session: CountedTransaction) -> dict[str, Any]:
    """Return a counted transaction."""
    found: dict[str, Any] = msgspec.to_builtins(session)
    del found["agreement_id"]
    return found
