"""Steps by which transactions take and give back the places that limits allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Limit


@dataclass(frozen=True, slots=True)
class Occupy:
    """Count this transaction against these limits, as far as they have room.

    ``outlet`` is the EVSE it occupies: an older transaction there must be over.
    """

    ref: str
    limits: tuple[Limit, ...]
    outlet: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """This transaction no longer counts against these keys."""

    ref: str
    keys: tuple[str, ...]
