"""Cars' wishes for contract certificates: asked of a provider on Kafka, in time for the car.

A consumer group of its own, since a provider may take seconds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.auth import GetEvCertificate, GetEvCertificateAnswer
from voltbus_backbone.contract.registry import (
    EV_CERTIFICATE_ANSWER,
    EXTERNAL_EV_CERTIFICATE,
)
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event, Record

log = structlog.get_logger(__name__)

TYPES = frozenset({EXTERNAL_EV_CERTIFICATE.name})
FAILED = GetEvCertificateAnswer(status="Failed")
_SHARE = 0.7


class Provider(Protocol):
    """Asks whoever answers on ``providers.requests``."""

    async def __call__(self, wish: GetEvCertificate, budget_s: float) -> GetEvCertificateAnswer:
        """Its answer; Unavailable when there is none in time."""
        ...


class EvCertificates:
    """Answers a batch, all of it at once."""

    def __init__(
        self, provider: Provider, *, source: str, now: Callable[[], datetime], deadline_s: float
    ) -> None:
        self._provider = provider
        self._source = source
        self._now = now
        self._deadline_s = deadline_s

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers of a batch."""
        records = await asyncio.gather(*(self._answer(event) for event in events))
        return [record for record in records if record is not None]

    async def _answer(self, event: Event) -> Record | None:
        budget = self._deadline_s
        if event.asking is not None:
            left = event.asking.deadline_ms / 1000 - self._now().timestamp()
            budget = max(min(budget, left * _SHARE), 0.0)
        try:
            answer = await self._provider(event.message, budget)
        except Unavailable as error:
            log.warning("ev_certificate.no_answer", reason=type(error).__name__)
            answer = FAILED
        return reply(event, EV_CERTIFICATE_ANSWER, answer, source=self._source, now=self._now())
