"""Whatever bytes a station or an authority sends, a parser answers with its own refusal.

Valid requests, chains and answers are damaged in many ways, each run the same. What is not refused
must be used without an exception.
"""

from __future__ import annotations

import base64
import random
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.auth_examples import NOW
from auth.plug_and_charge.pki import Pki, ocsp_answer
from auth.station_certificates.issued import KEY, OPERATOR, certificate, request
from voltbus_auth.plug_and_charge.domain.authorities import read_authority
from voltbus_auth.plug_and_charge.domain.chain import (
    Root,
    Untrusted,
    find_contract_path,
    read_chain,
)
from voltbus_auth.plug_and_charge.domain.revocation import Unbelievable, checks_of_path, read_answer
from voltbus_auth.station_certificates.domain import chain as station_chain
from voltbus_auth.station_certificates.domain.authority import Authority
from voltbus_auth.station_certificates.domain.requests import (
    STATION,
    NotSignedError,
    fingerprint,
    read_request,
)
from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PKI = Pki(NOW)
CONTRACT = PKI.contract()
ROOTS = [Root(PKI.root.certificate, "MO")]
CHECK = checks_of_path(find_contract_path(read_chain(CONTRACT.chain()), ROOTS, NOW), (), ROOTS)[0]
ANSWER = ocsp_answer(CONTRACT, NOW)
TERMS = station_chain.Terms(fingerprint(KEY.public_key()), STATION, None, None)
assert isinstance(PKI.sub1.key, ec.EllipticCurvePrivateKey)
SIGNER = Authority((PKI.sub1.certificate,), PKI.sub1.key, OPERATOR, timedelta(days=1))
DAMAGED = 1500


def damage(whole: bytes, seed: int) -> Iterator[bytes]:
    """Yield each byte set to an odd value in turn, then random cuts, swaps and repetitions."""
    chance = random.Random(seed)  # noqa: S311 - a test's chance, not a secret
    for place in range(0, len(whole), max(1, len(whole) // 500)):
        for value in (0x00, 0x7F, 0xFF, whole[place] ^ 1):
            yield whole[:place] + bytes([value]) + whole[place + 1 :]
    for _ in range(DAMAGED):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place, length = chance.randrange(len(damaged)), chance.randint(1, 8)
            match chance.randrange(3):
                case 0:
                    damaged[place] = chance.randrange(256)
                case 1:
                    del damaged[place : place + length]
                case 2:
                    damaged[place:place] = damaged[place : place + length]
        yield bytes(damaged) or b"\0"


def armour(der: bytes, kind: str) -> str:
    """Return DER as PEM text."""
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


def der_of(pem: str) -> bytes:
    """Return the DER of a PEM text with one object."""
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


def use_request(der: bytes) -> None:
    with suppress(NotSignedError):
        found = read_request(armour(der, "CERTIFICATE REQUEST"))
        SIGNER.sign(found.key, "CP-1", NOW)


def use_station_chain(der: bytes) -> None:
    with suppress(station_chain.MisfitError):
        station_chain.read_chain(armour(der, "CERTIFICATE"), TERMS, NOW)


def use_contract(der: bytes) -> None:
    with suppress(Untrusted):
        above = CONTRACT.chain().partition("-----END CERTIFICATE-----\n")[2]
        path = find_contract_path(read_chain(armour(der, "CERTIFICATE") + above), ROOTS, NOW)
        checks_of_path(path, (), ROOTS)


def use_answer(der: bytes) -> None:
    with suppress(Unbelievable):
        read_answer(der, CHECK, ROOTS, NOW)


def use_root(der: bytes) -> None:
    with suppress(ValueError):
        read_authority(armour(der, "CERTIFICATE"), "MO", None, NOW)


CASES: dict[str, tuple[bytes, Callable[[bytes], None]]] = {
    "signing request": (der_of(request()), use_request),
    "station's chain": (certificate().public_bytes(serialization.Encoding.DER), use_station_chain),
    "contract's chain": (
        CONTRACT.certificate.public_bytes(serialization.Encoding.DER),
        use_contract,
    ),
    "OCSP answer": (ANSWER, use_answer),
    "root": (PKI.root.certificate.public_bytes(serialization.Encoding.DER), use_root),
}


@pytest.mark.parametrize("case", CASES)
def test_damaged_bytes_are_refused_or_used(case: str) -> None:
    """No damage gives another exception than the parser's own refusal (RFC 5280, 2986, 6960)."""
    whole, use = CASES[case]
    for damaged in damage(whole, seed=7):
        use(damaged)


def test_a_request_of_an_unknown_version_is_refused_at_once() -> None:
    """PKCS#10 knows version 0 only (RFC 2986 4.1): InvalidCSR, not silence (A02.FR.04)."""
    whole = der_of(request())
    version = whole.index(b"\x02\x01\x00")
    damaged = whole[: version + 2] + b"\x02" + whole[version + 3 :]
    with pytest.raises(NotSignedError) as refused:
        read_request(armour(damaged, "CERTIFICATE REQUEST"))
    assert refused.value.code == "InvalidCSR"


@pytest.mark.parametrize(
    "text",
    [
        "\ud800",
        "-----BEGIN CERTIFICATE REQUEST-----\n\ud800\n-----END CERTIFICATE REQUEST-----\n",
        "\0",
        "",
        "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
    ],
)
def test_text_that_is_no_request(text: str) -> None:
    """Text that cannot even be encoded is refused as any other."""
    with pytest.raises(NotSignedError):
        read_request(text)


def test_a_parser_s_panic_is_a_refusal() -> None:
    """A parser written in Rust panics with what is no Exception; one request pays for it."""
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(ValueError, match="unreadable"), refuse_unreadable(ValueError("unreadable")):
        raise panic


def test_an_end_of_the_process_is_passed_on() -> None:
    """What is no fault of the bytes goes its way."""
    with pytest.raises(KeyboardInterrupt), refuse_unreadable(ValueError("unreadable")):
        raise KeyboardInterrupt


def test_a_key_of_a_curve_that_is_not_signed_for() -> None:
    """A valid request for a weak key keeps its own reason."""
    weak = ec.generate_private_key(ec.SECP192R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CP-1")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(weak, hashes.SHA256())
    with pytest.raises(NotSignedError, match="too weak"):
        read_request(made.public_bytes(serialization.Encoding.PEM).decode())
