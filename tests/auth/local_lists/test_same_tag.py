"""Tokens of one value on stations that tell no types apart: OCPP 1.6, on real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import KEY, NOW, asked, authorize, card
from auth.conftest import replica_on
from voltbus_auth.rekey import rekey
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.token import TokenStatus, Whitelist
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from auth.local_lists.conftest import Answering, Kept

pytestmark = pytest.mark.stack

VALUE, OTHER = "04AA000001", "04AA000002"
NEW = TokenKey(b"another-secret-of-32-bytes-or-so")


async def authorized(kept: Kept) -> AuthorizationStatus:
    """What a 1.6 station hears when it asks about the value."""
    replica = replica_on(kept.served.store, kept.clock)
    told = await replica.handle(asked(authorize(card(VALUE, ""), protocol=Protocol.OCPP16)))
    found: AuthorizationStatus = told.answer.decision.status
    return found


async def listed(kept: Kept, central: str) -> Answering:
    """A 1.6 station that was brought to hold this token."""
    station = await kept.station()
    await kept.plan(tokens=[central])
    await kept.work()
    return station


@pytest.mark.parametrize(
    "rights",
    [
        {"status": TokenStatus.BLOCKED},
        {"expires_at": NOW},
        {"whitelist": Whitelist.NEVER},
        {"credit": 0.0},
        {"group_id": "STAFF"},
    ],
    ids=["blocked", "expired", "never", "no credit", "accepted"],
)
async def test_a_likelier_token_that_no_plan_names(kept: Kept, rights: dict[str, Any]) -> None:
    """1.6: it is what Authorize means, so the named token of its value has no line."""
    await kept.token(VALUE, **rights)
    central = await kept.token(VALUE, "Central")
    await kept.token(OTHER, "Central")
    station = await listed(kept, central)
    assert station.entries == {}
    assert (await kept.shown())["left_out"] == {"same_tag": 1}


async def test_a_likelier_token_outside_of_what_is_read(kept: Kept) -> None:
    """1.6: a group's blocked tokens are not read for its list, and take their tags with them."""
    await kept.token(VALUE, group_id="FLEET", status=TokenStatus.BLOCKED)
    await kept.token(VALUE, "Central", group_id="FLEET")
    await kept.token(OTHER, "Central", group_id="FLEET")
    station = await kept.station()
    await kept.plan(token_groups=["FLEET"])
    await kept.work()
    assert station.entries.keys() == {OTHER}
    assert await authorized(kept) is AuthorizationStatus.BLOCKED


async def test_a_likelier_token_comes_and_goes(kept: Kept) -> None:
    """1.6: whatever becomes of a token that no plan names, the list says no more than Authorize."""
    central = await kept.token(VALUE, "Central")
    station = await listed(kept, central)
    assert station.entries.keys() == {VALUE}
    blocked = await kept.token(VALUE, status=TokenStatus.BLOCKED)
    assert await authorized(kept) is AuthorizationStatus.BLOCKED
    await kept.work()
    assert station.entries == {}
    answer = await kept.served.client.delete(f"/v1/tokens/{blocked}", headers={"If-Match": "*"})
    assert answer.status_code == 204
    await kept.token_events()
    await kept.work()
    assert station.entries.keys() == {VALUE}


async def test_a_named_token_is_taken_over_and_given_back(kept: Kept) -> None:
    """1.6: with both named, the likelier one's blocking and unblocking moves the tag's one line."""
    central, local = await kept.token(VALUE, "Central"), await kept.token(VALUE, "Local")
    station = await kept.station()
    await kept.plan(tokens=[central, local])
    await kept.work()
    assert (await kept.shown())["entries"] == [local]
    await kept.change(local, status="blocked")
    await kept.work()
    assert station.entries == {}
    await kept.change(local, status="accepted")
    await kept.work()
    assert station.entries.keys() == {VALUE}
    assert (await kept.shown())["entries"] == [local]


async def test_a_likelier_token_is_erased(kept: Kept) -> None:
    """N10.FR.02: nothing leads from it to lists any more, and the tag's line is the other's."""
    blocked = await kept.token(VALUE, status=TokenStatus.BLOCKED)
    station = await listed(kept, await kept.token(VALUE, "Central"))
    assert station.entries == {}
    answer = await kept.served.client.post(f"/v1/tokens/{blocked}/erase", headers={"If-Match": "*"})
    assert answer.status_code == 200
    await kept.token_events()
    await kept.work()
    assert station.entries.keys() == {VALUE}
    members = await kept.served.database["local_list_members"].find().to_list(None)
    assert blocked not in str(members)


async def test_under_two_token_keys(kept: Kept) -> None:
    """ADR 10: tokens are of one value whichever key is the first of those they are stored under."""
    central = await kept.token(VALUE, "Central")
    assert await rekey(kept.served.store, TokenKey(KEY._secret, NEW)) == 0
    swapped = TokenKey(NEW._secret, KEY)
    ref = await kept.token(VALUE, key=swapped, status=TokenStatus.BLOCKED)
    assert ref == NEW.ref("ISO14443", VALUE)
    station = await listed(kept, central)
    assert station.entries == {}


async def test_with_types_each_token_has_its_line(kept: Kept) -> None:
    """2.0.1 tells types apart: the candidates are read without their rivals."""
    await kept.token(VALUE, status=TokenStatus.BLOCKED)
    central = await kept.token(VALUE, "Central")
    listed_tokens = kept.served.store.listed_token
    typed = await listed_tokens.candidates([central], untyped=False)
    untyped = await listed_tokens.candidates([central], untyped=True)
    assert typed[central].rivals == ()
    assert [one.type for one in untyped[central].rivals] == ["ISO14443"]
