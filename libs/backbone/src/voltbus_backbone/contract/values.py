"""Values that several messages share."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What every message of the contract is: immutable, named fields, defaults left out."""


class Protocol(StrEnum):
    """The OCPP versions that a station may speak, by their WebSocket subprotocol."""

    OCPP16 = "ocpp1.6"
    OCPP201 = "ocpp2.0.1"
    OCPP21 = "ocpp2.1"


class IdToken(Message, frozen=True):
    """An identifier as a station or a driver presents it. Sensitive: never logged, never an event.

    ``type`` is OCPP 2.x's IdTokenEnumType; it is empty for an OCPP 1.6 idTag, which has none.
    """

    value: str
    type: str = ""
    additional: tuple[AdditionalId, ...] = ()

    def __repr__(self) -> str:
        """Show the type only, so that no traceback or log line can show the value."""
        return f"IdToken(type={self.type!r}, value=<hidden>)"


class AdditionalId(Message, frozen=True):
    """OCPP 2.x AdditionalInfoType: a further identifier beside the token. Sensitive."""

    value: str
    type: str

    def __repr__(self) -> str:
        """Show the type only."""
        return f"AdditionalId(type={self.type!r}, value=<hidden>)"


class Sample(Message, frozen=True):
    """One measured value at one time, in the unit the station gave.

    ``value`` is a number, or for signed data the text as it came. ``multiplier`` is a power of ten
    (OCPP 2.x unitOfMeasure). Names are those of OCPP's SampledValue.
    """

    at: datetime
    value: float | str
    measurand: str = "Energy.Active.Import.Register"
    unit: str = "Wh"
    multiplier: int = 0
    phase: str | None = None
    context: str = "Sample.Periodic"
    location: str = "Outlet"
    format: str = "Raw"
    signed: SignedMeterValue | None = None


class SignedMeterValue(Message, frozen=True):
    """OCPP 2.x SignedMeterValueType, kept exactly as it came."""

    data: str
    encoding_method: str
    signing_method: str = ""
    public_key: str = ""


class OpeningHours(Message, frozen=True):
    """When a site charges: per weekday (mon..sun) the half-open periods ["HH:MM", "HH:MM"].

    ``timezone`` is an IANA name. A weekday that is left out is closed. "24:00" ends a day.
    ``exceptions`` maps a date (YYYY-MM-DD) to its own periods; an empty list closes that day.
    """

    timezone: str
    weekly: dict[str, tuple[tuple[str, str], ...]]
    exceptions: dict[str, tuple[tuple[str, str], ...]] = {}


class ChargingSpeed(Message, frozen=True):
    """The most that a station may deliver: ``limit`` in ``unit`` ("W" or "A")."""

    limit: float
    unit: str = "W"


class AuthorizationStatus(StrEnum):
    """OCPP 2.x AuthorizationStatusEnumType; the gateway translates it down to 1.6."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    CONCURRENT_TX = "ConcurrentTx"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    NO_CREDIT = "NoCredit"
    NOT_ALLOWED_TYPE_EVSE = "NotAllowedTypeEVSE"
    NOT_AT_THIS_LOCATION = "NotAtThisLocation"
    NOT_AT_THIS_TIME = "NotAtThisTime"
    UNKNOWN = "Unknown"
