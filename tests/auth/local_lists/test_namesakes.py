"""What leads from a token's change to the lists that it touches without being on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import KEY
from voltbus_auth.domain.identifiers import TokenKey
from voltbus_auth.rekey import rekey
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from auth.local_lists.conftest import Kept

pytestmark = pytest.mark.stack

TAG = "04AA000001"


async def test_a_likelier_token_comes_and_goes(kept: Kept) -> None:
    """1.6: as soon as the same value is registered as a card, the tag means that card."""
    station = await kept.station(protocol=Protocol.OCPP16)
    central = await kept.token(TAG, "Central")
    await kept.plan(tokens=[central])
    await kept.work()
    assert station.entries.keys() == {TAG}
    card = await kept.token(TAG)
    await kept.work()
    assert station.entries.keys() == set()
    assert (await kept.shown())["left_out"] == {"same_tag": 1}
    answer = await kept.served.client.delete(f"/v1/tokens/{card}", headers={"If-Match": "*"})
    assert answer.status_code == 204
    await kept.token_events()
    await kept.work()
    assert station.entries.keys() == {TAG}


async def test_a_blocked_card_keeps_its_namesake_off(kept: Kept) -> None:
    """1.6: a list never accepts a tag that Authorize refuses."""
    station = await kept.station(protocol=Protocol.OCPP16)
    card, central = await kept.token(TAG), await kept.token(TAG, "Central")
    await kept.plan(tokens=[card, central])
    await kept.work()
    assert station.entries.keys() == {TAG}
    await kept.change(card, status="blocked")
    await kept.work()
    assert station.entries.keys() == set()


async def test_after_the_token_key_was_replaced(kept: Kept) -> None:
    """ADR 10: a token keeps its reference under the new key, and its changes reach the lists."""
    new = TokenKey(b"another-secret-of-32-bytes-or-so")
    station = await kept.station(protocol=Protocol.OCPP16)
    ref = await kept.token(TAG, group_id="FLEET-1")
    await kept.plan(token_groups=["FLEET-2"])
    for key in (TokenKey(KEY._secret, new), TokenKey(new._secret, KEY), new):
        assert await rekey(kept.served.store, key) == 0
    await kept.work()
    assert station.entries.keys() == set()
    await kept.change(ref, group_id="FLEET-2")
    await kept.work()
    assert station.entries.keys() == {TAG}
