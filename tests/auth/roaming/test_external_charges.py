"""Charges of tokens that another system decides about: recorded once, whoever answers when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import (
    CARD,
    HOUR,
    KEY,
    MINUTE,
    NOW,
    asked,
    authorize,
    card,
    said,
    started16,
    stopped16,
)
from auth.conftest import replica_on
from auth.roaming.conftest import ROAMING, Provider, through
from voltbus_auth.decisions.domain.verdict import Silence
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.providers import Allowed, ProviderAuthorizeAnswer
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica, Shelf

S = AuthorizationStatus


@pytest.mark.parametrize("silence", list(Silence))
async def test_a_16_start_is_always_answered(
    shelf: Shelf, clock: Clock, provider: Provider, silence: Silence
) -> None:
    """In silence too it is recorded, with a transactionId and a status (1.6 §4.8), and a doubt."""
    replica = replica_on(
        shelf, clock, policy=replace(ROAMING, silence=silence), authorizer=provider
    )
    provider.answer = None
    told = await through(replica, asked(started16()))
    assert told.answer.transaction_id is not None
    expected = S.ACCEPTED if silence is Silence.ACCEPT else S.NOT_AT_THIS_TIME
    assert told.answer.decision.status is expected
    ((word, _, event),) = told.events
    assert word == "started"
    assert (event.authorization, event.doubts) == (expected, ("unconfirmed_token",))


async def test_a_charge_in_16_of_an_unknown_token(roaming: Replica) -> None:
    """Start by way of the other system, stop without it: one transaction with its token."""
    told = await through(roaming, asked(started16()))
    assert told.answer.decision.status is S.ACCEPTED
    number = told.answer.transaction_id
    again = await roaming.handle(asked(started16()))
    assert again.answer.transaction_id == number
    stop = await roaming.handle(asked(stopped16(number, NOW + HOUR)))
    assert stop.events[0][0] == "ended"
    (record,) = await roaming.records()
    assert record.token is not None
    assert record.token.token_ref == KEY.ref("", CARD)
    assert record.token.status is S.ACCEPTED


async def test_a_stop_does_not_wait_for_another_system(
    roaming: Replica, provider: Provider, clock: Clock
) -> None:
    """A token that was accepted in a transaction is not asked about again in it (C12.FR.03)."""
    started = said(Phase.STARTED, NOW, 0, id_token=card())
    assert (await through(roaming, asked(started))).answer.decision.status is S.ACCEPTED
    clock.time = NOW + 8 * HOUR
    ended = said(Phase.ENDED, clock.time, 1, id_token=card())
    told = await roaming.handle(asked(ended))
    assert told.answer.decision.status is S.ACCEPTED
    assert len(provider.asked) == 1


async def test_messages_of_a_session_in_any_order(roaming: Replica) -> None:
    """What overtakes the start on the quick topic ends in the same record."""
    start = asked(said(Phase.STARTED, NOW, 0, id_token=card()))
    later = asked(said(Phase.UPDATED, NOW + MINUTE, 1))
    end = asked(said(Phase.ENDED, NOW + HOUR, 2))
    waiting = await roaming.pass_on(start)
    await roaming.handle(later, end)
    told = await roaming.hear(*waiting)
    assert told.answer.decision.status is S.ACCEPTED
    (record,) = await roaming.records()
    assert record.start is not None
    assert record.stop is not None
    assert record.token is not None
    assert record.seqs == ((0, 2),)


async def test_a_fact_is_passed_on_without_an_asker(roaming: Replica) -> None:
    """A transaction that comes from the dead letters is asked about and recorded all the same."""
    event = asked(started16())
    event.asking = None
    (waiting,) = await roaming.pass_on(event)
    await roaming.hear(waiting)
    assert len(await roaming.records()) == 1


async def test_a_redelivery_gets_the_same_answer(
    roaming: Replica, shelf: Shelf, clock: Clock, provider: Provider
) -> None:
    """Killed between store and reply: another replica answers the same, with one effect."""
    waiting = await roaming.pass_on(asked(started16()))
    first = await roaming.hear(*waiting)
    provider.answer = None
    other = replica_on(shelf, clock, policy=ROAMING, authorizer=provider)
    again = await other.hear(*waiting)
    assert first.answer == again.answer
    assert first.events == again.events
    assert len(await other.records()) == 1


async def test_the_limit_of_concurrent_transactions(
    shelf: Shelf, clock: Clock, provider: Provider
) -> None:
    """The operator's limit for tokens that set none holds for other providers' tokens too."""
    policy = replace(ROAMING, default_max_concurrent=1)
    replica = replica_on(shelf, clock, policy=policy, authorizer=provider)
    first = await through(replica, asked(started16()))
    second = await through(replica, asked(started16(station_id="CS-2")))
    assert first.answer.decision.status is S.ACCEPTED
    assert second.answer.decision.status is S.CONCURRENT_TX


async def test_the_providers_reference_is_on_the_charge(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI authorization_reference: kept with the transaction, for whoever settles with it."""
    provider.answer = ProviderAuthorizeAnswer(
        allowed=Allowed.ALLOWED, authorization_reference="auth-8f2c"
    )
    await through(roaming, asked(authorize()))
    start = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert start.events[0][2].authorization_reference == "auth-8f2c"
    end = await roaming.handle(asked(said(Phase.ENDED, NOW + HOUR, 1, id_token=card())))
    assert end.events[0][2].authorization_reference == "auth-8f2c"


@pytest.mark.parametrize("reference", [f"auth-{CARD.lower()}", "x" * 37, ""])
async def test_a_reference_that_is_not_told(
    roaming: Replica, provider: Provider, reference: str
) -> None:
    """One with the token in it would make a public event readable; a longer one is no OCPI."""
    provider.answer = ProviderAuthorizeAnswer(
        allowed=Allowed.ALLOWED, authorization_reference=reference
    )
    told = await through(roaming, asked(started16(id_token=card())))
    assert told.answer.decision.status is S.ACCEPTED
    assert told.events[0][2].authorization_reference is None
