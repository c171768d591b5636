"""Statuses that tests/system leaves out, from REST to the station, per version (rules B)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from operating import operating, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])


@pytest_asyncio.fixture(loop_scope="session")
async def operator(stack: Stack) -> AsyncIterator[Operator]:
    """The operator of the shared stack."""
    async with operating(stack) as one:
        yield one


@everywhere
@pytest.mark.parametrize(
    ("rights", "status"),
    [
        ({"credit": 0}, "NoCredit"),
        ({"sites": ["another-site"]}, "NotAtThisLocation"),
        ({"valid_from": "2999-01-01T00:00:00Z"}, "NotAtThisTime"),
        ({"evse_kinds": ["DC"]}, "NotAllowedTypeEVSE"),
    ],
)
async def test_refused(
    operator: Operator, protocol: Protocol, rights: dict[str, Any], status: str
) -> None:
    """What a token's rights exclude is refused by its own word; 1.6 has only Invalid."""
    name, password = await operator.station(evse_kinds={"1": "AC"})
    token, _ = await operator.token(**rights)
    expected = "Invalid" if protocol == "1.6" else status
    async with operator.connected(protocol, name, password) as station:
        await station.boot()

        async def answered() -> str:
            return (await station.authorize(token)).status

        # What config knows of the station's EVSEs reaches auth by an event.
        await until(answered, lambda found: found == expected)


@everywhere
async def test_one_too_many(operator: Operator, protocol: Protocol) -> None:
    """A second start of a token that may have one is ConcurrentTx; the end makes room again."""
    token, _ = await operator.token(max_concurrent=1)
    one, first_password = await operator.station()
    other, second_password = await operator.station()
    async with (
        operator.connected(protocol, one, first_password) as first,
        operator.connected(protocol, other, second_password) as second,
    ):
        await first.boot()
        await second.boot()
        charging = await first.start(token, 1, 1000)
        assert charging.status == "Accepted"
        assert (await second.start(token, 1, 1000)).status == "ConcurrentTx"
        await first.stop(charging, 2000)
        assert (await first.start(token, 1, 2000)).status == "Accepted"
