"""What to ask OCSP responders, and what to believe of their answers (RFC 6960)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from voltbus_auth.plug_and_charge.domain.chain import Untrusted, find_authority_path
from voltbus_auth.plug_and_charge.domain.profile import (
    extension,
    fault_of_any,
    issued,
    strictly,
    verifies,
)
from voltbus_backbone.contract.auth import Revocation
from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from voltbus_auth.plug_and_charge.domain.chain import Path, Root
    from voltbus_backbone.contract.auth import OcspHash

# OCPP's HashAlgorithmEnumType.
_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
_OURS = "SHA256"
# Clocks differ, and an answer that names no next update is old after a day [P].
_SKEW = timedelta(minutes=5)
_STALE = timedelta(days=1)
_STATUSES = {
    ocsp.OCSPCertStatus.GOOD: Revocation.GOOD,
    ocsp.OCSPCertStatus.REVOKED: Revocation.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: Revocation.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class CertId:
    """A certificate by its issuer and number (RFC 6960 CertID)."""

    algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Responder:
    """Where to ask. ``vouched``: an operator or a trusted authority named it, not a station."""

    url: str
    vouched: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A certificate to ask about; the responders in the order of asking.

    ``issuer`` is its issuer where we have it; else the answer must bring it along.
    """

    id: CertId
    responders: tuple[Responder, ...]
    issuer: x509.Certificate | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A believed answer. ``der`` is the whole of it, as it came."""

    status: Revocation
    der: bytes
    next_update: datetime | None = None


class Unbelievable(Exception):  # noqa: N818 - what a response is
    """A responder's answer that proves nothing. ``reason`` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def id_of(serial: int, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> CertId:
    """The CertID of the certificate with this number by this issuer."""
    name = hashes.Hash(algorithm)
    name.update(issuer.subject.public_bytes())
    # The library hashes a key's bare bits only on the way to a request.
    request = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, algorithm).build()
    return CertId(algorithm.name.upper(), name.finalize(), request.issuer_key_hash, serial)


def id_from_hash(wanted: OcspHash) -> CertId:
    """The CertID that a station names.

    Raises:
        ValueError: it is not of OCPP's form (hexadecimal, a known algorithm).
    """
    if wanted.hash_algorithm not in _ALGORITHMS:
        raise ValueError("unknown hash algorithm")
    size = _ALGORITHMS[wanted.hash_algorithm].digest_size
    name_hash = bytes.fromhex(wanted.issuer_name_hash)
    key_hash = bytes.fromhex(wanted.issuer_key_hash)
    serial = int.from_bytes(bytes.fromhex(_even(wanted.serial_number.removeprefix("0x"))))
    if len(name_hash) != size or len(key_hash) != size or not serial:
        raise ValueError("a hash or the number is of the wrong length")
    return CertId(wanted.hash_algorithm, name_hash, key_hash, serial)


def _even(digits: str) -> str:
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def request_of(check: Check) -> bytes:
    """The request to send, DER. It has no nonce, so that responders may answer from their cache."""
    wanted = check.id
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        wanted.name_hash, wanted.key_hash, wanted.serial, _ALGORITHMS[wanted.algorithm]
    )
    return builder.build().public_bytes(serialization.Encoding.DER)


def checks_of_path(path: Path, hashed: Sequence[OcspHash], roots: Sequence[Root]) -> list[Check]:
    """One check for each certificate below the root, then for those only named by hash.

    Raises:
        ValueError: a hash is not of OCPP's form.
    """
    named = {id_from_hash(one): one for one in hashed}
    found = []
    for certificate, issuer in zip(path.certificates, path.certificates[1:], strict=False):
        match: OcspHash | None = None
        for algorithm in _ALGORITHMS.values():
            wanted = id_of(certificate.serial_number, issuer, algorithm)
            match = named.pop(wanted, None) or match
        responders = _own_responder(issuer, roots) or _named_in(certificate)
        if not responders and match is not None:
            responders = _named_by_station(match)
        ours = id_of(certificate.serial_number, issuer, _ALGORITHMS[_OURS])
        found.append(Check(ours, responders, issuer))
    known = [*path.certificates[1:], *(root.certificate for root in roots)]
    found += [_check(wanted, one, known, roots) for wanted, one in named.items()]
    return found


def checks_of_hashes(hashed: Sequence[OcspHash], roots: Sequence[Root]) -> list[Check]:
    """One check for each certificate that a station names by hash, in its order.

    Raises:
        ValueError: a hash is not of OCPP's form.
    """
    known = [root.certificate for root in roots]
    return [_check(id_from_hash(one), one, known, roots) for one in hashed]


def _check(
    wanted: CertId, named: OcspHash, known: Sequence[x509.Certificate], roots: Sequence[Root]
) -> Check:
    issuer = next((one for one in known if is_issuer(one, wanted)), None)
    responders = _own_responder(issuer, roots) or _named_by_station(named)
    return Check(wanted, responders, issuer)


def is_issuer(certificate: x509.Certificate, wanted: CertId) -> bool:
    """Whether this is the authority that a CertID names."""
    return id_of(wanted.serial, certificate, _ALGORITHMS[wanted.algorithm]) == wanted


def _own_responder(issuer: x509.Certificate | None, roots: Sequence[Root]) -> tuple[Responder, ...]:
    return tuple(
        Responder(root.responder_url, vouched=True)
        for root in roots
        if root.certificate == issuer and root.responder_url is not None
    )


def _named_in(certificate: x509.Certificate) -> tuple[Responder, ...]:
    access = extension(certificate, x509.AuthorityInformationAccess)
    return tuple(
        Responder(one.access_location.value, vouched=True)
        for one in access or ()
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )


def _named_by_station(named: OcspHash) -> tuple[Responder, ...]:
    urls = (named.responder_url, *named.further_urls)
    return tuple(Responder(url, vouched=False) for url in urls if url)


def read_answer(der: bytes, check: Check, roots: Sequence[Root], now: datetime) -> Told:
    """What a responder says of the certificate.

    Raises:
        Unbelievable: it is no answer about it, is outdated, or is signed by nobody who may.
    """
    with refuse_unreadable(Unbelievable("unreadable"), Unbelievable), strictly():
        return _read(der, check, roots, now)


def _read(der: bytes, check: Check, roots: Sequence[Root], now: datetime) -> Told:
    response = ocsp.load_der_ocsp_response(der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise Unbelievable(f"responder says {response.response_status.name.lower()}")
    single = _about(response, check)
    _check_time(single, now)
    issuer = check.issuer or _issuer_within(response, check, roots, now)
    if not _signed_by(response, issuer, now):
        raise Unbelievable("not signed by the issuer or its responder")
    return Told(_STATUSES[single.certificate_status], der, single.next_update_utc)


def _about(response: ocsp.OCSPResponse, check: Check) -> ocsp.OCSPSingleResponse:
    for single in response.responses:
        wanted = check.id
        if single.hash_algorithm.name.upper() != wanted.algorithm and check.issuer is not None:
            # Some responders answer in their own algorithm; the certificate meant is the same.
            wanted = id_of(wanted.serial, check.issuer, single.hash_algorithm)
        answered = CertId(
            single.hash_algorithm.name.upper(),
            single.issuer_name_hash,
            single.issuer_key_hash,
            single.serial_number,
        )
        if answered == wanted:
            return single
    raise Unbelievable("about another certificate")


def _check_time(single: ocsp.OCSPSingleResponse, now: datetime) -> None:
    until = single.next_update_utc or single.this_update_utc + _STALE
    if single.this_update_utc > now + _SKEW:
        raise Unbelievable("from the future")
    if until < now - _SKEW:
        raise Unbelievable("outdated")


def _issuer_within(
    response: ocsp.OCSPResponse, check: Check, roots: Sequence[Root], now: datetime
) -> x509.Certificate:
    """The issuer out of the answer's own certificates, if it leads to a root."""
    brought = response.certificates
    for certificate in brought:
        if not is_issuer(certificate, check.id):
            continue
        rest = [one for one in brought if one != certificate]
        try:
            path = find_authority_path([certificate, *rest], roots, now)
        except Untrusted:
            continue
        if path.has_begun(now) and not path.has_expired(now):
            return certificate
    raise Unbelievable("of an issuer that no root vouches for")


def _signed_by(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> bool:
    return any(
        verifies(
            signer.public_key(),
            response.signature,
            response.tbs_response_bytes,
            response.signature_hash_algorithm,
        )
        for signer in _signers(response, issuer, now)
    )


def _signers(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime
) -> Iterator[x509.Certificate]:
    """The issuer itself, and those that it lets answer for it (RFC 6960 §4.2.2.2)."""
    yield issuer
    for certificate in response.certificates:
        usage = extension(certificate, x509.ExtendedKeyUsage)
        if (
            usage is not None
            and ExtendedKeyUsageOID.OCSP_SIGNING in usage
            and certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
            and fault_of_any(certificate) is None
            and issued(certificate, issuer)
        ):
            yield certificate
