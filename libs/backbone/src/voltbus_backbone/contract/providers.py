"""What other systems are asked (`providers.requests`), in the words of OCPI."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from voltbus_backbone.contract.values import IdToken, Message, Protocol


class Allowed(StrEnum):
    """OCPI's AllowedType; ``UNKNOWN`` is what OCPI says with HTTP 404."""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    NO_CREDIT = "NO_CREDIT"
    NOT_ALLOWED = "NOT_ALLOWED"
    UNKNOWN = "UNKNOWN"


class Keep(StrEnum):
    """OCPI's WhitelistType: whether an answer may be relied on without asking again."""

    ALWAYS = "ALWAYS"
    ALLOWED = "ALLOWED"
    ALLOWED_OFFLINE = "ALLOWED_OFFLINE"
    NEVER = "NEVER"


class ProviderAuthorize(Message, frozen=True):
    """May this token charge at this station? (request to another system)

    It is unknown here, or its provider wants to be asked each time. ``evse_ids`` are the station's
    EVSEs where they are known; ``location_id`` is the site, or else the station.
    """

    station_id: str
    protocol: Protocol
    id_token: IdToken
    at: datetime
    location_id: str
    evse_ids: tuple[int, ...] = ()


class ProviderAuthorizeAnswer(Message, frozen=True):
    """What the other system says, in OCPI's words (AuthorizationInfo).

    ``evse_ids`` limit where it is allowed; empty means everywhere at the station. ``keep`` and
    ``keep_s`` say whether and for how many seconds the answer may be used again (at most as long
    as the operator allows). ``message`` is shown to the driver.
    """

    allowed: Allowed
    keep: Keep = Keep.ALLOWED
    keep_s: float | None = None
    valid_until: datetime | None = None
    evse_ids: tuple[int, ...] = ()
    group_id: str | None = None
    language: str | None = None
    message: str | None = None
    authorization_reference: str | None = None
