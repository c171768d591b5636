"""Stations' certificates of their own: requests, signing, and the command (A02)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from auth.auth_examples import HOUR, NOW, STATION, asked
from auth.conftest import told
from auth.plug_and_charge.pki import Pki, pem
from auth.station_certificates.memory_applications import MemoryApplications
from voltbus_auth.station_certificates.domain import application as states
from voltbus_auth.station_certificates.domain.authority import Authority, read_authority
from voltbus_auth.station_certificates.domain.requests import NotSignedError, read_request
from voltbus_auth.station_certificates.handlers.applications import StationCertificates
from voltbus_auth.station_certificates.handlers.signers import BuiltIn
from voltbus_backbone.contract.auth import SignCertificate
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.registry import SIGN_CERTIFICATE
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from auth.conftest import Told
    from auth.plug_and_charge.pki import Made

PKI = Pki(NOW)
KEY = ec.generate_private_key(ec.SECP256R1())


def key_pem(made: Made) -> bytes:
    return made.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def authority(**fields: Any) -> Authority:
    chain = pem(PKI.sub1.certificate, PKI.root.certificate).encode()
    terms: dict[str, Any] = {"organization": "Voltbus", "validity": timedelta(days=30), **fields}
    return read_authority(chain, key_pem(PKI.sub1), **terms)


def request(key: Any = KEY, algorithm: Any = hashes.SHA256()) -> str:  # noqa: B008 - immutable
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody else")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_names_the_station_and_its_key() -> None:
    """The name is the station's id, whatever the request says; for TLS clients only."""
    text = authority().sign(read_request(request()).key, STATION, NOW).chain
    leaf, above = x509.load_pem_x509_certificates(text.encode())
    assert above == PKI.sub1.certificate
    leaf.verify_directly_issued_by(above)
    assert leaf.public_key() == KEY.public_key()
    assert leaf.subject.rfc4514_string() == f"CN={STATION},O=Voltbus"
    assert leaf.not_valid_after_utc == (NOW + timedelta(days=30)).replace(microsecond=0)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_ends_with_its_issuer() -> None:
    """No certificate outlives the one that signed it."""
    signer = authority(validity=timedelta(days=100_000))
    text = signer.sign(read_request(request()).key, STATION, NOW).chain
    leaf = x509.load_pem_x509_certificates(text.encode())[0]
    assert leaf.not_valid_after_utc == PKI.sub1.certificate.not_valid_after_utc


def test_a_station_id_that_is_no_common_name() -> None:
    """A common name holds at most 64 characters (RFC 5280)."""
    with pytest.raises(NotSignedError, match="too long"):
        authority().sign(read_request(request()).key, "x" * 65, NOW)


def test_rsa_of_2048_bits_is_enough() -> None:
    """The least that A00 allows."""
    key = rsa.generate_private_key(65537, 2048)
    assert read_request(request(key)).key == key.public_key()


def tampered() -> str:
    """A request whose signature is another's."""
    der = bytearray(x509.load_pem_x509_csr(request().encode()).public_bytes(_DER))
    der[der.index(b"Somebody")] = ord("s")
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


_DER = serialization.Encoding.DER


@pytest.mark.parametrize(
    ("csr", "kind", "code"),
    [
        ("no PEM", None, "InvalidCSR"),
        (request() + " " * 5500, None, "InvalidCSR"),
        (request(), "V2GCertificate", "UnsupportedRequest"),
        (tampered(), None, "InvalidCSR"),
        (request(ec.generate_private_key(ec.SECP224R1())), None, "InvalidCSR"),
        (request(rsa.generate_private_key(65537, 1024)), None, "InvalidCSR"),  # noqa: S505 - refused for it
        (request(ed25519.Ed25519PrivateKey.generate(), None), None, "InvalidCSR"),
    ],
    ids=["text", "long", "for V2G", "tampered", "P-224", "RSA-1024", "Ed25519"],
)
async def test_what_is_not_signed(csr: str, kind: str | None, code: str) -> None:
    """Rejected with OCPP's reason code and a sentence, and no command (A02.FR.04)."""
    found = await desk(authority()).ask(csr=csr, certificate_type=kind)
    assert (found.answer.accepted, found.answer.reason_code) == (False, code)
    assert found.answer.reason.endswith(".")
    assert found.events == []


class Desk:
    """The handler, and what it keeps, in memory."""

    def __init__(self, signer: Authority | None) -> None:
        self.handler = StationCertificates(
            None if signer is None else BuiltIn(signer),
            MemoryApplications(),
            source="/voltbus/auth/1",
            now=lambda: NOW,
        )

    async def ask(self, **fields: Any) -> Told:
        wish = {"station_id": STATION, "protocol": Protocol.OCPP21, "csr": request(), **fields}
        event: Any = asked(SignCertificate(**wish), row=SIGN_CERTIFICATE)  # type: ignore[arg-type]
        return told(await self.handler.handle([event]))


def desk(signer: Authority | None) -> Desk:
    return Desk(signer)


async def test_the_command_repeats_what_was_asked() -> None:
    """The type and the request id come back with the chain (A02.FR.12, FR.14)."""
    found = await desk(authority()).ask(certificate_type="ChargingStationCertificate", request_id=7)
    assert found.answer.accepted
    ((_, _, command),) = found.events
    assert (command.station_id, command.action) == (STATION, "CertificateSigned")
    assert command.payload.pop("certificateChain").startswith("-----BEGIN CERTIFICATE-----")
    assert command.payload == {"certificateType": "ChargingStationCertificate", "requestId": 7}


async def test_a_request_sent_again_gets_no_second_certificate() -> None:
    """The same command under the same key: config sends it once."""
    one, csr = desk(authority()), request()
    first, again = await one.ask(csr=csr), await one.ask(csr=csr)
    assert first.events == again.events
    other = await one.ask(csr=csr, station_id="CS-other")
    assert other.events[0][2].payload != first.events[0][2].payload


@pytest.mark.parametrize("state", ["accepted", "in use"])
async def test_a_station_that_lost_what_it_accepted_gets_it_again(state: str) -> None:
    """Accepted means that a certificate follows (A02.FR.04): power may fail before it is kept."""
    one, csr = desk(authority()), request()
    first = await one.ask(csr=csr, request_id=1)
    kept: Any = one.handler._kept
    ((name, stored),) = kept.all.items()
    stored = states.ended(
        stored, stored.cause, CommandStatus.ANSWERED, "Accepted", command_id="c", now=NOW
    )
    if state == "in use":
        stored = states.seen(stored, stored.serial or "", stored.type, NOW)
    kept.all[name] = stored
    again = await one.ask(csr=csr, request_id=2)
    assert again.answer.accepted
    ((_, _, old),), ((_, _, new),) = first.events, again.events
    assert new.payload == old.payload | {"requestId": 2}
    assert new.idempotency_key != old.idempotency_key


async def test_the_same_record_again_sends_no_certificate_again() -> None:
    """Kafka may deliver it twice, also after the station has accepted (design 4)."""
    one, csr = desk(authority()), request()
    wish = SignCertificate(station_id=STATION, protocol=Protocol.OCPP21, csr=csr)
    event = asked(wish, offset=10_001, row=SIGN_CERTIFICATE)  # type: ignore[arg-type]
    await one.handler.handle([event])
    kept: Any = one.handler._kept
    ((name, stored),) = kept.all.items()
    kept.all[name] = states.ended(
        stored, stored.cause, CommandStatus.ANSWERED, "Accepted", command_id="c", now=NOW
    )
    assert told(await one.handler.handle([event])).events == []
    assert kept.all[name].state is states.State.ACCEPTED


async def test_without_an_authority() -> None:
    """Rejected: nobody could process the request (A02.FR.04)."""
    found = await desk(None).ask()
    assert (found.answer.accepted, found.answer.reason_code) == (False, "NotEnabled")
    assert found.events == []


def test_an_authority_must_be_one() -> None:
    """A leaf's certificate, or another one's key, signs nothing."""
    leaf = PKI.contract()
    terms: dict[str, Any] = {"organization": "Voltbus", "validity": HOUR}
    with pytest.raises(ValueError, match="authority"):
        read_authority(pem(leaf.certificate).encode(), key_pem(leaf), **terms)
    with pytest.raises(ValueError, match="another"):
        read_authority(pem(PKI.sub1.certificate).encode(), key_pem(PKI.sub2), **terms)
