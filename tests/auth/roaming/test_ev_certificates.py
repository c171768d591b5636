"""Cars' wishes for contract certificates: a provider's answer, or Failed in time (M01, M02)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from auth.auth_examples import NOW, STATION, asked, authorize
from auth.conftest import Replica, replica_on, told
from voltbus_auth.plug_and_charge.handlers.ev_certificates import EvCertificates
from voltbus_backbone.contract.auth import GetEvCertificate, GetEvCertificateAnswer
from voltbus_backbone.contract.registry import EV_CERTIFICATE, EXTERNAL_EV_CERTIFICATE
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import DeadlineExceeded

if TYPE_CHECKING:
    from auth.conftest import Clock
    from auth.memory_store import MemoryStore
    from voltbus_backbone.bus.envelope import Event

WISH = GetEvCertificate(
    station_id=STATION,
    protocol=Protocol.OCPP201,
    schema_version="urn:iso:15118:2:2013:MsgDef",
    action="Install",
    exi_request="QUJDRA==",
)


def wish(*, passed_on: bool = True, left_s: float = 10.0) -> Event:
    """A station's request, on the quick topic or passed on."""
    row = EXTERNAL_EV_CERTIFICATE if passed_on else EV_CERTIFICATE
    event = asked(authorize(), row=row)
    assert event.asking is not None
    deadline = int((NOW.timestamp() + left_s) * 1000)
    return msgspec.structs.replace(
        event, message=WISH, asking=msgspec.structs.replace(event.asking, deadline_ms=deadline)
    )


class Provider:
    """Answers, or lets a question wait for ever."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.budgets: list[float] = []

    async def __call__(self, wish: GetEvCertificate, budget_s: float) -> GetEvCertificateAnswer:
        self.budgets.append(budget_s)
        await asyncio.sleep(0)
        if not self.answers:
            raise DeadlineExceeded("no answer within the deadline")
        return GetEvCertificateAnswer(status="Accepted", exi_response=wish.exi_request[::-1])


async def test_a_provider_answers(clock: Clock) -> None:
    """Its answer is the car's; the budget leaves time for the way back."""
    provider = Provider(answers=True)
    cars = EvCertificates(provider, source="/voltbus/auth/1", now=clock, deadline_s=5.0)
    answers = told(await cars.handle([wish(), wish(left_s=2.0)])).answers.values()
    assert {one.exi_response for one in answers} == {"==ARDJUQ"}
    assert provider.budgets == [5.0, pytest.approx(1.4)]


async def test_a_silent_provider_is_failed(clock: Clock) -> None:
    """The car hears Failed, not nothing (M01)."""
    cars = EvCertificates(
        Provider(answers=False), source="/voltbus/auth/1", now=clock, deadline_s=5.0
    )
    answer = told(await cars.handle([wish()])).answer
    assert answer == GetEvCertificateAnswer(status="Failed")


async def test_without_a_provider_nobody_waits(memory: MemoryStore, clock: Clock) -> None:
    """The switch is off by default: Failed at once, from the quick topic."""
    replica: Replica = replica_on(memory, clock)
    answer = (await replica.handle(wish(passed_on=False))).answer
    assert answer == GetEvCertificateAnswer(status="Failed")


async def test_with_a_provider_it_is_passed_on(memory: MemoryStore, clock: Clock) -> None:
    """With the switch on it leaves the quick topic, for a group that may wait."""
    replica = replica_on(memory, clock, ev_certificate_provider=True)
    (event,) = await replica.pass_on(wish(passed_on=False))
    assert event.type == EXTERNAL_EV_CERTIFICATE.name
