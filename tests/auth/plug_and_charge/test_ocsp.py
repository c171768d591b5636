"""Asking a real responder process over HTTP: cache, deadlines, and what is not believed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from auth.plug_and_charge.responding import RunningResponder, responding
from voltbus_auth.plug_and_charge.clients.ocsp import Responders, _public
from voltbus_auth.plug_and_charge.domain.chain import Root, find_contract_path, read_chain
from voltbus_auth.plug_and_charge.domain.revocation import (
    Check,
    Responder,
    Told,
    checks_of_path,
    read_answer,
)
from voltbus_backbone.contract.auth import Revocation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from auth.plug_and_charge.pki import Made

pytestmark = pytest.mark.stack

BUDGET_S = 5.0


class Hand:
    """A clock in seconds that a test moves; ``now`` follows it."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)


class Asker:
    """The service's side, with a clock of the test's."""

    def __init__(
        self,
        running: RunningResponder,
        hand: Hand,
        resolve: Callable[[str, int], Awaitable[list[str]]] | None = None,
    ) -> None:
        self.running = running
        self.hand = hand
        self.roots = [Root(running.pki.root.certificate, "MO")]
        client = httpx.AsyncClient(trust_env=False)
        more = {"resolve": resolve} if resolve is not None else {}
        self.responders = Responders(client, now=hand.now, clock=hand, **more)

    def check(self, leaf: Made) -> Check:
        path = find_contract_path(read_chain(leaf.chain()), self.roots, self.hand.now())
        return checks_of_path(path, (), self.roots)[0]

    async def ask(self, check: Check, budget_s: float = BUDGET_S) -> Told | None:
        def believe(der: bytes, asked: Check) -> Told:
            return read_answer(der, asked, self.roots, self.hand.now())

        return await self.responders.ask(check, believe, budget_s)

    async def status(self, leaf: Made, budget_s: float = BUDGET_S) -> Revocation | None:
        told = await self.ask(self.check(leaf), budget_s)
        return told.status if told is not None else None


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningResponder]:
    folder: Path = tmp_path_factory.mktemp("ocsp")
    async with responding(folder, datetime.now(UTC)) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def asker(running: RunningResponder) -> AsyncIterator[Asker]:
    one = Asker(running, Hand())
    yield one
    await one.responders.close()


@pytest.mark.parametrize("word", ["good", "revoked", "unknown"])
async def test_what_the_responder_says(asker: Asker, word: str) -> None:
    """Each of RFC 6960's words comes back as what it is."""
    leaf = asker.running.pki.contract()
    asker.running.says(leaf, word)
    assert await asker.status(leaf) is Revocation(word)


@pytest.mark.parametrize("word", ["outdated", "forged", "garbage", "later", "broken", "moved"])
async def test_what_is_not_believed(asker: Asker, word: str) -> None:
    """Old, forged, senseless, put off, failing or redirected: no answer at all."""
    leaf = asker.running.pki.contract()
    asker.running.says(leaf, word)
    assert await asker.status(leaf) is None


async def test_an_answer_is_kept_until_its_next_update(asker: Asker) -> None:
    """Asked once; asked again when the hour is over, and what it says then counts."""
    leaf = asker.running.pki.contract()
    for _ in range(3):
        assert await asker.status(leaf) is Revocation.GOOD
    assert asker.running.asked(leaf) == 1
    asker.running.says(leaf, "revoked")
    asker.hand.seconds += 3500
    assert await asker.status(leaf) is Revocation.GOOD
    asker.hand.seconds += 200
    # Beyond the answer's time by the test's clock; within the tolerance for clocks.
    assert await asker.status(leaf) is Revocation.REVOKED
    assert asker.running.asked(leaf) == 2


async def test_what_is_not_believed_is_not_kept(asker: Asker) -> None:
    """A forged answer once does not shut a driver out for an hour."""
    leaf = asker.running.pki.contract()
    asker.running.says(leaf, "forged")
    assert await asker.status(leaf) is None
    asker.running.says(leaf, "good")
    assert await asker.status(leaf) is Revocation.GOOD


async def test_what_is_kept_is_believed_anew(asker: Asker) -> None:
    """An answer whose issuer is trusted no more is of no use from the cache either."""
    check = replace(asker.check(asker.running.pki.contract()), issuer=None)
    assert await asker.ask(check) is not None
    asker.roots = []
    assert await asker.ask(check) is None


async def test_who_asks_the_same_at_once_shares_one_request(asker: Asker) -> None:
    """Ten cars of a fleet plug in at the same moment."""
    leaf = asker.running.pki.contract()
    found = await asyncio.gather(*(asker.status(leaf) for _ in range(10)))
    assert set(found) == {Revocation.GOOD}
    assert asker.running.asked(leaf) == 1


async def test_a_silent_responder_is_left_alone(asker: Asker) -> None:
    """Three times no answer in time; for a while nobody waits for it, then it is asked anew."""
    leaf = asker.running.pki.contract()
    asker.running.says(leaf, "silent")
    for _ in range(3):
        assert await asker.status(leaf, 0.2) is None
    asker.running.says(leaf, "good")
    assert await asker.status(leaf) is None
    assert asker.running.asked(leaf) == 3
    asker.hand.seconds += 11
    assert await asker.status(leaf) is Revocation.GOOD


async def test_one_slow_answer_shuts_nobody_out(asker: Asker) -> None:
    """What a responder failed to say of one certificate, it may say of the next."""
    leaf, other = asker.running.pki.contract(), asker.running.pki.contract()
    asker.running.says(leaf, "silent")
    for _ in range(4):
        assert await asker.status(leaf, 0.2) is None
        assert await asker.status(asker.running.pki.contract()) is Revocation.GOOD
    assert await asker.status(other) is Revocation.GOOD


async def test_the_next_responder_is_asked(asker: Asker) -> None:
    """Where the first cannot be reached, the second speaks."""
    check = asker.check(asker.running.pki.contract())
    nobody = Responder("http://127.0.0.1:9", vouched=True)
    told = await asker.ask(replace(check, responders=(nobody, *check.responders)))
    assert told is not None
    assert told.status is Revocation.GOOD


@pytest.mark.parametrize(
    "url",
    [
        "ldap://ocsp.example/cn=ca",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@127.0.0.1:9/",
        "http://[::1",
        "not an address",
        "",
        "http://127.0.0.1:99999/",
        "http://xn--\udcff.example/",
    ],
)
async def test_what_is_no_web_address(asker: Asker, url: str) -> None:
    """Nothing but http and https without a log-in is asked."""
    check = asker.check(asker.running.pki.contract())
    for vouched in (True, False):
        assert await asker.ask(replace(check, responders=(Responder(url, vouched),))) is None


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:192.168.1.1"],
        ["64:ff9b::10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["64:ff9b:1::a00:1"],
        ["2002:a00:1::1"],
        ["::10.0.0.1"],
        ["224.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        [],
    ],
)
async def test_a_station_makes_us_call_no_private_address(
    running: RunningResponder, addresses: list[str]
) -> None:
    """What only a station named is asked on public addresses, whatever its name resolves to."""

    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses

    asker = Asker(running, Hand(), resolve)
    leaf = running.pki.contract()
    named = Responder(running.url.replace("127.0.0.1", "ocsp.example"), vouched=False)
    assert await asker.ask(replace(asker.check(leaf), responders=(named,))) is None
    assert running.asked(leaf) == 0
    await asker.responders.close()


async def test_without_a_responder_nobody_is_asked(asker: Asker) -> None:
    """A certificate that names none, and none is known."""
    check = asker.check(asker.running.pki.contract())
    assert await asker.ask(replace(check, responders=())) is None


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_public_addresses_are_called(address: str) -> None:
    """A public address stays public, also by way of a NAT64 (RFC 6052 3.1)."""
    assert _public(address)


async def test_answers_take_a_bounded_part_of_memory(asker: Asker) -> None:
    """Ten thousand answers of 64 kB each would be 640 MB: the oldest go first."""
    leaf = asker.running.pki.contract()
    kept = asker.responders
    checks = [replace(asker.check(leaf).id, serial=number) for number in range(1000)]
    until = asker.hand.now() + timedelta(days=1)
    for number in (*checks, *checks):
        kept._keep((number, "http://responder.example"), until, b"\0" * 64 * 1024)
    assert kept._kept_bytes == sum(len(der) for _, der in kept._kept.values())
    assert kept._kept_bytes <= 16 * 1024 * 1024
    assert (checks[-1], "http://responder.example") in kept._kept
    assert (checks[0], "http://responder.example") not in kept._kept
