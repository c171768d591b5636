"""A02, A03: stations' certificates from an authority elsewhere, the one of the documentation.

On a stack of our own: auth asks over Kafka, and the gateway's listener of profile 3 trusts what
that authority signs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from conformance.acting import answered, every_2x
from gateway.certificates import Authority
from operating import DEADLINE_S, operating, subscribed, until
from station_authority import AuthorityProcess, own_context
from voltbus.embedded.ports import free_ports
from voltbus.embedded.stack import temporary_stack
from voltbus.simulator import RefusedError, make_station
from voltbus_backbone.bus.kafka import Tail
from voltbus_backbone.contract.registry import CERTIFICATE_MADE, Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

OPERATOR = "Operator AB"


class Elsewhere:
    """An operator, the authority's process (not started), and where profile 3 listens."""

    def __init__(
        self, operator: Operator, process: AuthorityProcess, root: Path, mutual_port: int
    ) -> None:
        self.operator = operator
        self.process = process
        self.root = root
        self.mutual = f"wss://localhost:{mutual_port}/ocpp"

    async def certificates(self, name: str) -> list[dict[str, Any]]:
        """What auth shows of a station's certificates."""
        path = f"/v1/stations/{name}/certificates"
        found: list[dict[str, Any]] = (await self.operator.done("GET", "auth", path))["data"]
        return found

    async def in_state(self, name: str, state: str) -> dict[str, Any]:
        """The station's one application, once it is in this state."""
        (found,) = await until(
            lambda: self.certificates(name), lambda all_: [one["state"] for one in all_] == [state]
        )
        return found

    async def sent(self, name: str) -> list[dict[str, Any]]:
        """The commands that carried a certificate to this station."""
        listed = await self.operator.done("GET", "config", f"/v1/commands?station_id={name}")
        return [one for one in listed["data"] if one["action"] == "CertificateSigned"]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Elsewhere]:
    """A stack whose auth asks an authority elsewhere."""
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder)
    certificate, key = authority.server("ec", "server")
    (port,) = free_ports(1)
    environment = {
        "auth": {
            "VOLTBUS_STATION_CA": "external",
            "VOLTBUS_STATION_CA_ORGANIZATION": OPERATOR,
            "VOLTBUS_STATION_CA_CERT_FILE": str(authority.file),
        },
        "gateway": {
            "VOLTBUS_OCPP_MTLS_PORT": str(port),
            "VOLTBUS_TLS_CERT_FILE": str(certificate),
            "VOLTBUS_TLS_KEY_FILE": str(key),
            "VOLTBUS_TLS_CLIENT_CA_FILE": str(authority.file),
            "VOLTBUS_TLS_ORGANIZATION": OPERATOR,
        },
    }
    async with temporary_stack(environment=environment) as stack, operating(stack) as operator:
        process = AuthorityProcess(stack, folder, authority.file, authority.key_file)
        try:
            yield Elsewhere(operator, process, authority.file, port)
        finally:
            process.kill()


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param("1.6", id="tc_074-1.6"),
        pytest.param("2.0.1", id="tc_a_11-2.0.1"),
        pytest.param("2.1", id="tc_a_11-2.1"),
    ],
)
async def test_from_a_password_to_a_certificate(
    elsewhere: Elsewhere, protocol: Protocol, tmp_path: Path
) -> None:
    """A02, A05: triggered on profile 1, signed elsewhere, then in by profile 3 and by it only."""
    operator = elsewhere.operator
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        order = {"action": "trigger", "payload": {"message": "sign_certificate"}}
        await operator.done("POST", "config", f"/v1/stations/{name}/commands", json=order)
        pending = await elsewhere.in_state(name, "pending")
        assert pending["serial_number"] is None
        with elsewhere.process:
            accepted = await elsewhere.in_state(name, "accepted")
        (leaf,) = station.certificates.chain
        assert accepted["serial_number"] == f"{leaf.serial_number:x}"
        assert accepted["subject"] == f"CN={name},O={OPERATOR}"
        context = own_context(station, elsewhere.root, tmp_path)
    body = {"security_profile": 3}
    await operator.done("PUT", "auth", f"/v1/stations/{name}/credentials", json=body)
    again = make_station(protocol)
    await again.connect(elsewhere.mutual, name, None, ssl=context)
    assert (await again.boot()).status == "Accepted"
    used = await elsewhere.in_state(name, "in_use")
    assert used["seen_at"] is not None
    await again.close()
    with pytest.raises(RefusedError):
        await make_station(protocol).connect(operator.stack.ocpp(), name, password)
    listed = await operator.done("GET", "auth", "/v1/station-certificates?state=in_use&limit=100")
    assert used["id"] in {one["id"] for one in listed["data"]}


@every_2x
async def test_tc_a_12_a_v2g_certificate(elsewhere: Elsewhere, protocol: Protocol) -> None:
    """A02.FR.12: triggered, a V2G certificate is asked for, signed and sent with its type."""
    operator = elsewhere.operator
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        wanted = {"requestedMessage": "SignV2GCertificate"}
        assert (await answered(operator, name, "TriggerMessage", wanted))["status"] == "Accepted"
        pending = await elsewhere.in_state(name, "pending")
        assert pending["type"] == "V2GCertificate"
        with elsewhere.process:
            await elsewhere.in_state(name, "accepted")
        sent = await station.wait_for("CertificateSigned")
        assert sent["certificateType"] == "V2GCertificate"
        (leaf,) = station.certificates.chains["V2GCertificate"]
        assert f"CN={station.options.serial}" in leaf.subject.rfc4514_string()
        assert station.certificates.chain == []


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param("1.6", id="tc_077-1.6"),
        pytest.param("2.0.1", id="tc_a_14-2.0.1"),
        pytest.param("2.1", id="tc_a_14-2.1"),
    ],
)
async def test_a_certificate_that_the_station_rejects(
    elsewhere: Elsewhere, protocol: Protocol
) -> None:
    """A02.FR.06/07: its security event is confirmed and told, and what it had still lets it in."""
    operator = elsewhere.operator
    name, password = await operator.station()
    kind = f"InvalidCharg{'ePoint' if protocol == '1.6' else 'ingStation'}Certificate"
    async with (
        subscribed(operator.stack) as subscriber,
        operator.connected(protocol, name, password) as station,
    ):
        await station.boot()
        station.answers["CertificateSigned"] = lambda _: {"status": "Rejected"}
        assert await station.sign_certificate() == "Accepted"
        with elsewhere.process:
            await elsewhere.in_state(name, "rejected")
        event = {"type": kind, "timestamp": station.now()}
        assert await station.call("SecurityEventNotification", event) == {}
        (told,) = await subscriber.wait_for("station.security-event", station_id=name)
        assert told.type == kind
    async with operator.connected(protocol, name, password) as again:
        assert (await again.boot()).status == "Accepted"


async def test_auth_and_the_authority_are_killed(elsewhere: Elsewhere) -> None:
    """SIGKILL: auth with its request out, the authority before it reads it: one certificate."""
    operator, stack = elsewhere.operator, elsewhere.operator.stack
    name, password = await operator.station()
    topics = (Topic.AUTH_CERTIFICATE_REQUESTS,)
    async with (
        Tail(KafkaSettings(bootstrap=stack.kafka), topics, prefix=stack.topic_prefix) as answers,
        operator.connected("2.1", name, password) as station,
    ):
        await station.boot()
        elsewhere.process.start()
        elsewhere.process.kill()
        assert await station.sign_certificate() == "Accepted"
        await elsewhere.in_state(name, "pending")
        await stack.kill("auth")
        with elsewhere.process:
            async with asyncio.timeout(DEADLINE_S):
                async for event in answers:
                    if event.type == CERTIFICATE_MADE.name:
                        break
        await stack.restart("auth")
        await elsewhere.in_state(name, "accepted")
        assert len(await elsewhere.sent(name)) == 1
        assert [action for action, _ in station.received].count("CertificateSigned") == 1
