"""A small PKI as ISO 15118 has it, made in the test: roots, sub-authorities, contracts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from voltbus_backbone.contract.auth import OcspHash

Key = ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey
Status = ocsp.OCSPCertStatus

EMAID = "NL-TNM-C00122045-K"
YEAR = timedelta(days=365)
HOUR = timedelta(hours=1)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


def subject(common_name: str, branch: str | None = None) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A mobility operator"),
    ]
    if branch is not None:
        parts.append(x509.NameAttribute(NameOID.DOMAIN_COMPONENT, branch))
    return x509.Name(parts)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


@dataclass
class Made:
    """A certificate with its key, and whoever issued it."""

    certificate: x509.Certificate
    key: Key
    issuer: Made | None = None
    responder_url: str = ""

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    def chain(self) -> str:
        """As OCPP carries it: from the leaf up, without the root."""
        found, made = [], self
        while made.issuer is not None:
            found.append(made.certificate)
            made = made.issuer
        return pem(*found)

    def hashed(self, algorithm: str = "SHA256", **change: Any) -> OcspHash:
        """OCPP's OCSPRequestDataType of it."""
        assert self.issuer is not None
        kinds = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            self.certificate, self.issuer.certificate, kinds[algorithm]
        )
        request = builder.build()
        values = {
            "hash_algorithm": algorithm,
            "issuer_name_hash": request.issuer_name_hash.hex(),
            "issuer_key_hash": request.issuer_key_hash.hex(),
            "serial_number": f"{request.serial_number:x}",
            "responder_url": self.responder_url,
        }
        return OcspHash(**(values | change))


@dataclass
class Pki:
    """A root, two sub-authorities and what they issue; times count from ``now``."""

    now: datetime
    responder_url: str = "http://ocsp.example"
    root: Made = field(init=False)
    sub1: Made = field(init=False)
    sub2: Made = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.authority("MO Root", None, path_length=2)
        self.sub1 = self.authority("MO Sub-CA 1", self.root, path_length=1)
        self.sub2 = self.authority("MO Sub-CA 2", self.sub1, path_length=0)

    def authority(
        self, name: str, issuer: Made | None, *, path_length: int | None = None, **change: Any
    ) -> Made:
        """A certificate that may issue others."""
        extensions = [
            (x509.BasicConstraints(ca=True, path_length=path_length), True),
            (usage("key_cert_sign", "crl_sign", "digital_signature"), True),
        ]
        return self.make(subject(name, "MO"), issuer, **{"extensions": extensions, **change})

    def contract(self, emaid: str = EMAID, issuer: Made | None = None, **change: Any) -> Made:
        """A contract's certificate."""
        extensions = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (usage("digital_signature", "content_commitment", "key_agreement"), True),
        ]
        name = change.pop("name", subject(emaid, "MO"))
        return self.make(name, issuer or self.sub2, **{"extensions": extensions, **change})

    def delegate(self, issuer: Made, uses: tuple[Any, ...] | None = None, **change: Any) -> Made:
        """A certificate that may answer OCSP requests for its issuer."""
        purposes = uses if uses is not None else (ExtendedKeyUsageOID.OCSP_SIGNING,)
        extensions = [(x509.ExtendedKeyUsage(purposes), False)]
        return self.make(subject("Responder"), issuer, **{"extensions": extensions, **change})

    def make(
        self,
        name: x509.Name,
        issuer: Made | None,
        *,
        extensions: list[tuple[Any, bool]],
        key: Key | None = None,
        begins: datetime | None = None,
        ends: datetime | None = None,
        responder_url: str | None = None,
        signed_with: Key | None = None,
    ) -> Made:
        """Any certificate; without an issuer it signs itself."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        signing = signed_with or (issuer.key if issuer is not None else own)
        url = self.responder_url if responder_url is None else responder_url
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer.certificate.subject if issuer is not None else name)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins or self.now - YEAR)
            .not_valid_after(ends or self.now + YEAR)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        if url and issuer is not None:
            builder = builder.add_extension(access(url), critical=False)
        by_hash = not isinstance(signing, ed448.Ed448PrivateKey)
        certificate = builder.sign(signing, hashes.SHA256() if by_hash else None)
        return Made(certificate, own, issuer, url)


def access(url: str) -> x509.AuthorityInformationAccess:
    place = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)]
    )


def ocsp_answer(
    made: Made,
    now: datetime,
    *,
    status: Status = Status.GOOD,
    this_update: datetime | None = None,
    lasts: timedelta | None = HOUR,
    signer: Made | None = None,
    brings: tuple[Made, ...] = (),
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A responder's answer about a certificate; by default its issuer's own."""
    issuer = made.issuer
    assert issuer is not None
    said = this_update or now
    by = signer or issuer
    revoked = status is Status.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=made.certificate,
        issuer=issuer.certificate,
        algorithm=algorithm or hashes.SHA256(),
        cert_status=status,
        this_update=said,
        next_update=said + lasts if lasts is not None else None,
        revocation_time=said if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    if brings:
        builder = builder.certificates([one.certificate for one in brings])
    by_hash = not isinstance(by.key, ed448.Ed448PrivateKey)
    signed = builder.sign(by.key, hashes.SHA256() if by_hash else None)
    return signed.public_bytes(serialization.Encoding.DER)
