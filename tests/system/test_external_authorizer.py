"""Other systems decide about tokens that nobody registered: on the real stack, both ways to ask."""

from __future__ import annotations

import asyncio
import secrets
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from auth.roaming.partner import Partner, roaming
from charging import PATIENT, insist, start_of
from operating import Operator, operating, subscribed, until
from other_party import running
from system.test_contract_certificates import providing
from voltbus.embedded.stack import Stack, temporary_stack
from voltbus.simulator import CallFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

PROTOCOLS: list[Protocol] = ["1.6", "2.0.1", "2.1"]
everywhere = pytest.mark.parametrize("protocol", PROTOCOLS)
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "provider.py"
SECRET = "a-made-up-secret"
BY_TOPIC = {
    "VOLTBUS_EXTERNAL_AUTHORIZER": "topic",
    "VOLTBUS_EXTERNAL_DEADLINE_S": "2",
    "VOLTBUS_EV_CERTIFICATE_PROVIDER": "true",
    "VOLTBUS_EV_CERTIFICATE_DEADLINE_S": "1",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_stack() -> AsyncIterator[Stack]:
    """A stack of this module's own, whose auth asks others."""
    async with temporary_stack(environment={"auth": BY_TOPIC}) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asks(open_stack: Stack) -> AsyncIterator[Operator]:
    """Its operator."""
    async with operating(open_stack) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http(
    open_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Partner]:
    """A roaming partner over HTTP, whom auth asks from then on."""
    folder = tmp_path_factory.mktemp("partner")
    (folder / "token").write_text(SECRET + "\n")
    async with roaming(folder) as partner:
        await open_stack.restart(
            "auth",
            {
                "VOLTBUS_EXTERNAL_AUTHORIZER": "http",
                "VOLTBUS_EXTERNAL_URL": partner.url,
                "VOLTBUS_EXTERNAL_TOKEN_FILE": str(folder / "token"),
                "VOLTBUS_EXTERNAL_SILENCE": "refuse",
                "VOLTBUS_EXTERNAL_DEADLINE_S": "4",
            },
        )
        yield partner


@asynccontextmanager
async def example(stack: Stack, *known: str) -> AsyncIterator[None]:
    """The provider of the documentation, as a process."""
    async with running(str(EXAMPLE), stack.kafka, *known) as said:
        assert said == "ready"
        yield


def a_uid() -> str:
    return secrets.token_hex(7).upper()


async def decisions(operator: Operator, station: str) -> list[tuple[str, str]]:
    """(rule, status) of the station's decisions, the oldest first."""

    async def listed() -> list[tuple[str, str]]:
        answer = await operator.done(
            "GET", "auth", "/v1/authorizations", params={"station": station}
        )
        return [(one["rule"], one["status"]) for one in reversed(answer["data"])]

    return await until(listed, bool)


def status_in(answer: dict[str, Any]) -> str:
    info = answer.get("idTagInfo") or answer["idTokenInfo"]
    return str(info["status"])


@everywhere
async def test_a_provider_on_kafka_decides(asks: Operator, protocol: Protocol) -> None:
    """The documentation's own example: a token it knows charges, one that nobody knows does not."""
    name, password = await asks.station()
    token = a_uid()
    async with (
        example(asks.stack, token),
        subscribed(asks.stack) as subscriber,
        asks.connected(protocol, name, password) as station,
    ):
        await station.boot()
        assert (await station.authorize(token)).status == "Accepted"
        unknown = (await station.authorize(a_uid())).status
        assert unknown == ("Invalid" if protocol == "1.6" else "Unknown")
        action, payload = start_of(protocol, token)
        started = await station.call(action, payload)
        assert status_in(started) == "Accepted"
        (event,) = await subscriber.wait_for("transaction.started", station_id=name)
        assert (event.authorization, event.doubts) == ("Accepted", ())
        assert token not in repr(event)
    async with asks.connected(protocol, name, password) as station:
        # The provider is gone; its answer is remembered.
        assert (await station.authorize(token)).status == "Accepted"
    found = await decisions(asks, name)
    assert set(found) == {("external", "Accepted"), ("external", "Unknown")}
    body = {"station_id": name, "id_token": token, "type": "" if protocol == "1.6" else "ISO14443"}
    told = await asks.done("POST", "auth", "/v1/authorizations/explain", json=body)
    assert (told["status"], told["rule"]) == ("Accepted", "external")


@everywhere
async def test_nobody_answers(asks: Operator, protocol: Protocol) -> None:
    """Silence is CALLERROR InternalError; a start is recorded and answered (rules B)."""
    name, password = await asks.station()
    token = a_uid()
    registered, _ = await asks.token()
    async with asks.connected(protocol, name, password) as station:
        await station.boot()
        with pytest.raises(CallFailedError) as failed:
            await station.authorize(token)
        assert failed.value.code == "InternalError"
        answer = await station.call(*start_of(protocol, token))
        assert status_in(answer) in {"Invalid", "NotAtThisTime"}
        assert (protocol != "1.6") or answer["transactionId"] > 0
        assert (await station.authorize(registered)).status == "Accepted"
    listed = await asks.done("GET", "auth", "/v1/transactions", params={"station_id": name})
    (kept,) = listed["data"]
    assert kept["doubts"] == ["unconfirmed_token"]


@pytest.mark.parametrize("protocol", ["2.0.1", "2.1"])
async def test_a_car_gets_its_certificate_from_a_provider(
    asks: Operator, protocol: Protocol
) -> None:
    """Get15118EVCertificate goes to whoever listens to providers.requests, and back (M01)."""
    name, password = await asks.station()
    wish = {
        "iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef",
        "action": "Install",
        "exiRequest": "QUJDRA==",
    }
    async with asks.connected(protocol, name, password) as station:
        await station.boot()
        async with providing(asks.stack):
            answer = await station.call("Get15118EVCertificate", wish)
    expected: dict[str, Any] = {"status": "Accepted", "exiResponse": "==ARDJUQ"}
    if protocol == "2.1":
        expected["remainingContracts"] = 0
    assert answer == expected


async def test_a_silent_provider_of_certificates(asks: Operator) -> None:
    """The car hears Failed after the provider's own deadline, before the gateway's (M01)."""
    name, password = await asks.station()
    wish = {"iso15118SchemaVersion": "urn:x", "action": "Update", "exiRequest": "QUJDRA=="}
    async with asks.connected("2.0.1", name, password) as station:
        await station.boot()
        answer = await station.call("Get15118EVCertificate", wish)
    assert answer == {"status": "Failed", "exiResponse": ""}


@everywhere
async def test_a_roaming_partner_over_http_decides(
    asks: Operator, http: Partner, protocol: Protocol
) -> None:
    """OCPI real-time authorization: each word becomes the status that this version has for it."""
    name, password = await asks.station()
    words = {
        "ALLOWED": "Accepted",
        "BLOCKED": "Blocked",
        "EXPIRED": "Expired",
        "NO_CREDIT": "Invalid" if protocol == "1.6" else "NoCredit",
        "NOT_ALLOWED": "Invalid" if protocol == "1.6" else "NotAtThisLocation",
        "404": "Invalid" if protocol == "1.6" else "Unknown",
        "broken": "Invalid" if protocol == "1.6" else "NotAtThisTime",
        "garbage": "Invalid" if protocol == "1.6" else "NotAtThisTime",
    }
    found = {}
    tokens = {word: a_uid() for word in words}
    async with asks.connected(protocol, name, password) as station:
        await station.boot()
        for word, token in tokens.items():
            if word in {"broken", "garbage"}:
                http.says(token, word)
            elif word != "404":
                http.allows(token, word, token={"group_id": "TNM-1"})
            found[word] = (await station.authorize(token)).status
        answer = await station.call(*start_of(protocol, tokens["ALLOWED"]))
    assert found == words
    assert status_in(answer) == "Accepted"
    (question,) = http.asked(tokens["ALLOWED"])  # once: the start used what was remembered
    assert question["body"]["location_id"] == name
    log = asks.stack.log("auth").read_text()
    assert not [token for token in tokens.values() if token in log]
    assert SECRET not in log


async def test_what_waits_for_others_holds_up_nobody(asks: Operator, http: Partner) -> None:
    """A registered card is answered while another station's waits for a silent partner."""
    waiting_at, other = await asks.station(), await asks.station()
    registered, _ = await asks.token()
    known, silent = a_uid(), a_uid()
    http.allows(known)
    http.says(silent, "silent")
    async with (
        asks.connected("2.0.1", *waiting_at) as first,
        asks.connected("2.0.1", *other) as second,
    ):
        await first.boot()
        await second.boot()
        assert (await first.authorize(known)).status == "Accepted"
        waiting = asyncio.create_task(first.call(*start_of("2.0.1", silent)))
        await until(lambda: _asked(http, silent), bool)
        assert (await second.authorize(registered)).status == "Accepted"
        assert not waiting.done()
        assert status_in(await waiting) == "NotAtThisTime"


async def test_the_partner_is_slow_and_auth_is_killed(asks: Operator, http: Partner) -> None:
    """SIGKILL while a question is open: it comes again, the station gets its answer, one charge."""
    name, password = await asks.station()
    token = a_uid()
    http.says(token, "silent")
    action, payload = start_of("1.6", token)

    async with (
        subscribed(asks.stack) as subscriber,
        asks.connected("1.6", name, password, PATIENT) as station,
    ):
        await station.boot()
        asking = asyncio.create_task(insist(station, action, payload))
        await until(lambda: _asked(http, token), bool)
        await asks.stack.kill("auth")
        http.allows(token)
        await asks.stack.restart("auth")
        answer = await asking
        again = await insist(station, action, payload)
        await subscriber.wait_for("transaction.started", station_id=name)
        started = subscriber.of("transaction.started", station_id=name)
    assert status_in(answer) == "Accepted"
    assert again["transactionId"] == answer["transactionId"]
    assert len({event.transaction_ref for event in started}) == 1


async def _asked(partner: Partner, token: str) -> int:
    return len(partner.asked(token))


async def test_two_replicas_share_the_questions(asks: Operator, http: Partner) -> None:
    """With a second auth each station gets its answer, also while one of the two stands still."""
    second = await asks.stack.add_replica("auth", environment=_like(http))
    stations = [await asks.station() for _ in range(6)]
    tokens = [a_uid() for _ in stations]
    for token in tokens:
        http.allows(token)

    async def charge(one: tuple[str, str], token: str) -> str:
        async with asks.connected("2.0.1", *one, PATIENT) as station:
            await station.boot()
            status = (await station.authorize(token)).status
            assert status_in(await station.call(*start_of("2.0.1", token))) == "Accepted"
            return status

    pairs = zip(stations, tokens, strict=True)
    found = await asyncio.gather(*(charge(one, token) for one, token in pairs))
    await asks.stack.signal(second, signal.SIGTERM)
    assert found == ["Accepted"] * len(stations)


def _like(partner: Partner) -> dict[str, str]:
    return {
        "VOLTBUS_EXTERNAL_AUTHORIZER": "http",
        "VOLTBUS_EXTERNAL_URL": partner.url,
        "VOLTBUS_EXTERNAL_SILENCE": "refuse",
    }
