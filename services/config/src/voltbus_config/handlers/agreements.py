"""Keeps the projection of the agreements that shape stations (`agreements.events`, compacted)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.contract import registry
from voltbus_backbone.values import hours
from voltbus_config.domain.layers import StationAgreement, project_agreement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.agreements import AgreementSnapshot
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.reconciler import Reconciler

log = structlog.get_logger(__name__)

TYPES = frozenset(
    row.name for row in registry.TYPES.values() if row.topic is registry.Topic.AGREEMENTS_EVENTS
)


class AgreementProjection:
    """The consumer of `agreements.events`."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Take over the newest revision of each; every station that it shaped or shapes is due."""
        store = self._context.store
        newest: dict[str, AgreementSnapshot] = {}
        for event in events:
            snapshot: AgreementSnapshot = event.message
            known = newest.get(snapshot.id)
            if known is None or snapshot.revision >= known.revision:
                newest[snapshot.id] = snapshot
        with store.reachable.watching():
            before = await store.agreements.get(newest)
            touched: list[StationAgreement] = []
            writes: list[StationAgreement] = []
            for snapshot in newest.values():
                old = before.get(snapshot.id)
                new = _project_usable(snapshot) or _empty(old, snapshot)
                if new is None or (old is not None and old.revision > snapshot.revision):
                    continue
                writes.append(new)
                touched.extend(each for each in (old, new) if each is not None)
            await store.agreements.put(writes)
            affected = await store.find_stations_covered_by(touched)
            await store.schedule.mark_due(dict.fromkeys(affected, self._context.now()))
        self._reconciler.wake()
        return []


def _empty(old: StationAgreement | None, snapshot: AgreementSnapshot) -> StationAgreement | None:
    """Keep an agreement without terms for stations (any more), but empty."""
    if old is None:
        return None
    return StationAgreement(
        id=snapshot.id,
        revision=snapshot.revision,
        status=snapshot.status,
        valid_from=snapshot.valid_from,
    )


def _project_usable(snapshot: AgreementSnapshot) -> StationAgreement | None:
    kept = project_agreement(snapshot)
    if kept is None:
        return None
    opening = kept.terms.opening_hours
    if opening is not None and hours.validate(opening):
        log.warning("agreement.unusable_hours", agreement_id=snapshot.id)
        return None
    return kept
