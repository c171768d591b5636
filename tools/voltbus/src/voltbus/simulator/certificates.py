"""The certificates of a simulated station: roots it trusts, and its own (A02, M03-M05).

``Certificates`` is the store; ``certificate_answers`` are the CALLs of the central system about
it, the same in 1.6's security extension and in 2.x but for the listing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voltbus.simulator.wire import Payload

MOST_INSTALLED = 20
OWN = "ChargingStationCertificate"
HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


def hash_data(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithm: str = "SHA256"
) -> dict[str, Any]:
    """Return CertificateHashDataType of a certificate (RFC 6960 CertID, as OCPP wants it)."""
    key = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": _digest(certificate.issuer.public_bytes(), algorithm),
        "issuerKeyHash": _digest(_key_bits(key), algorithm),
        "serialNumber": f"{certificate.serial_number:x}",
    }


def _digest(data: bytes, algorithm: str) -> str:
    digest = hashes.Hash(HASHES[algorithm])
    digest.update(data)
    return digest.finalize().hex()


def _key_bits(public_key_info: bytes) -> bytes:
    """Return the bare subjectPublicKey of a DER SubjectPublicKeyInfo.

    The bit string is the last element of the outer sequence: skip the algorithm before it.
    """
    body, _ = _element(public_key_info)
    _, rest = _element(body)
    bits, _ = _element(rest)
    return bits[1:]


def _element(der: bytes) -> tuple[bytes, bytes]:
    """Return the content of the first DER element, and what follows the element."""
    length, start = der[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    return der[start : start + length], der[start + length :]


@dataclass(slots=True)
class Certificates:
    """What is installed, by use, and the station's own keys and chains, by their use."""

    installed: list[tuple[str, x509.Certificate]] = field(default_factory=list)
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict, repr=False)
    chains: dict[str, list[x509.Certificate]] = field(default_factory=dict)

    @property
    def key(self) -> ec.EllipticCurvePrivateKey | None:
        """The key for which it last asked for a certificate to log in with."""
        return self.keys.get(OWN)

    @property
    def chain(self) -> list[x509.Certificate]:
        """The certificate that it logs in with, then those above it."""
        return self.chains.get(OWN, [])

    def install(self, use: str, pem: str) -> str:
        """Trust a root for a use; Rejected for what is no certificate (M05.FR.03)."""
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
        except ValueError:
            return "Rejected"
        if len(self.installed) >= MOST_INSTALLED:
            return "Failed"
        self.installed = [(u, c) for u, c in self.installed if (u, c) != (use, certificate)]
        self.installed.append((use, certificate))
        return "Accepted"

    def delete(self, wanted: Payload) -> str:
        """Remove an installed certificate by its hash data (M04)."""
        keep = [
            (use, certificate)
            for use, certificate in self.installed
            if not _same(hash_data(certificate, certificate, wanted["hashAlgorithm"]), wanted)
        ]
        gone = len(self.installed) - len(keep)
        self.installed = keep
        return "Accepted" if gone else "NotFound"

    def listed(self, uses: Sequence[str]) -> list[tuple[str, Payload]]:
        """Return use and hash data of what is installed; no uses: of all (M03)."""
        return [
            (use, hash_data(certificate, certificate))
            for use, certificate in self.installed
            if not uses or use in uses
        ]

    def request(self, common_name: str, organization: str, use: str = OWN) -> str:
        """Make a new key and return a signing request for it (A02.FR.02)."""
        key = self.keys[use] = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            ]
        )
        made = x509.CertificateSigningRequestBuilder().subject_name(subject)
        request = made.sign(key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def take_signed(self, chain: str, use: str = OWN) -> str:
        """Take a signed chain, if it is for the key we asked for (A02.FR.06)."""
        try:
            certificates = x509.load_pem_x509_certificates(chain.encode())
        except ValueError:
            return "Rejected"
        key = self.keys.get(use)
        if key is None or certificates[0].public_key() != key.public_key():
            return "Rejected"
        self.chains[use] = certificates
        return "Accepted"


def _same(have: Payload, wanted: Payload) -> bool:
    """Compare hash data: hex is case-insensitive, a serial number may have leading zeros."""
    return all(
        have[name].lower().lstrip("0") == str(wanted[name]).lower().lstrip("0")
        for name in ("issuerNameHash", "issuerKeyHash", "serialNumber")
    )


def certificate_answers(
    certificates: Certificates, *, chained: bool
) -> dict[str, Callable[[Payload], Payload]]:
    """Return the answers about certificates; ``chained``: the listing has 2.x's shape."""

    def list_them(payload: Payload) -> Payload:
        uses = payload.get("certificateType", [])
        found = certificates.listed([uses] if isinstance(uses, str) else uses)
        if not found:
            return {"status": "NotFound"}
        if not chained:
            return {"status": "Accepted", "certificateHashData": [data for _, data in found]}
        rows = [{"certificateType": use, "certificateHashData": data} for use, data in found]
        return {"status": "Accepted", "certificateHashDataChain": rows}

    return {
        "CertificateSigned": lambda payload: {
            "status": certificates.take_signed(
                payload["certificateChain"], payload.get("certificateType", OWN)
            )
        },
        "DeleteCertificate": lambda payload: {
            "status": certificates.delete(payload["certificateHashData"])
        },
        "GetInstalledCertificateIds": list_them,
        "InstallCertificate": lambda payload: {
            "status": certificates.install(payload["certificateType"], payload["certificate"])
        },
    }
