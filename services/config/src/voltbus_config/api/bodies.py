"""The bodies that the REST interface takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from voltbus_backbone.contract.values import OpeningHours
from voltbus_backbone.errors import Problem
from voltbus_backbone.rest.validation import Time
from voltbus_backbone.values import hours
from voltbus_config.api.payloads import document_payloads
from voltbus_config.domain.commands import LONGEST_TIMEOUT_S
from voltbus_config.domain.stations import Registration, find_id_problem

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s/][^\n\r]*$")]
EvseNumber = Annotated[str, Field(pattern=r"^\d{1,5}$")]
Kind = Annotated[str, Field(min_length=1, max_length=50)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^$.]+$")]
MetadataValue = Annotated[str, Field(max_length=500)]

# Told from the operator's own keys, since these must change together with what auth knows.
_PASSWORDS = frozenset({"authorizationkey", "securityctrlr.basicauthpassword"})


class Body(BaseModel):
    """Unknown members are mistakes."""

    model_config = ConfigDict(extra="forbid")


class StationChange(Body):
    """What an operator may change of a station."""

    registration: Registration = Registration.ACCEPTED
    group_id: Name | None = None
    site_id: Name | None = None
    evse_kinds: dict[EvseNumber, Kind] = Field(
        default_factory=dict, max_length=200, description="EVSE number to your word for its kind."
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=50)


class NewStation(StationChange):
    """A station to be registered."""

    id: str = Field(description="The identity that the station connects with.")

    @field_validator("id")
    @classmethod
    def _id(cls, value: str) -> str:
        problem = find_id_problem(value)
        if problem is not None:
            raise ValueError(problem)
        return value


class Speed(Body):
    """The most that the whole station may deliver."""

    limit: float = Field(ge=0, le=10_000_000, allow_inf_nan=False)
    unit: Literal["W", "A"] = "W"


class Hours(Body):
    """When the station charges. Half-open periods in the time zone's own wall-clock time."""

    timezone: str = Field(max_length=64)
    weekly: dict[str, list[tuple[str, str]]]
    exceptions: dict[str, list[tuple[str, str]]] = Field(default_factory=dict, max_length=400)

    def as_contract(self) -> OpeningHours:
        """Return the contract's value.

        Raises:
            Problem: 422 with every mistake in words.
        """
        value = OpeningHours(
            timezone=self.timezone,
            weekly={day: tuple(periods) for day, periods in self.weekly.items()},
            exceptions={day: tuple(periods) for day, periods in self.exceptions.items()},
        )
        mistakes = hours.validate(value)
        if mistakes:
            raise Problem(
                422,
                "invalid-request",
                "The opening hours cannot be understood.",
                errors=[
                    {"field": f"opening_hours.{place}", "message": message}
                    for place, _, message in (each.partition(": ") for each in mistakes)
                ],
            )
        return value


Method = Literal["rfid", "app", "plug_and_charge", "autocharge", "key_code", "card", "web", "free"]
Key = Annotated[str, Field(min_length=1, max_length=210, pattern=r"^[^\s$][^\n\r]*$")]
Value = Annotated[str, Field(max_length=2500)] | bool | int | float


class SettingsBody(Body):
    """How a station should be set. What is left out is left to the lower layers."""

    charging_speed: Speed | None = None
    payment_methods: list[Method] | None = Field(default=None, max_length=20)
    opening_hours: Hours | None = None
    keys: dict[Key, Value] = Field(
        default_factory=dict,
        max_length=500,
        description="1.6 configuration keys, or 2.x variables as Component.Variable.",
    )

    @field_validator("keys")
    @classmethod
    def _keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        folded = [key.casefold() for key in value]
        if len(set(folded)) != len(folded):
            raise ValueError("two keys differ only in upper and lower case")
        if _PASSWORDS.intersection(folded):
            raise ValueError("a station's password is set through auth's credentials")
        return value


# No control character: no reader reads one, and no terminal should.
_READABLE = r"^[^\x00-\x1f\x7f]+$"
Number = Annotated[int, Field(ge=0, le=2_147_483_647)]


class NewReservation(Body):
    """A place to be kept. Without evse_id or connector_id: any at the station."""

    station_id: str = Field(min_length=1, max_length=48)
    id_token: str = Field(
        min_length=1,
        max_length=255,
        pattern=_READABLE,
        description="Who it is for. It is never shown again: answers name its token_ref.",
    )
    type: str | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        pattern=_READABLE,
        description="The token's type; by default that of the registered token.",
    )
    evse_id: Number | None = None
    connector_id: Number | None = None
    expires_at: datetime = Field(description="Until when it is kept, with its offset.")

    @field_validator("expires_at")
    @classmethod
    def _aware(cls, value: datetime) -> datetime:
        return _in_utc(value)


def _in_utc(value: datetime) -> datetime:
    """Return the time as stores keep it.

    Raises:
        ValueError: it has no offset, or lies beyond what can be kept.
    """
    if value.tzinfo is None:
        raise ValueError("give the time with its offset, such as 2026-01-31T12:00:00Z")
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


class NewCommand(Body):
    """A call to be sent to a station."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=document_payloads)

    action: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,49}$")
    payload: dict[str, Any] = Field(default_factory=dict)
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)
    expires_at: Time | None = None
    timeout_s: float = Field(default=30.0, gt=0, le=LONGEST_TIMEOUT_S)
