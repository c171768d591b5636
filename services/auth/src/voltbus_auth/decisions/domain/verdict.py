"""A decision's question, policy and outcome, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - tests build questions by their annotations
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import timedelta

    from voltbus_backbone.contract.auth import Decision


class Rule(StrEnum):
    """What decided, in the order of asking."""

    NO_AUTHORIZATION = "no_authorization"
    CERTIFICATE = "certificate"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    EXPIRED = "expired"
    TOO_MANY_TRIES = "too_many_tries"
    NO_AGREEMENT = "no_agreement"
    EVSE_KIND = "evse_kind"
    LOCATION = "location"
    TIME = "time"
    DEAUTHORIZED = "deauthorized"
    CREDIT = "credit"
    CONCURRENT = "concurrent"
    EXTERNAL = "external"
    SILENCE = "silence"
    ACCEPTED = "accepted"


ORDER = {rule: position for position, rule in enumerate(Rule)}


class Silence(StrEnum):
    """What becomes of a token when the external authorizer says nothing in time."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's switches. ``cache``: how long a station may rely on an acceptance.

    ``external``: tokens that are unknown here are another system's to decide.
    """

    cache: timedelta
    require_agreement: bool = False
    default_max_concurrent: int | None = None
    external: bool = False
    silence: Silence = Silence.ERROR


class Question(msgspec.Struct, frozen=True):
    """What is asked. ``evse_id`` None: about the station as a whole.

    ``starting``: a transaction begins with this token, so that it takes one of those it may have.
    ``of_transaction``: a transaction message asks, not an Authorize. ``answered_at``: from when the
    answer holds; of what was sent late that is not when it happened (``at``).
    """

    type: str
    at: datetime
    evse_id: int | None = None
    starting: bool = False
    of_transaction: bool = False
    answered_at: datetime | None = None

    @property
    def valid_from(self) -> datetime:
        """From when a station may rely on the answer."""
        return self.answered_at or self.at


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than ``most`` open transactions at once under this key."""

    key: str
    most: int


class Verdict(msgspec.Struct, frozen=True):
    """The decision, what decided, and why in words. ``limits`` must hold when it starts.

    ``elsewhere``: the last word is another system's, which has not been asked yet.
    ``authorization_reference`` is what that system called its decision.
    """

    decision: Decision
    rule: Rule
    reason: str
    agreement_id: str | None = None
    limits: tuple[Limit, ...] = ()
    elsewhere: bool = False
    authorization_reference: str | None = None
