"""An external authorizer that says what a test tells it, and a replica that asks it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import POLICY
from auth.conftest import replica_on
from voltbus_backbone.contract.providers import Allowed, ProviderAuthorize, ProviderAuthorizeAnswer

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica, Shelf
    from voltbus_backbone.bus.envelope import Event

ROAMING = replace(POLICY, external=True)
ALLOWED = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)


@dataclass
class Provider:
    """An external authorizer that says what a test tells it; None is silence."""

    answer: ProviderAuthorizeAnswer | None = ALLOWED
    asked: list[ProviderAuthorize] = field(default_factory=list)
    budgets: list[float] = field(default_factory=list)

    async def ask(
        self, question: ProviderAuthorize, budget_s: float
    ) -> ProviderAuthorizeAnswer | None:
        self.asked.append(question)
        self.budgets.append(budget_s)
        await asyncio.sleep(0)
        return self.answer


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def roaming(shelf: Shelf, clock: Clock, provider: Provider) -> Replica:
    """A replica whose operator has an external authorizer."""
    return replica_on(shelf, clock, policy=ROAMING, authorizer=provider)


async def through(replica: Replica, *events: Event) -> Any:
    """Both groups, one after the other, as the topics put them; the answer of the second."""
    passed_on = await replica.pass_on(*events)
    assert len(passed_on) == len(events)
    return await replica.hear(*passed_on)
