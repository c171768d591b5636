"""Usage on real MongoDB: counted once, and told when a cap is reached (rules D)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agreements.conftest import NOW, TOPIC
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.auth import TransactionChanged
from voltbus_backbone.contract.registry import TRANSACTION_CORRECTED, TRANSACTION_ENDED
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agreements.conftest import Replica
    from voltbus_backbone.bus.envelope import Event

pytestmark = pytest.mark.stack


def ended(ref: str, agreement_id: str | None, energy_wh: int, revision: int = 2) -> Event:
    """A transaction's end, or from revision 3 on its correction, as it comes from Kafka."""
    message = TransactionChanged(
        transaction_ref=ref,
        station_id="S1",
        protocol=Protocol.OCPP201,
        transaction_id="1",
        revision=revision,
        state="ended",
        at=NOW,
        agreement_id=agreement_id,
        ended_at=NOW,
        energy_wh=energy_wh,
    )
    row = TRANSACTION_ENDED if revision == 2 else TRANSACTION_CORRECTED
    record = envelope.event(row, message, id=f"{ref}:{revision}", source="/test", now=NOW)
    return envelope.parse(record.headers, record.value, topic=record.topic, key=record.key)


async def usage_of(replica: Replica, agreement_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (
        await replica.client.get(f"/v1/agreements/{agreement_id}/usage")
    ).json()
    return found


async def test_usage_counts_once_and_corrections_replace(replica: Replica) -> None:
    """Repeated, in another order, corrected: each transaction counts with its last word."""
    made = await replica.made(limits={"energy_cap_wh": 10_000})
    id_ = made["id"]
    await replica.handlers.count_transactions([ended("t1", id_, 1000), ended("t2", id_, 500)])
    await replica.handlers.count_transactions([ended("t1", id_, 1000)])
    await replica.handlers.count_transactions(
        [ended("t2", id_, 300, revision=4), ended("t2", id_, 900, 3)]
    )
    await replica.handlers.count_transactions([ended("t3", None, 7)])
    found = await usage_of(replica, id_)
    assert (found["energy_wh"], found["transactions"]) == (1300, 2)
    assert (found["energy_cap_wh"], found["remaining_wh"]) == (10_000, 8700)
    assert [(item["transaction_ref"], item["energy_wh"]) for item in found["data"]] == [
        ("t2", 300),
        ("t1", 1000),
    ]
    assert (await replica.read(id_))["revision"] == 2


async def test_a_cap_that_is_reached_is_told(replica: Replica) -> None:
    """Reaching the cap marks the agreement and tells it once; a correction takes it back."""
    made = await replica.made(limits={"energy_cap_wh": 1000})
    before = len(await replica.told())
    for _ in range(2):
        await replica.handlers.count_transactions([ended("t1", made["id"], 1000)])
    told = (await replica.told())[before:]
    assert [(event.type, event.decode().exhausted) for event in told] == [
        ("voltbus.agreement.updated.v1", True)
    ]
    await replica.handlers.count_transactions([ended("t1", made["id"], 400, revision=3)])
    assert (await replica.told())[-1].decode().exhausted is False
    assert (await usage_of(replica, made["id"]))["remaining_wh"] == 600


async def test_a_raised_cap_gives_credit_again(replica: Replica) -> None:
    """PATCH weighs the new cap against what was used."""
    made = await replica.made(limits={"energy_cap_wh": 1000})
    await replica.handlers.count_transactions([ended("t1", made["id"], 1000)])
    assert (await replica.read(made["id"]))["exhausted"]
    answer = await replica.client.patch(
        f"/v1/agreements/{made['id']}",
        json={"limits": {"energy_cap_wh": 2000}},
        headers={"If-Match": '"3"'},
    )
    assert answer.json()["exhausted"] is False


async def test_replicas_count_the_same_agreement_at_once(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Two replicas count different stations' transactions of one agreement: nothing is lost."""
    first, other = await make_replica(), await make_replica()
    made = await first.made(limits={"energy_cap_wh": 1000})
    batches = [[ended(f"t{number}", made["id"], 50)] for number in range(20)]
    await asyncio.gather(
        *(
            (first if number % 2 else other).handlers.count_transactions(batch)
            for number, batch in enumerate(batches + batches[:6])
        )
    )
    found = await usage_of(first, made["id"])
    assert (found["energy_wh"], found["transactions"], found["exhausted"]) == (1000, 20, True)
    for replica in (first, other):
        await replica.told()
    exhausted = [event for event in first.bus.events(TOPIC) if event.decode().exhausted]
    assert len(exhausted) == 1


async def test_a_cap_lowered_while_energy_is_counted_is_not_missed(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """A lower cap and the transaction that exceeds it, at the same moment: exhausted in the end."""
    first, other = await make_replica(), await make_replica()
    for number in range(5):
        made = await first.made(limits={"energy_cap_wh": 1000})
        await asyncio.gather(
            first.client.patch(
                f"/v1/agreements/{made['id']}",
                json={"limits": {"energy_cap_wh": 100}},
                headers={"If-Match": "*"},
            ),
            other.handlers.count_transactions([ended(f"t{number}", made["id"], 200)]),
        )
        assert (await first.read(made["id"]))["exhausted"]


async def test_usage_of_an_ended_agreement_still_counts(replica: Replica) -> None:
    """What was charged before the end arrives after it and belongs to the totals."""
    made = await replica.made(limits={"energy_cap_wh": 10})
    await replica.client.post(f"/v1/agreements/{made['id']}/terminate")
    await replica.handlers.count_transactions([ended("t1", made["id"], 1000)])
    assert (await usage_of(replica, made["id"]))["energy_wh"] == 1000
    assert (await replica.read(made["id"]))["revision"] == 3
