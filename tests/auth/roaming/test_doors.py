"""Asking another system for real: an HTTP server process, and a provider on a bus."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
import pytest_asyncio
import structlog

from auth.auth_examples import CARD, NOW, STATION, card
from auth.roaming.partner import Partner, roaming
from voltbus_auth.roaming.clients import Authorizer, Door
from voltbus_auth.roaming.clients.ocpi import OcpiDoor
from voltbus_auth.roaming.clients.topic import CertificateDoor, TopicDoor
from voltbus_auth.roaming.domain.breaker import LEFT_ALONE_S, MOST_FAILURES
from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.auth import GetEvCertificate, GetEvCertificateAnswer
from voltbus_backbone.contract.providers import (
    Allowed,
    Keep,
    ProviderAuthorize,
    ProviderAuthorizeAnswer,
)
from voltbus_backbone.contract.registry import (
    EV_CERTIFICATE_ANSWER,
    FAULT,
    PROVIDER_AUTHORIZE,
    PROVIDER_AUTHORIZE_ANSWER,
    Fault,
    Topic,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from voltbus_backbone.bus.envelope import Event, Record

QUESTION = ProviderAuthorize(
    station_id=STATION,
    protocol=Protocol.OCPP201,
    id_token=card(),
    at=NOW,
    location_id="uppsala",
    evse_ids=(1,),
)
SECRET = "a-made-up-secret"
SOON_S = 0.3
ENOUGH_S = 10.0


def about(value: str) -> ProviderAuthorize:
    return msgspec.structs.replace(QUESTION, id_token=card(value))


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def partner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Partner]:
    async with roaming(tmp_path_factory.mktemp("partner")) as one:
        yield one


def authorizer(door: Door, *, concurrency: int = 8) -> Authorizer:
    return Authorizer(door, concurrency=concurrency, clock=asyncio.get_running_loop().time)


def ocpi(url: str, secret: str = SECRET) -> OcpiDoor:
    return OcpiDoor(httpx.AsyncClient(trust_env=False), url, secret)


async def test_a_real_time_authorization(partner: Partner) -> None:
    """The request as OCPI has it, and its answer."""
    partner.allows(CARD, token={"whitelist": "NEVER"}, authorization_reference="ref-1")
    asking = authorizer(ocpi(partner.url))
    answer = await asking.ask(QUESTION, ENOUGH_S)
    await asking.close()
    assert answer is not None
    assert (answer.allowed, answer.keep) == (Allowed.ALLOWED, Keep.NEVER)
    assert answer.authorization_reference == "ref-1"
    assert partner.asked(CARD) == [
        {
            "path": "/ocpi/emsp/2.2.1/tokens",
            "uid": CARD,
            "last": "authorize",
            "type": ["RFID"],
            "authorization": f"Token {base64.b64encode(SECRET.encode()).decode()}",
            "ids": True,
            "body": {"location_id": "uppsala", "evse_uids": [f"{STATION}/1"]},
        }
    ]


@pytest.mark.parametrize("word", ["broken", "moved", "garbage", "other", "undecided", "huge"])
async def test_an_answer_that_decides_nothing(partner: Partner, word: str) -> None:
    """HTTP 500, a redirect, no JSON, other JSON, "not enough information", too much: silence."""
    partner.says(f"04{word}", word)
    asking = authorizer(ocpi(partner.url))
    assert await asking.ask(about(f"04{word}"), ENOUGH_S) is None
    await asking.close()


async def test_a_token_that_the_partner_does_not_know(partner: Partner) -> None:
    """HTTP 404 and status 2004 are an answer: unknown."""
    partner.says("04B0", "unknown")
    asking = authorizer(ocpi(partner.url))
    answers = [await asking.ask(about(value), ENOUGH_S) for value in ("04B0", "04B1")]
    await asking.close()
    assert [one.allowed for one in answers if one is not None] == [Allowed.UNKNOWN] * 2


async def test_tokens_that_no_address_can_hold(partner: Partner) -> None:
    """Strange values come through as they are, or are unknown without being asked."""
    asking = authorizer(ocpi(partner.url))
    strange = "a/b?c#d%2e "
    partner.allows(strange)
    answer = await asking.ask(about(strange), ENOUGH_S)
    dots = await asking.ask(about(".."), ENOUGH_S)
    await asking.close()
    assert answer is not None
    assert answer.allowed is Allowed.ALLOWED
    assert dots is not None
    assert dots.allowed is Allowed.UNKNOWN


@pytest.mark.parametrize("word", ["silent", "hung_up"])
async def test_a_server_that_says_nothing(partner: Partner, word: str) -> None:
    """The deadline holds; a socket that is closed is silence as well."""
    partner.says(f"04{word}", word)
    asking = authorizer(ocpi(partner.url))
    assert await asking.ask(about(f"04{word}"), SOON_S) is None
    await asking.close()


async def test_nobody_is_there() -> None:
    """A port that nobody listens on: silence at once; and no budget is no question."""
    asking = authorizer(ocpi("http://127.0.0.1:1/tokens"))
    assert await asking.ask(QUESTION, ENOUGH_S) is None
    assert await asking.ask(QUESTION, 0.0) is None
    await asking.close()


async def test_a_token_is_in_no_log_line(
    partner: Partner, caplog: pytest.LogCaptureFixture
) -> None:
    """Addresses hold tokens: neither our lines nor the HTTP client's may show them or the secret.

    Processes let libraries' warnings through only; at that level nothing may name an address.
    """
    caplog.set_level(logging.WARNING)
    with structlog.testing.capture_logs() as lines:
        for word in ("broken", "garbage", "hung_up"):
            partner.says(f"04SECRET{word}", word)
            asking = authorizer(ocpi(partner.url))
            await asking.ask(about(f"04SECRET{word}"), ENOUGH_S)
            await asking.close()
        asking = authorizer(ocpi("http://127.0.0.1:1/tokens"))
        await asking.ask(about("04SECRET"), ENOUGH_S)
        await asking.close()
    assert [line["event"] for line in lines] == ["external.no_answer"] * 4
    shown = repr(lines) + caplog.text
    assert "SECRET" not in shown
    assert SECRET not in shown


class Dead:
    """A door that never opens; counts who knocked."""

    def __init__(self) -> None:
        self.knocks = 0
        self.alive = False

    async def ask(self, question: ProviderAuthorize, budget_s: float) -> ProviderAuthorizeAnswer:
        del question, budget_s
        self.knocks += 1
        await asyncio.sleep(0)
        if not self.alive:
            raise Unavailable("nobody there")
        return ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_dead_system_is_left_alone() -> None:
    """After some failures in a row it is not asked for a while; then one question tries."""
    door, time = Dead(), [100.0]
    asking = Authorizer(door, concurrency=4, clock=lambda: time[0])
    for _ in range(20):
        assert await asking.ask(QUESTION, ENOUGH_S) is None
    assert door.knocks == MOST_FAILURES
    time[0] += LEFT_ALONE_S
    for _ in range(5):
        assert await asking.ask(QUESTION, ENOUGH_S) is None
    assert door.knocks == MOST_FAILURES + 1
    door.alive = True
    time[0] += LEFT_ALONE_S
    answers = [await asking.ask(QUESTION, ENOUGH_S) for _ in range(3)]
    assert None not in answers


async def test_no_more_at_once_than_agreed() -> None:
    """The other system sees a bounded number of questions, however large the batch."""

    class Counting(Dead):
        now = most = 0

        async def ask(self, question: ProviderAuthorize, budget_s: float) -> Any:
            self.now += 1
            self.most = max(self.most, self.now)
            self.alive = True
            answer = await super().ask(question, budget_s)
            self.now -= 1
            return answer

    door = Counting()
    asking = authorizer(door, concurrency=3)
    answers = await asyncio.gather(*(asking.ask(QUESTION, ENOUGH_S) for _ in range(50)))
    assert (len(answers), None in answers, door.most) == (50, False, 3)


async def requester_on(bus: MemoryBus) -> Requester:
    one = Requester(
        instance_id="auth-1",
        source="/voltbus/auth/auth-1",
        inbox_topic="voltbus.auth.inbox",
        publisher=bus,
        start_mark="abc",
    )
    await one.start(bus.inbox, 1)
    return one


async def test_by_topic() -> None:
    """A provider on Kafka is asked on providers.requests and answers to auth.inbox."""
    bus = MemoryBus()
    seen: list[Event] = []

    async def provider(event: Event) -> Sequence[Record]:
        seen.append(event)
        assert event.type == PROVIDER_AUTHORIZE.name
        value = event.decode().id_token.value
        row, message = PROVIDER_AUTHORIZE_ANSWER, ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)
        found: Any = (row, message)
        if value == "04FA":
            found = (FAULT, Fault(code="unavailable", detail="its database is away"))
        if value == "04FB":
            found = (EV_CERTIFICATE_ANSWER, GetEvCertificateAnswer(status="Accepted"))
        made = reply(event, *found, source="/a-provider", now=NOW)
        return [made] if made is not None else []

    serving = asyncio.create_task(bus.serve(Topic.PROVIDERS_REQUESTS, provider))
    requester = await requester_on(bus)
    asking = authorizer(TopicDoor(requester))
    answer = await asking.ask(QUESTION, ENOUGH_S)
    assert answer == ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)
    assert await asking.ask(about("04FA"), ENOUGH_S) is None
    assert await asking.ask(about("04FB"), ENOUGH_S) is None
    serving.cancel()
    assert await asking.ask(QUESTION, SOON_S) is None
    await asking.close()
    await requester.stop()
    assert seen[0].asking is not None
    assert seen[0].asking.reply_topic == "voltbus.auth.inbox"


async def test_a_cars_certificate_by_topic() -> None:
    """The same topic for cars' wishes; silence and other answers are no certificate."""
    bus = MemoryBus()
    wish = GetEvCertificate(
        station_id=STATION,
        protocol=Protocol.OCPP21,
        schema_version="urn:x",
        action="Install",
        exi_request="QUJD",
    )

    async def provider(event: Event) -> Sequence[Record]:
        asked: GetEvCertificate = event.decode()
        answer: Any = (EV_CERTIFICATE_ANSWER, GetEvCertificateAnswer(status="Accepted"))
        if asked.action == "Update":
            answer = (
                PROVIDER_AUTHORIZE_ANSWER,
                ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED),
            )
        made = reply(event, *answer, source="/a-provider", now=NOW)
        return [made] if made is not None else []

    serving = asyncio.create_task(bus.serve(Topic.PROVIDERS_REQUESTS, provider))
    requester = await requester_on(bus)
    door = CertificateDoor(requester)
    assert (await door(wish, ENOUGH_S)).status == "Accepted"
    with pytest.raises(Unavailable):
        await door(msgspec.structs.replace(wish, action="Update"), ENOUGH_S)
    serving.cancel()
    with pytest.raises(Unavailable):
        await door(wish, SOON_S)
    await requester.stop()
