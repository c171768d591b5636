"""Registered tokens beside an external authorizer: whose they are, and whom NEVER asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import DAY, NOW, asked, authorize, card, said, started16, terms
from auth.roaming.conftest import Provider, through
from voltbus_auth.tokens.domain.token import TokenStatus, Whitelist
from voltbus_backbone.contract.agreements import Limits
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.providers import Allowed, Keep, ProviderAuthorizeAnswer
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from auth.conftest import Replica

S = AuthorizationStatus


async def test_never_asks_each_time_but_once_a_session(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI whitelist NEVER: each Authorize is asked anew, the start that follows it is not."""
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED, keep=Keep.NEVER)
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.cache_expiry == NOW
    started = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert started.answer.decision.status is S.ACCEPTED
    await through(roaming, asked(authorize()))
    assert len(provider.asked) == 2


async def test_a_registered_token_is_not_asked_about(roaming: Replica, provider: Provider) -> None:
    """What the operator registered is the operator's to decide."""
    await roaming.token()
    told = await roaming.handle(asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED
    assert provider.asked == []


@pytest.mark.parametrize("kind", ["KeyCode", "Central", "Local", "DirectPayment"])
async def test_the_operators_own_kinds_stay_here(roaming: Replica, kind: str) -> None:
    """Nobody else could know them, and a key code is a secret (C04.FR.04)."""
    told = await roaming.handle(asked(authorize(card(kind=kind))))
    assert told.answer.decision.status is S.UNKNOWN


async def test_without_an_external_authorizer_nothing_changes(replica: Replica) -> None:
    """The switch is off by default: unknown is Unknown at once."""
    told = await replica.handle(asked(authorize()), asked(started16()))
    assert [one.decision.status for one in told.answers.values()] == [S.UNKNOWN, S.UNKNOWN]


async def test_a_token_that_is_registered_meanwhile_is_the_operators(roaming: Replica) -> None:
    """What is registered goes before what was remembered."""
    await through(roaming, asked(authorize()))
    await roaming.token(expires_at=NOW - DAY)
    told = await roaming.handle(asked(authorize()))
    assert told.answer.decision.status is S.EXPIRED


async def test_a_registered_token_may_be_for_another_system(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI whitelist NEVER on a registered token: its provider is asked each time as well."""
    await roaming.token(whitelist=Whitelist.NEVER, language="sv")
    told = await through(roaming, asked(authorize()))
    assert (told.answer.decision.status, told.answer.decision.language) == (S.ACCEPTED, "sv")
    assert told.answer.decision.cache_expiry == NOW
    started = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert started.answer.decision.status is S.ACCEPTED
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.NO_CREDIT, keep=Keep.ALWAYS)
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.status is S.NO_CREDIT
    assert len(provider.asked) == 2


async def test_what_is_refused_here_is_not_asked_about(
    roaming: Replica, provider: Provider
) -> None:
    """Blocked here is blocked, whatever another system would say."""
    await roaming.token(whitelist=Whitelist.NEVER, status=TokenStatus.BLOCKED)
    told = await roaming.handle(asked(authorize()))
    assert told.answer.decision.status is S.BLOCKED
    assert provider.asked == []


async def test_a_key_code_never_leaves(roaming: Replica, provider: Provider) -> None:
    """Registered as KeyCode it is ours to decide, also when 1.6 presents it without a type."""
    await roaming.token("483920", "KeyCode", whitelist=Whitelist.NEVER)
    code = authorize(card("483920", ""), protocol=Protocol.OCPP16)
    assert (await roaming.handle(asked(code))).answer.decision.status is S.ACCEPTED
    assert provider.asked == []


async def test_never_without_an_external_authorizer(replica: Replica) -> None:
    """Nobody can be asked: the registration decides."""
    await replica.token(whitelist=Whitelist.NEVER)
    told = await replica.handle(asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED


async def test_the_agreement_of_such_a_token_holds(roaming: Replica) -> None:
    """Its limits are the agreement's; its charge names the agreement."""
    await roaming.token(whitelist=Whitelist.NEVER)
    await roaming.shelf.put_agreements([terms(limits=Limits(max_concurrent=1))])
    first = await through(roaming, asked(started16(id_token=card())))
    second = await through(roaming, asked(started16(id_token=card(), station_id="CS-2")))
    assert first.answer.decision.status is S.ACCEPTED
    assert first.events[0][2].agreement_id == "agr-1"
    assert second.answer.decision.status is S.CONCURRENT_TX


async def test_no_answer_is_kept_of_a_contract_in_another_spelling(
    roaming: Replica, provider: Provider
) -> None:
    """It would outlive the token's erasure: it is asked for again instead, and decides now."""
    await roaming.token("NLTNMC00122045K", "eMAID", whitelist=Whitelist.NEVER)
    spelled = card("NL-TNM-C00122045-K", "")
    told = await through(roaming, asked(authorize(spelled, protocol=Protocol.OCPP16)))
    assert told.answer.decision.status is S.ACCEPTED
    told = await through(roaming, asked(started16(id_token=spelled)))
    assert told.answer.decision.status is S.ACCEPTED
    assert len(provider.asked) == 2


async def test_cards_of_others_do_not_slow_down_key_codes(
    roaming: Replica, provider: Provider
) -> None:
    """C04.FR.06: an idTag of 1.6 counts as a try until the start that it was accepted for."""
    await roaming.token("483920", "KeyCode")
    code = authorize(card("483920", ""), protocol=Protocol.OCPP16)
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.UNKNOWN)
    for value in ("000000", "000001"):
        await through(roaming, asked(authorize(card(value, ""), protocol=Protocol.OCPP16)))
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)
    await through(roaming, asked(authorize(card(kind=""), protocol=Protocol.OCPP16)))
    assert (await roaming.handle(asked(code))).answer.decision.status is S.UNKNOWN
    started = await roaming.handle(asked(started16()))
    assert started.answer.decision.status is S.ACCEPTED
    assert (await roaming.handle(asked(code))).answer.decision.status is S.ACCEPTED
