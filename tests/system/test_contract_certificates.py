"""Plug and Charge on the real stack: contract certificates, their status, and installing them."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cryptography.x509 import ocsp

from auth.plug_and_charge.pki import Pki, pem
from auth.plug_and_charge.responding import responding
from contracts_shown import a_contract_id, authorize, contract, hash_data, trust
from operating import until
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.kafka import Publisher, Tail
from voltbus_backbone.contract.auth import GetEvCertificateAnswer
from voltbus_backbone.contract.registry import EV_CERTIFICATE_ANSWER, Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from auth.plug_and_charge.pki import Made
    from auth.plug_and_charge.responding import RunningResponder
    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

PROTOCOLS: list[Protocol] = ["2.0.1", "2.1"]
everywhere = pytest.mark.parametrize("protocol", PROTOCOLS)
DAY = timedelta(days=1)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, operator: Operator
) -> AsyncIterator[RunningResponder]:
    """A responder process, and the root of its PKI trusted by the operator."""
    async with responding(tmp_path_factory.mktemp("ocsp"), datetime.now(UTC)) as one:
        await trust(operator, one.pki.root)
        yield one


@everywhere
async def test_each_outcome_of_a_contract_certificate(
    operator: Operator, running: RunningResponder, protocol: Protocol
) -> None:
    """C07.FR.13 to FR.17, from the station's Authorize to its answer."""
    pki = running.pki
    name, password = await operator.station()
    value = await contract(operator)
    blocked = await contract(operator, status="blocked")
    over = await contract(operator, expires_at="2020-01-01T00:00:00Z")
    revoked, silent = pki.contract(value), pki.contract(value)
    running.says(revoked, "revoked")
    running.says(silent, "broken")
    cases = {
        "valid": (value, pki.contract(value), ("Accepted", "Accepted")),
        "blocked": (blocked, pki.contract(blocked), ("ContractCancelled", "Blocked")),
        "over": (over, pki.contract(over), ("ContractCancelled", "Expired")),
        "expired": (
            value,
            pki.contract(value, ends=datetime.now(UTC) - DAY),
            ("CertificateExpired", "Expired"),
        ),
        "revoked": (value, revoked, ("CertificateRevoked", "Invalid")),
        "unreachable": (value, silent, ("CertChainError", "Invalid")),
        "wrong root": (
            value,
            Pki(datetime.now(UTC)).contract(value),
            ("CertChainError", "Invalid"),
        ),
        "other contract": (value, pki.contract(blocked), ("CertChainError", "Invalid")),
    }
    nobody = a_contract_id()
    cases["unknown"] = (nobody, pki.contract(nobody), ("ContractCancelled", "Unknown"))
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        found = {
            case: await authorize(station, shown, certificate=made.chain())
            for case, (shown, made, _) in cases.items()
        }
    assert found == {case: expected for case, (_, _, expected) in cases.items()}


@everywhere
async def test_by_hash_alone(
    operator: Operator, running: RunningResponder, protocol: Protocol
) -> None:
    """A station that checked the chain itself sends hashes only (C07.FR.02, FR.05).

    Its own word on the responder leads to no private address; the operator's does.
    """
    name, password = await operator.station()
    value = await contract(operator)
    sub = running.pki.authority("MO Sub-CA of hashes", running.pki.sub1)
    leaf, revoked = running.pki.contract(value, sub), running.pki.contract(value, sub)
    running.answers_for(running.pki.root, running.pki.sub1, running.pki.sub2, sub)
    running.says(revoked, "revoked")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        hashed = {"iso15118CertificateHashData": [hash_data(leaf)]}
        assert await authorize(station, value, **hashed) == ("CertChainError", "Invalid")
        await trust(operator, sub, responder_url=running.url)
        assert await authorize(station, value, **hashed) == ("Accepted", "Accepted")
        hashed = {"iso15118CertificateHashData": [hash_data(revoked, algorithm="SHA512")]}
        assert await authorize(station, value, **hashed) == ("CertificateRevoked", "Invalid")


async def test_a_root_that_is_removed_is_trusted_no_more(operator: Operator) -> None:
    """Added and removed over REST; the next Authorize knows it."""
    pki = Pki(datetime.now(UTC), responder_url="")
    name, password = await operator.station()
    value = await contract(operator)
    chain = pki.contract(value, ends=datetime.now(UTC) - DAY).chain()
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        before = await authorize(station, value, certificate=chain)
        root = await trust(operator, pki.root)
        trusted = await authorize(station, value, certificate=chain)
        await operator.done("DELETE", "auth", f"/v1/roots/{root}")
        after = await authorize(station, value, certificate=chain)
    assert before == after == ("CertChainError", "Invalid")
    assert trusted == ("CertificateExpired", "Expired")


@everywhere
async def test_a_slow_responder_holds_up_no_other_authorize(
    operator: Operator, tmp_path: Path, protocol: Protocol
) -> None:
    """A card is answered while a certificate at another station waits for its responder."""
    value = await contract(operator)
    card, _ = await operator.token()
    waiting_at, other = await operator.station(), await operator.station()
    async with (
        responding(tmp_path, datetime.now(UTC)) as running,
        operator.connected(protocol, *waiting_at) as first,
        operator.connected(protocol, *other) as second,
    ):
        await first.boot()
        await second.boot()
        await trust(operator, running.pki.root)
        made = running.pki.contract(value)
        running.says(made, "silent")
        waiting = asyncio.create_task(authorize(first, value, certificate=made.chain()))
        await until(lambda: _asked(running, made), lambda count: count == 1)
        assert (await second.authorize(card)).status == "Accepted"
        assert not waiting.done()
        assert await waiting == ("CertChainError", "Invalid")


async def _asked(running: RunningResponder, made: Made) -> int:
    return running.asked(made)


@everywhere
async def test_the_status_of_a_certificate(
    operator: Operator, running: RunningResponder, protocol: Protocol
) -> None:
    """GetCertificateStatus: the responder's own answer, DER in base64, or Failed (M06)."""
    name, password = await operator.station()
    sub = running.pki.authority("CPO Sub-CA", running.pki.sub1)
    running.answers_for(running.pki.root, running.pki.sub1, running.pki.sub2, sub)
    revoked = running.pki.contract("CPO-1", sub)
    running.says(revoked, "revoked")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        payload = {"ocspRequestData": hash_data(revoked)}
        assert await station.call("GetCertificateStatus", payload) == {"status": "Failed"}
        await trust(operator, sub, responder_url=running.url)
        answer = await station.call("GetCertificateStatus", payload)
        assert answer["status"] == "Accepted"
        told = ocsp.load_der_ocsp_response(base64.b64decode(answer["ocspResult"]))
        assert told.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert told.serial_number == revoked.serial
        if protocol == "2.1":
            data = {key: value for key, value in hash_data(revoked).items() if key[:2] != "re"}
            wanted = {"certificateHashData": data, "source": "OCSP", "urls": [running.url]}
            listed = {**wanted, "source": "CRL"}
            answer = await station.call(
                "GetCertificateChainStatus", {"certificateStatusRequests": [wanted, listed]}
            )
            assert [one["status"] for one in answer["certificateStatus"]] == ["Revoked", "Failed"]


@asynccontextmanager
async def providing(stack: Stack) -> AsyncIterator[None]:
    """Another system that answers cars' wishes for certificates, on Kafka alone."""
    settings = KafkaSettings(bootstrap=stack.kafka)
    publisher = Publisher(settings, stack.topic_prefix)
    await publisher.start()
    topics = (Topic.PROVIDERS_REQUESTS,)
    async with Tail(settings, topics, prefix=stack.topic_prefix) as tail:

        async def serve() -> None:
            async for event in tail:
                wish = event.decode()
                answer = GetEvCertificateAnswer(
                    status="Accepted",
                    exi_response=wish.exi_request[::-1],
                    remaining_contracts=0,
                )
                record = envelope.reply(
                    event,
                    EV_CERTIFICATE_ANSWER,
                    answer,
                    source="/a-provider",
                    now=datetime.now(UTC),
                )
                assert record is not None
                publisher.post(record)

        serving = asyncio.create_task(serve())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await publisher.stop()


async def test_without_a_provider_a_car_hears_failed(operator: Operator) -> None:
    """No provider is set up: Failed, and nobody waits for one (M01)."""
    name, password = await operator.station()
    wish = {"iso15118SchemaVersion": "urn:x", "action": "Update", "exiRequest": "QUJDRA=="}
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        answer = await station.call("Get15118EVCertificate", wish)
    assert answer == {"status": "Failed", "exiResponse": ""}


async def test_roots_at_a_station_are_managed_by_commands(operator: Operator) -> None:
    """InstallCertificate, GetInstalledCertificateIds, DeleteCertificate (M03, M04, M05)."""
    name, password = await operator.station()
    pki = Pki(datetime.now(UTC))

    async def command(action: str, payload: dict[str, Any]) -> Any:
        path = f"/v1/stations/{name}/commands"
        body = {"action": action, "payload": payload}
        made = await operator.done("POST", "config", path, json=body)

        async def state() -> Any:
            return await operator.done("GET", "config", f"/v1/commands/{made['id']}")

        ended = await until(state, lambda one: one["status"] not in {"queued", "sent"})
        assert ended["status"] == "answered", ended
        return ended["answer"]

    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        install = {"certificateType": "MORootCertificate", "certificate": pem(pki.root.certificate)}
        assert (await command("InstallCertificate", install))["status"] == "Accepted"
        wanted = {"certificateType": ["MORootCertificate"]}
        listed = await command("GetInstalledCertificateIds", wanted)
        (found,) = listed["certificateHashDataChain"]
        assert found["certificateHashData"]["serialNumber"] == f"{pki.root.serial:x}"
        delete = {"certificateHashData": found["certificateHashData"]}
        assert (await command("DeleteCertificate", delete))["status"] == "Accepted"
        assert (await command("GetInstalledCertificateIds", wanted))["status"] == "NotFound"
