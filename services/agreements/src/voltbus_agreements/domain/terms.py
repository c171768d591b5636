"""What the parties agreed, and the rules that hold in every state (ocpp-rules D)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from voltbus_agreements.domain.refusals import FieldError, InvalidTerms

# Not only for the checker: the store rebuilds terms from documents by their annotations.
from voltbus_backbone.contract.agreements import (
    AgreementToken,
    Limits,
    Party,
    Scope,
    StationTerms,
)
from voltbus_backbone.contract.values import OpeningHours  # noqa: TC001 - as above
from voltbus_backbone.values import emaid, hours

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVSE = re.compile(r"[^/]+/[0-9]+")
_SPEED_UNITS = ("W", "A")


class Kind(StrEnum):
    """Whom an agreement is with."""

    DRIVER = "driver"
    SITE_HOST = "site_host"
    ROAMING = "roaming"


@dataclass(frozen=True)
class Terms:
    """Everything of an agreement that people write. Field by field as in AgreementSnapshot.

    ``valid_from`` is inside the period, ``valid_to`` (None: open end) is not; both UTC.
    """

    kind: Kind
    name: str
    valid_from: datetime
    valid_to: datetime | None = None
    timezone: str = "UTC"
    parties: tuple[Party, ...] = ()
    contract_id: str | None = None
    tokens: tuple[AgreementToken, ...] = ()
    group_id: str | None = None
    scope: Scope = field(default_factory=Scope)
    schedule: OpeningHours | None = None
    limits: Limits = field(default_factory=Limits)
    station_terms: StationTerms | None = None
    charging_priority: int | None = None
    tariff: str | None = None
    payment_methods: tuple[str, ...] = ()
    language: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def to_instant(time: datetime) -> datetime:
    """Return a time as it is kept: UTC, in whole milliseconds (MongoDB's precision)."""
    utc = time.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def normalize(terms: Terms) -> Terms:
    """Return the terms in their normal form: times in UTC, the contract id folded.

    Raises:
        InvalidTerms: a rule is broken.
    """
    errors = list(_find_errors(terms))
    contract_id = terms.contract_id
    if contract_id is not None:
        try:
            contract_id = emaid.normalise(contract_id)
        except ValueError as error:
            errors.append(FieldError("contract_id", str(error)))
    if errors:
        raise InvalidTerms(errors)
    return replace(
        terms,
        contract_id=contract_id,
        valid_from=to_instant(terms.valid_from),
        valid_to=None if terms.valid_to is None else to_instant(terms.valid_to),
    )


def find_missing_for_activation(terms: Terms) -> list[FieldError]:
    """Return what activation needs and the terms lack."""
    roles = {party.role for party in terms.parties}
    errors = [
        FieldError("parties", f"needs a party with the role {role}")
        for role in ("provider", "customer")
        if role not in roles
    ]
    scope = terms.scope
    if not (terms.tokens or scope.stations or scope.evses or scope.groups or scope.locations):
        errors.append(FieldError("tokens", "needs at least one token, or a station in the scope"))
    return errors


def _find_errors(terms: Terms) -> Iterator[FieldError]:
    if terms.valid_to is not None and to_instant(terms.valid_to) <= to_instant(terms.valid_from):
        yield FieldError("valid_to", "must be later than valid_from")
    if not _is_zone(terms.timezone):
        yield FieldError("timezone", "is no IANA time zone (such as Europe/Stockholm)")
    yield from _find_repeated("tokens", [token.ref for token in terms.tokens])
    yield from _find_repeated("parties", [f"{party.role}/{party.id}" for party in terms.parties])
    if any(not _EVSE.fullmatch(evse) for evse in terms.scope.evses):
        yield FieldError("scope.evses", "write each EVSE as station/number")
    yield from _find_hours_errors("schedule", terms.schedule)
    if terms.station_terms is not None:
        yield from _find_hours_errors(
            "station_terms.opening_hours", terms.station_terms.opening_hours
        )
        speed = terms.station_terms.charging_speed
        if speed is not None and (speed.limit < 0 or speed.unit not in _SPEED_UNITS):
            yield FieldError("station_terms.charging_speed", "a limit of at least 0 in W or A")


def _find_hours_errors(where: str, value: OpeningHours | None) -> Iterator[FieldError]:
    if value is not None:
        for problem in hours.validate(value):
            name, _, message = problem.partition(": ")
            yield FieldError(f"{where}.{name}", message)


def _find_repeated(where: str, values: list[str]) -> Iterator[FieldError]:
    if len(set(values)) < len(values):
        yield FieldError(where, "the same one is there twice")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
