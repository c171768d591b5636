"""What a list of agreements can be narrowed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True)
class Filters:
    """What a list of agreements is narrowed to; None narrows nothing.

    ``station_id``: the scope names this station or an EVSE of it; ``site_id``: it names this site
    (a location of the scope). ``valid_at``: the period holds it.
    """

    status: Sequence[str] | None = None
    kind: str | None = None
    token_ref: str | None = None
    party_id: str | None = None
    station_id: str | None = None
    site_id: str | None = None
    contract_id: str | None = None
    valid_at: datetime | None = None

    def query(self) -> dict[str, Any]:
        """As MongoDB wants it."""
        exact = {
            "terms.kind": self.kind,
            "terms.tokens.ref": self.token_ref,
            "terms.parties.id": self.party_id,
            "terms.contract_id": self.contract_id,
            "terms.scope.locations": self.site_id,
        }
        parts: list[dict[str, Any]] = [
            {name: value} for name, value in exact.items() if value is not None
        ]
        if self.status:
            parts.append({"status": {"$in": list(self.status)}})
        if self.station_id is not None:
            first, behind = f"{self.station_id}/", f"{self.station_id}0"  # "0" follows "/" in ASCII
            inside = {"$elemMatch": {"$gte": first, "$lt": behind}}
            parts.append(
                {"$or": [{"terms.scope.stations": self.station_id}, {"terms.scope.evses": inside}]}
            )
        if self.valid_at is not None:
            parts.append({"terms.valid_from": {"$lte": self.valid_at}})
            open_or_later = [{"terms.valid_to": None}, {"terms.valid_to": {"$gt": self.valid_at}}]
            parts.append({"$or": open_or_later})
        return {"$and": parts} if parts else {}
