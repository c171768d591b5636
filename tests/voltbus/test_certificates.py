"""The certificates of a local stack."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.certificates import shake_hands, strict_context
from voltbus.embedded.certificates import ORGANIZATION, Certificates, make_certificates
from voltbus_auth.station_certificates.domain.authority import read_authority

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def contents(files: Certificates) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files.authority.parent.iterdir()}


def test_the_gateways_certificate_is_of_the_authority(tmp_path: Path) -> None:
    """For localhost and the loopback address, signed by the one that stations are to trust."""
    files = make_certificates(tmp_path, NOW)
    server, authority = read(files.server), read(files.authority)
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    (organization,) = authority.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert organization.value == ORGANIZATION


def test_a_second_start_keeps_them(tmp_path: Path) -> None:
    """Stations that trust the authority go on to, and their certificates stay good."""
    before = contents(make_certificates(tmp_path, NOW))
    assert contents(make_certificates(tmp_path, NOW + 300 * DAY)) == before


def test_the_gateways_is_renewed_in_time(tmp_path: Path) -> None:
    """A month before its end, by the same authority."""
    before = contents(make_certificates(tmp_path, NOW))
    files = make_certificates(tmp_path, NOW + 340 * DAY)
    after = contents(files)
    assert {name for name in after if after[name] != before[name]} == {"gateway.pem", "gateway.key"}
    assert read(files.server).not_valid_after_utc == NOW + 705 * DAY


@pytest.mark.parametrize("broken", ["ca.pem", "ca.key", "gateway.pem", "gateway.key"])
def test_what_is_missing_or_broken_is_made_anew(tmp_path: Path, broken: str) -> None:
    """Whichever file it is, the four fit together again."""
    make_certificates(tmp_path, NOW)
    if broken.endswith(".key"):
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_text("half a certif")
    files = make_certificates(tmp_path, NOW)
    read(files.server).verify_directly_issued_by(read(files.authority))


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    """Every file is of mode 0600."""
    make_certificates(tmp_path, NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4


def test_both_sides_pass_the_strict_check(tmp_path: Path) -> None:
    """What we issue is well formed for peers that verify strictly (RFC 5280 4.2.1; Python 3.13)."""
    files = make_certificates(tmp_path)
    authority = read_authority(
        files.authority.read_bytes(),
        files.authority_key.read_bytes(),
        organization=ORGANIZATION,
        validity=timedelta(days=30),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    station = tmp_path / "station.pem"
    station.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + authority.sign(key.public_key(), "CP-1", datetime.now(UTC)).chain.encode()
    )
    gateway = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    gateway.load_cert_chain(files.server, files.server_key)
    gateway.load_verify_locations(files.authority)
    gateway.verify_mode = ssl.CERT_REQUIRED
    gateway.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    client = strict_context(files.authority)
    client.load_cert_chain(station)
    shake_hands(gateway, client)
