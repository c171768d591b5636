"""Key codes are slowed down whatever way they are tried (OCPP 2.0.1 C04.FR.06), on both stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auth.auth_examples import (
    CARD,
    HOUR,
    MINUTE,
    NOW,
    asked,
    authorize,
    card,
    said,
    started16,
    stopped16,
)
from voltbus_backbone.contract.auth import OcspHash, Phase
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica, Told

S = AuthorizationStatus
OTHER = "CS-2"
RIGHT = "483920"
HASHES = OcspHash("SHA256", "name", "key", "01", "http://ocsp.example")


async def held_up(replica: Replica, value: str, kind: str = "KeyCode", **fields: Any) -> S:
    """The status that an Authorize gets, of 1.6 where there is no type."""
    protocol = Protocol.OCPP201 if kind else Protocol.OCPP16
    told = await replica.handle(asked(authorize(card(value, kind), protocol=protocol, **fields)))
    return status(told)


async def begun(replica: Replica, value: str, **fields: Any) -> S:
    """The status that a TransactionEvent gets, which begins a transaction of its own."""
    message = said(
        Phase.STARTED,
        NOW,
        0,
        **{"transaction_id": value, "id_token": card(value, "KeyCode")} | fields,
    )
    return status(await replica.handle(asked(message)))


async def tire(replica: Replica, kind: str = "KeyCode", **fields: Any) -> None:
    """Three wrong ones at one instant."""
    for number in range(3):
        assert await held_up(replica, f"00000{number}", kind, **fields) is S.UNKNOWN


def status(told: Told) -> S:
    found: S = told.answer.decision.status
    return found


async def test_wrong_ones_make_the_right_one_wait(replica: Replica, clock: Clock) -> None:
    """C04.FR.06: after some wrong key codes even the right one must wait, at that station only."""
    await replica.token(RIGHT, "KeyCode")
    await tire(replica)
    assert await held_up(replica, RIGHT) is S.INVALID
    assert await held_up(replica, RIGHT, station_id=OTHER) is S.ACCEPTED
    clock.time = NOW + MINUTE
    assert await held_up(replica, RIGHT, at=clock.time) is S.ACCEPTED


async def test_without_a_type(replica: Replica, clock: Clock) -> None:
    """1.6 has no types: unknown idTags count, and then a key code waits, answered as they are."""
    await replica.token(RIGHT, "KeyCode")
    await replica.token()
    await tire(replica, "")
    assert await held_up(replica, RIGHT, "") is S.UNKNOWN
    assert await held_up(replica, CARD, "") is S.ACCEPTED
    clock.time = NOW + MINUTE
    assert await held_up(replica, RIGHT, "", at=clock.time) is S.ACCEPTED


async def test_an_own_code_between(replica: Replica) -> None:
    """C04.FR.06: a right code at every second try keeps nobody from being slowed down."""
    await replica.token(RIGHT, "KeyCode")
    await replica.token("999999", "KeyCode")
    for number in range(3):
        assert await held_up(replica, "999999") is S.ACCEPTED
        assert await held_up(replica, f"00000{number}") is S.UNKNOWN
    assert await held_up(replica, RIGHT) is S.INVALID


async def test_with_certificates(replica: Replica) -> None:
    """C04.FR.06: certificates beside a key code are no way around the count (C07 is eMAIDs')."""
    await replica.token(RIGHT, "KeyCode")
    await tire(replica, certificate_hashes=(HASHES,))
    assert await held_up(replica, RIGHT, certificate_hashes=(HASHES,)) is S.INVALID


async def test_in_transactions(replica: Replica) -> None:
    """C04.FR.06, C12.FR.03: tries in TransactionEvents count too; each is recorded all the same."""
    await replica.token(RIGHT, "KeyCode")
    for number in range(3):
        assert await begun(replica, f"00000{number}") is S.UNKNOWN
    assert await begun(replica, RIGHT) is S.INVALID
    assert await held_up(replica, RIGHT) is S.INVALID
    found = {record.wire_id: record.token for record in await replica.records()}
    assert len(found) == 4
    assert (token := found[RIGHT]) is not None
    assert token.status is S.INVALID


async def test_in_16_transactions(replica: Replica) -> None:
    """1.6 §4.8: idTags of starts count as those of Authorize do, and cards start all the same."""
    await replica.token(RIGHT, "KeyCode")
    await replica.token()
    for number in range(3):
        message = started16(id_token=card(f"00000{number}", ""), connector_id=number)
        assert status(await replica.handle(asked(message))) is S.UNKNOWN
    refused = await replica.handle(asked(started16(id_token=card(RIGHT, ""), connector_id=4)))
    assert status(refused) is S.UNKNOWN
    assert refused.answer.transaction_id > 0
    assert status(await replica.handle(asked(started16(connector_id=5)))) is S.ACCEPTED


async def test_a_resend_is_no_new_try(replica: Replica) -> None:
    """Rules B: a start that is sent again and again, after its Authorize, is one try."""
    await replica.token(RIGHT, "KeyCode")
    assert await held_up(replica, "000000") is S.UNKNOWN
    for _ in range(5):
        assert await begun(replica, "000000") is S.UNKNOWN
    assert await held_up(replica, RIGHT) is S.ACCEPTED


async def test_what_was_offline_neither_counts_nor_waits(replica: Replica, clock: Clock) -> None:
    """Sessions told after the station was offline are judged as if nobody tried codes now."""
    await replica.token(RIGHT, "KeyCode")
    for number in range(5):
        assert await begun(replica, f"00000{number}", offline=True) is S.UNKNOWN
    assert await held_up(replica, RIGHT) is S.ACCEPTED
    await tire(replica)
    assert await begun(replica, RIGHT, offline=True) is S.ACCEPTED
    clock.time = NOW + HOUR
    await tire(replica, at=clock.time)
    start = started16(NOW, id_token=card(RIGHT, ""))
    assert status(await replica.handle(asked(start))) is S.ACCEPTED


async def test_who_charges_already_does_not_wait(replica: Replica) -> None:
    """C12.FR.03: a code that began the transaction stays accepted in it, whoever tries others."""
    await replica.token(RIGHT, "KeyCode")
    start = asked(started16(id_token=card(RIGHT, "")))
    number = (await replica.handle(start)).answer.transaction_id
    await tire(replica)
    assert status(await replica.handle(start)) is S.ACCEPTED
    stop = stopped16(number, NOW + MINUTE, id_token=card(RIGHT, ""))
    assert status(await replica.handle(asked(stop))) is S.ACCEPTED
