"""As many transactions at once as a token or an agreement may have, on both stores (rules B)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from auth.auth_examples import (
    DAY,
    HOUR,
    NOW,
    asked,
    card,
    covering,
    said,
    started16,
    stopped16,
    terms,
)
from auth.conftest import replica_on
from voltbus_backbone.contract.agreements import Limits
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica, Shelf

S = AuthorizationStatus
OTHER = "CS-2"


async def test_concurrent_limit(replica: Replica) -> None:
    """A second start beyond max_concurrent is ConcurrentTx; the first's end makes room."""
    await replica.token(max_concurrent=1)
    first = await replica.handle(asked(started16()))
    assert first.answer.decision.status is S.ACCEPTED
    second = await replica.handle(asked(started16(station_id=OTHER)))
    assert second.answer.decision.status is S.CONCURRENT_TX
    assert second.answer.transaction_id is not None
    assert second.events[0][2].authorization is S.CONCURRENT_TX
    await replica.handle(asked(stopped16(first.answer.transaction_id, NOW + HOUR)))
    third = await replica.handle(asked(started16(NOW + HOUR, station_id=OTHER)))
    assert third.answer.decision.status is S.ACCEPTED


async def test_refused_for_concurrency_stays_refused(replica: Replica) -> None:
    """A resent ConcurrentTx start gets the same answer, though there is room now."""
    await replica.token(max_concurrent=1)
    first = await replica.handle(asked(started16()))
    await replica.handle(asked(started16(station_id=OTHER)))
    await replica.handle(asked(stopped16(first.answer.transaction_id, NOW + HOUR)))
    again = await replica.handle(asked(started16(station_id=OTHER)))
    assert again.answer.decision.status is S.CONCURRENT_TX


async def test_concurrent_limit_of_an_agreement(replica: Replica) -> None:
    """An agreement's limit counts the starts of all its tokens together."""
    one, other = await replica.token(), await replica.token("04FF", max_concurrent=5)
    limited = terms(limits=Limits(max_concurrent=1))
    await replica.shelf.put_agreements([covering(limited, one.ref, other.ref)])
    first = await replica.handle(asked(started16()))
    second = await replica.handle(asked(started16(station_id=OTHER, id_token=card("04FF", ""))))
    assert first.answer.decision.status is S.ACCEPTED
    assert second.answer.decision.status is S.CONCURRENT_TX


async def test_concurrent_limit_across_replicas(shelf: Shelf, clock: Clock) -> None:
    """Two replicas see the same token start on many stations at once: the limit holds."""
    replicas = [replica_on(shelf, clock) for _ in range(2)]
    await replicas[0].token(max_concurrent=3)
    told = await asyncio.gather(
        *(
            replicas[number % 2].handle(asked(started16(station_id=f"CS-{number}")))
            for number in range(12)
        )
    )
    statuses = [one.answer.decision.status for one in told]
    assert statuses.count(S.ACCEPTED) == 3
    assert statuses.count(S.CONCURRENT_TX) == 9
    assert len({one.answer.transaction_id for one in told}) == 12


async def test_end_and_next_start_in_one_batch(replica: Replica) -> None:
    """A driver who stops here and starts there within a batch is not one too many."""
    await replica.token(max_concurrent=1)
    first = await replica.handle(asked(started16()))
    told = await replica.handle(
        asked(stopped16(first.answer.transaction_id, NOW + HOUR), offset=700),
        asked(started16(NOW + HOUR, station_id=OTHER), offset=701),
    )
    assert told.answers["g-1/701"].decision.status is S.ACCEPTED


async def test_next_start_on_the_same_outlet(replica: Replica) -> None:
    """A station that lost its stop: an outlet carries one transaction, so the old one is over."""
    await replica.token(max_concurrent=1)
    await replica.handle(asked(started16()))
    told = await replica.handle(asked(started16(NOW + HOUR)))
    assert told.answer.decision.status is S.ACCEPTED


async def test_offline_sessions_take_no_place(replica: Replica) -> None:
    """A session that is over when it is told leaves its limit free."""
    await replica.token(max_concurrent=1)
    past = NOW - DAY
    await replica.handle(
        asked(said(Phase.STARTED, past, 0, id_token=card(), offline=True)),
        asked(said(Phase.ENDED, past + HOUR, 1, offline=True)),
    )
    told = await replica.handle(asked(started16(station_id=OTHER)))
    assert told.answer.decision.status is S.ACCEPTED
