"""Asking another system about tokens: by topic or over HTTP, with a deadline and patience."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import Counter, Histogram

from voltbus_auth.roaming.domain.breaker import Breaker
from voltbus_auth.roaming.domain.ocpi import Unusable
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_backbone.contract.providers import ProviderAuthorize, ProviderAuthorizeAnswer

log = structlog.get_logger(__name__)

ANSWERS = Counter(
    "voltbus_auth_external_answers_total",
    "What the external authorizer said: OCPI's words, silent, unusable, or left_alone",
    ["outcome"],
)
SECONDS = Histogram(
    "voltbus_auth_external_seconds",
    "Seconds until the external authorizer answered, of those that it did",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0),
)


class Door(Protocol):
    """One way to the other system."""

    async def ask(self, question: ProviderAuthorize, budget_s: float) -> ProviderAuthorizeAnswer:
        """Its answer.

        Raises:
            Unavailable: it cannot be reached, or did not answer in time.
            Unusable: what it answered decides nothing.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class Authorizer:
    """Asks side by side, within bounds, and leaves alone for a while what does not answer.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, door: Door, *, concurrency: int, clock: Callable[[], float]) -> None:
        self._door = door
        self._turn = asyncio.Semaphore(concurrency)
        self._clock = clock
        self._breaker = Breaker()

    async def ask(
        self, question: ProviderAuthorize, budget_s: float
    ) -> ProviderAuthorizeAnswer | None:
        """What it says within so many seconds; None when it says nothing that decides."""
        if budget_s <= 0:
            ANSWERS.labels("silent").inc()
            return None
        until = self._clock() + budget_s
        try:
            async with asyncio.timeout(budget_s), self._turn:
                return await self._ask(question, until)
        except TimeoutError:
            self._silent("no answer in time", "silent", broken=True)
        except Unavailable as error:
            self._silent(str(error), "silent", broken=True)
        except Unusable as error:
            # One strange token must not keep all others from being asked about.
            self._silent(error.reason, "unusable", broken=error.broken)
        return None

    async def close(self) -> None:
        """Let go of the connections."""
        await self._door.close()

    async def _ask(
        self, question: ProviderAuthorize, until: float
    ) -> ProviderAuthorizeAnswer | None:
        began = self._clock()
        if not self._breaker.allows(began):
            ANSWERS.labels("left_alone").inc()
            return None
        answer = await self._door.ask(question, max(until - began, 0.0))
        self._breaker.worked()
        SECONDS.observe(self._clock() - began)
        ANSWERS.labels(answer.allowed.value).inc()
        return answer

    def _silent(self, reason: str, outcome: str, *, broken: bool) -> None:
        if broken:
            self._breaker.failed(self._clock())
        ANSWERS.labels(outcome).inc()
        log.warning("external.no_answer", reason=reason)
