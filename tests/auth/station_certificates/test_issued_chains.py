"""What is believed of an authority elsewhere: each chain that does not fit is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.auth_examples import MINUTE, NOW, STATION
from auth.plug_and_charge.pki import Pki, pem, usage
from auth.station_certificates.issued import (
    ABOVE,
    CLIENT,
    KEY,
    OPERATOR,
    PKI,
    ROOT,
    SERVER,
    certificate,
)
from voltbus_auth.station_certificates.domain.chain import MisfitError, Terms, read_chain
from voltbus_auth.station_certificates.domain.requests import STATION as STATION_TYPE
from voltbus_auth.station_certificates.domain.requests import fingerprint

TERMS = Terms(fingerprint(KEY.public_key()), STATION_TYPE, STATION, OPERATOR)
ANY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
MANY_NAMES = x509.SubjectAlternativeName([x509.DNSName(f"n{one}.example") for one in range(600)])
CA = x509.BasicConstraints(ca=True, path_length=None)


@pytest.mark.parametrize(
    "chain",
    [
        pem(certificate(), ABOVE),
        pem(certificate(), ABOVE, ROOT),
        pem(certificate()),
        pem(certificate(extensions=(CLIENT, usage("digital_signature", "key_agreement"))), ABOVE),
        pem(certificate(extensions=(ANY,)), ABOVE),
    ],
    ids=["to the authority", "with the root", "alone", "with usages", "for any purpose"],
)
def test_a_chain_that_fits(chain: str) -> None:
    """Leaf first, each signed by the next; the root does not go to the station."""
    found = read_chain(chain, TERMS, NOW, [ABOVE] if chain.count("BEGIN") == 1 else [ROOT])
    sent = x509.load_pem_x509_certificates(found.chain.encode())
    assert sent[0].public_key() == KEY.public_key()
    assert ROOT not in sent
    assert found.serial == f"{sent[0].serial_number:x}"


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
MISFITS = {
    "no PEM": ("no PEM", "no chain"),
    "of another key": (pem(certificate(key=OTHER_KEY), ABOVE), "not for the key"),
    "of another station": (pem(certificate("CS-2"), ABOVE), "common name"),
    "of another operator": (pem(certificate(organization="X"), ABOVE), "organization"),
    "expired": (pem(certificate(ends=NOW - MINUTE), ABOVE), "expired"),
    "not yet valid": (pem(certificate(begins=NOW + MINUTE), ABOVE), "not valid yet"),
    "an authority's": (pem(certificate(extensions=(CA,)), ABOVE), "is an authority's"),
    "for servers": (pem(certificate(extensions=(SERVER,)), ABOVE), "another purpose"),
    "may not sign": (
        pem(certificate(extensions=(usage("key_agreement"),)), ABOVE),
        "may not sign",
    ),
    "in the wrong order": (pem(ABOVE, certificate()), "not for the key"),
    "with a stranger above": (pem(certificate(), PKI.sub2.certificate), "not signed by the next"),
    "with a gap": (pem(certificate(), ROOT), "not signed by the next"),
    "to nobody known": (pem(certificate(), ABOVE), "leads"),
    "too long": (pem(certificate(extensions=(MANY_NAMES,)), ABOVE), "longer"),
}


@pytest.mark.parametrize("which", MISFITS)
def test_a_chain_that_does_not_fit(which: str) -> None:
    """Nothing that an authority sends is taken on trust; what is wrong is a sentence."""
    chain, reason = MISFITS[which]
    anchors = [Pki(NOW).root.certificate] if which == "to nobody known" else [ROOT]
    with pytest.raises(MisfitError, match=reason):
        read_chain(chain, TERMS, NOW, anchors)


def test_a_certificate_for_cars_serves() -> None:
    """A V2G certificate is a TLS server's, and names what the request named."""
    terms = replace(TERMS, certificate_type="V2GCertificate", common_name="SECC-1")
    fits = pem(certificate("SECC-1", extensions=(SERVER,)), ABOVE)
    assert read_chain(fits, terms, NOW).subject.startswith("CN=SECC-1")
    with pytest.raises(MisfitError, match="purpose"):
        read_chain(pem(certificate("SECC-1", extensions=(CLIENT,)), ABOVE), terms, NOW)
