"""A change as others hear of it: the full snapshot on `agreements.events`, and last a tombstone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_agreements.domain.agreement import EventKind
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract import registry

if TYPE_CHECKING:
    from voltbus_agreements.domain.agreement import Change
    from voltbus_backbone.bus.envelope import Record

_ROWS = {
    EventKind.CREATED: registry.AGREEMENT_CREATED,
    EventKind.UPDATED: registry.AGREEMENT_UPDATED,
    EventKind.ACTIVATED: registry.AGREEMENT_ACTIVATED,
    EventKind.SUSPENDED: registry.AGREEMENT_SUSPENDED,
    EventKind.RESUMED: registry.AGREEMENT_RESUMED,
    EventKind.EXPIRED: registry.AGREEMENT_EXPIRED,
    EventKind.TERMINATED: registry.AGREEMENT_TERMINATED,
    EventKind.DELETED: registry.AGREEMENT_DELETED,
}


def build_records(change: Change, *, source: str) -> list[Record]:
    """Build what a change puts on `agreements.events`, keyed by the agreement's id."""
    agreement = change.agreement
    id_ = f"{agreement.id}:{agreement.revision}"
    told = envelope.event(
        _ROWS[change.event], agreement.snapshot(), id=id_, source=source, now=agreement.at
    )
    if change.event is not EventKind.DELETED:
        return [told]
    gone = envelope.tombstone(
        registry.Topic.AGREEMENTS_EVENTS,
        agreement.id.encode(),
        source=source,
        now=agreement.at,
        id=f"{id_}:tombstone",
    )
    return [told, gone]
