"""SignCertificate on the real stack: from a station's new key to its certificate (A02)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization

from auth.plug_and_charge.pki import Pki, pem
from operating import operating, until
from voltbus.embedded.stack import temporary_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

PROTOCOLS: list[Protocol] = ["1.6", "2.0.1", "2.1"]
PKI = Pki(datetime.now(UTC))


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def with_authority(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operator]:
    """An operator of a stack of our own, whose auth signs."""
    folder = tmp_path_factory.mktemp("ca")
    certificates, key = folder / "ca.pem", folder / "ca.key"
    certificates.write_text(pem(PKI.sub1.certificate, PKI.root.certificate))
    key.write_bytes(
        PKI.sub1.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    settings = {
        "VOLTBUS_STATION_CA_CERT_FILE": str(certificates),
        "VOLTBUS_STATION_CA_KEY_FILE": str(key),
        "VOLTBUS_STATION_CA_ORGANIZATION": "Voltbus",
    }
    async with temporary_stack(environment={"auth": settings}) as stack, operating(stack) as one:
        yield one


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_station_gets_its_certificate(with_authority: Operator, protocol: Protocol) -> None:
    """Accepted, then CertificateSigned with a chain for the station's key; its answer is kept."""
    name, password = await with_authority.station()
    async with with_authority.connected(protocol, name, password) as station:
        await station.boot()
        assert await station.sign_certificate() == "Accepted"

        async def commands() -> Any:
            path = f"/v1/commands?station_id={name}"
            listed = await with_authority.done("GET", "config", path)
            return [one for one in listed["data"] if one["action"] == "CertificateSigned"]

        (command,) = await until(
            commands, lambda found: bool(found) and found[0]["status"] not in {"queued", "sent"}
        )
        assert command["answer"] == {"status": "Accepted"}
        leaf, above = station.certificates.chain
        assert station.certificates.key is not None
        assert leaf.public_key() == station.certificates.key.public_key()
    leaf.verify_directly_issued_by(PKI.sub1.certificate)
    assert above == PKI.sub1.certificate
    assert f"CN={name}" in leaf.subject.rfc4514_string()


async def test_without_an_authority_a_station_hears_rejected(operator: Operator) -> None:
    """Nobody can sign: Rejected, and no command (A02.FR.04)."""
    name, password = await operator.station()
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        assert await station.sign_certificate() == "Rejected"
