"""SignCertificate on the stack of `voltbus up`: its own authority, and its doors for TLS (A02)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from gateway.certificates import strict_context
from operating import until
from station_authority import own_context
from voltbus.simulator import RefusedError, make_station

if TYPE_CHECKING:
    from pathlib import Path

    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

PROTOCOLS: list[Protocol] = ["1.6", "2.0.1", "2.1"]


async def certificates(operator: Operator, name: str) -> Any:
    """What auth shows of a station's certificates."""
    return (await operator.done("GET", "auth", f"/v1/stations/{name}/certificates"))["data"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_from_a_password_to_a_certificate(
    operator: Operator, protocol: Protocol, tmp_path: Path
) -> None:
    """Accepted, CertificateSigned for the station's key; then in by profile 3, without password."""
    stack = operator.stack
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        assert await station.sign_certificate() == "Accepted"
        (accepted,) = await until(
            lambda: certificates(operator, name), lambda all_: all_[0]["state"] == "accepted"
        )
        (leaf,) = station.certificates.chain
        assert station.certificates.key is not None
        assert leaf.public_key() == station.certificates.key.public_key()
        context = own_context(station, stack.authority, tmp_path)
    authority = x509.load_pem_x509_certificate(stack.authority.read_bytes())
    leaf.verify_directly_issued_by(authority)
    assert accepted["subject"] == f"CN={name},O=Voltbus"
    again = make_station(protocol)
    await again.connect(stack.secured(3), name, None, ssl=context)
    assert (await again.boot()).status == "Accepted"
    await again.close()
    await until(lambda: certificates(operator, name), lambda all_: all_[0]["state"] == "in_use")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tls_with_a_password(operator: Operator, protocol: Protocol) -> None:
    """Profile 2 at the stack's own door, by a station that trusts its authority."""
    name, password = await operator.station()
    context = strict_context(operator.stack.authority)
    station = make_station(protocol)
    await station.connect(operator.stack.secured(2), name, password, ssl=context)
    assert (await station.boot()).status == "Accepted"
    await station.close()
    wrong = secrets.token_hex(20)
    with pytest.raises(RefusedError):
        await make_station(protocol).connect(operator.stack.secured(2), name, wrong, ssl=context)


@pytest.mark.parametrize("protocol", ["2.0.1", "2.1"])
async def test_what_is_not_signed_is_rejected_with_a_reason(
    operator: Operator, protocol: Protocol
) -> None:
    """The built-in authority signs what stations log in with; 2.x hears why not (A02.FR.04)."""
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        csr = station.certificates.request(name, "Voltbus", "V2GCertificate")
        wishes = [{"csr": csr, "certificateType": "V2GCertificate"}, {"csr": "none"}]
        answers = [await station.call("SignCertificate", wish) for wish in wishes]
    assert [one["status"] for one in answers] == ["Rejected", "Rejected"]
    codes = [one["statusInfo"]["reasonCode"] for one in answers]
    assert codes == ["UnsupportedRequest", "InvalidCSR"]
    assert await certificates(operator, name) == []
