"""The certificates of a local stack."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from voltbus.embedded.certificates import ORGANIZATION, Certificates, make_certificates

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
