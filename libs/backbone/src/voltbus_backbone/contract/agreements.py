"""Service agreements as others see them (`agreements.events`, compacted, full snapshots)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from voltbus_backbone.contract.values import ChargingSpeed, Message, OpeningHours


class AgreementStatus(StrEnum):
    """The life cycle (see docs/agreements.md for the picture)."""

    DRAFT = "draft"
    PENDING_APPROVAL = "pending_approval"
    REJECTED = "rejected"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Party(Message, frozen=True):
    """``role``: provider, customer, site_host, operator or roaming_partner."""

    id: str
    role: str


class AgreementToken(Message, frozen=True):
    """A token by its reference in auth; the readable value is never here."""

    ref: str
    type: str = ""


class Scope(Message, frozen=True):
    """Where the agreement holds. An empty list means everywhere. EVSEs as "station/evse"."""

    locations: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    evses: tuple[str, ...] = ()
    evse_kinds: tuple[str, ...] = ()


class Limits(Message, frozen=True):
    """What the agreement allows. ``energy_cap_wh`` over its whole term."""

    max_concurrent: int | None = None
    max_power_w: float | None = None
    prepaid: bool = False
    energy_cap_wh: int | None = None


class StationTerms(Message, frozen=True):
    """What a site-host agreement makes of the stations in its scope (a layer of config)."""

    charging_speed: ChargingSpeed | None = None
    payment_methods: tuple[str, ...] = ()
    opening_hours: OpeningHours | None = None


class AgreementSnapshot(Message, frozen=True):
    """The whole agreement after a change. ``revision`` only grows; ignore an older one.

    ``valid_from`` inclusive, ``valid_to`` exclusive, UTC. ``schedule``: when it allows charging.
    ``exhausted``: a cap of ``limits`` is used up (auth then answers NoCredit).
    """

    id: str
    kind: str
    name: str
    status: AgreementStatus
    revision: int
    valid_from: datetime
    at: datetime
    status_reason: str | None = None
    valid_to: datetime | None = None
    timezone: str = "UTC"
    parties: tuple[Party, ...] = ()
    contract_id: str | None = None
    supersedes: str | None = None
    tokens: tuple[AgreementToken, ...] = ()
    group_id: str | None = None
    scope: Scope = Scope()
    schedule: OpeningHours | None = None
    limits: Limits = Limits()
    station_terms: StationTerms | None = None
    charging_priority: int | None = None
    tariff: str | None = None
    payment_methods: tuple[str, ...] = ()
    language: str | None = None
    exhausted: bool = False
    metadata: dict[str, Any] = {}


class RetrieveAgreement(Message, frozen=True):
    """Another system asks for an agreement over Kafka (`agreements.requests`, key: its id)."""

    id: str


class RetrieveAgreementAnswer(Message, frozen=True):
    """``agreement`` is left out when there is none with that id."""

    agreement: AgreementSnapshot | None = None
