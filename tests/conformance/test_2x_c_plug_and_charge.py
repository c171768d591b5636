"""C07: charging with a contract certificate, with a real OCSP responder (OCPP 2.x)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from auth.plug_and_charge.responding import responding
from conformance.acting import every_2x
from contracts_shown import authorize, contract, hash_data, trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from auth.plug_and_charge.responding import RunningResponder
    from conformance.acting import Ready
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, operator: Operator
) -> AsyncIterator[RunningResponder]:
    """A responder process; the operator trusts the root, and names the responder for the rest."""
    async with responding(tmp_path_factory.mktemp("ocsp"), datetime.now(UTC)) as one:
        await trust(operator, one.pki.root)
        await trust(operator, one.pki.sub2, responder_url=one.url)
        yield one


@every_2x
async def test_tc_c_50_checked_by_the_station(
    operator: Operator, ready: Ready, running: RunningResponder, protocol: Protocol
) -> None:
    """C07.FR.01/02/05: the station checked the chain and sends hashes; both answers Accepted."""
    value = await contract(operator)
    hashed = {"iso15118CertificateHashData": [hash_data(running.pki.contract(value))]}
    async with ready(protocol) as station:
        assert await authorize(station, value, **hashed) == ("Accepted", "Accepted")


@every_2x
async def test_tc_c_51_rejected(
    operator: Operator, ready: Ready, running: RunningResponder, protocol: Protocol
) -> None:
    """C07.FR.16: checked by the station, but revoked since: the car does not charge."""
    value = await contract(operator)
    made = running.pki.contract(value)
    running.says(made, "revoked")
    hashed = {"iso15118CertificateHashData": [hash_data(made)]}
    async with ready(protocol) as station:
        assert await authorize(station, value, **hashed) == ("CertificateRevoked", "Invalid")


@every_2x
async def test_tc_c_52_checked_centrally(
    operator: Operator, ready: Ready, running: RunningResponder, protocol: Protocol
) -> None:
    """C07.FR.06: the station cannot check the chain and sends it whole; both answers Accepted."""
    value = await contract(operator)
    chain = running.pki.contract(value).chain()
    async with ready(protocol) as station:
        assert await authorize(station, value, certificate=chain) == ("Accepted", "Accepted")
