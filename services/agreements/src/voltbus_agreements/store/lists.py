"""Lists: filters and pages. The newest comes first; a page goes on from an exclusive cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_backbone.rest import Paging
    from voltbus_backbone.store import Collection


@dataclass(frozen=True)
class Filters:
    """What a list of agreements is narrowed to; None narrows nothing.

    ``station``: the scope names this station or an EVSE of it. ``valid_at``: the period holds it.
    """

    status: Sequence[str] | None = None
    kind: str | None = None
    token_ref: str | None = None
    party_id: str | None = None
    station: str | None = None
    contract_id: str | None = None
    valid_at: datetime | None = None

    def query(self) -> dict[str, Any]:
        """As MongoDB wants it."""
        exact = {
            "terms.kind": self.kind,
            "terms.tokens.ref": self.token_ref,
            "terms.parties.id": self.party_id,
            "terms.contract_id": self.contract_id,
        }
        parts: list[dict[str, Any]] = [
            {name: value} for name, value in exact.items() if value is not None
        ]
        if self.status:
            parts.append({"status": {"$in": list(self.status)}})
        if self.station is not None:
            first, behind = f"{self.station}/", f"{self.station}0"  # "0" follows "/" in ASCII
            inside = {"$elemMatch": {"$gte": first, "$lt": behind}}
            parts.append(
                {"$or": [{"terms.scope.stations": self.station}, {"terms.scope.evses": inside}]}
            )
        if self.valid_at is not None:
            parts.append({"terms.valid_from": {"$lte": self.valid_at}})
            open_or_later = [{"terms.valid_to": None}, {"terms.valid_to": {"$gt": self.valid_at}}]
            parts.append({"$or": open_or_later})
        return {"$and": parts} if parts else {}


async def find_page(
    collection: Collection,
    query: dict[str, Any],
    paging: Paging,
    *,
    order: str = "_id",
    after: Any = None,
    before: Any = None,
) -> tuple[list[dict[str, Any]], bool]:
    """A page in descending order of a field, and whether more follow in the page's direction.

    ``after`` and ``before`` are the cursors as values of that field.
    """
    cursor: dict[str, Any] = {}
    if after is not None:
        cursor = {order: {"$lt": after}}
    elif before is not None:
        cursor = {order: {"$gt": before}}
    direction = 1 if before is not None else -1
    found = (
        await collection.find({"$and": [query, cursor]})
        .sort(order, direction)
        .limit(paging.limit + 1)
        .to_list(paging.limit + 1)
    )
    has_more = len(found) > paging.limit
    found = found[: paging.limit]
    return (found[::-1] if before is not None else found), has_more
