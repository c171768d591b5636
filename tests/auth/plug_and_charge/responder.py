"""A real OCSP responder as a process: ``python -m auth.plug_and_charge.responder FOLDER``.

FOLDER holds ``issuers.pem`` (certificates and keys of those that it answers for), ``chain.pem``
(what its answers bring along) and ``statuses.json`` (serial number in hex to what becomes of a
request for it, see ``ANSWERS``; good when it is not named). All are read anew for each request.
The port is the only line on standard output; serial numbers asked for go to ``asked.txt``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from other_party import Handler, serve

if TYPE_CHECKING:
    from pathlib import Path

# good, revoked, unknown: a signed answer. outdated: a good one of yesterday. forged: signed by
# another authority. garbage: no OCSP. later: tryLater. broken: HTTP 500. moved: HTTP 302.
# silent: nothing, until the asker hangs up.
ANSWERS = (
    "good",
    "revoked",
    "unknown",
    "outdated",
    "forged",
    "garbage",
    "later",
    "broken",
    "moved",
    "silent",
)
_STATUSES = {"revoked": ocsp.OCSPCertStatus.REVOKED, "unknown": ocsp.OCSPCertStatus.UNKNOWN}
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n", re.DOTALL)
_KINDS = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())

Issuer = tuple[x509.Certificate, Any]


def issuers(folder: Path) -> list[Issuer]:
    """Each certificate is followed by its key."""
    blocks = [match.group() for match in _BLOCK.finditer((folder / "issuers.pem").read_bytes())]
    return [
        (
            x509.load_pem_x509_certificate(certificate),
            serialization.load_pem_private_key(key, password=None),
        )
        for certificate, key in zip(blocks[::2], blocks[1::2], strict=True)
    ]


def answer(folder: Path, body: bytes) -> tuple[int, bytes] | None:
    """HTTP status and body; None: stay silent."""
    request = ocsp.load_der_ocsp_request(body)
    statuses = json.loads((folder / "statuses.json").read_text())
    name = f"{request.serial_number:x}"
    with (folder / "asked.txt").open("a") as asked:
        asked.write(f"{name}\n")
    word = statuses.get(name, "good")
    if word == "silent":
        return None
    if word in {"broken", "moved"}:
        return (500 if word == "broken" else 302), b""
    if word == "garbage":
        return 200, b"<html>It works!</html>"
    if word == "later":
        later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
        return 200, later.public_bytes(serialization.Encoding.DER)
    return 200, signed(folder, request, word)


def signed(folder: Path, request: ocsp.OCSPRequest, word: str) -> bytes:
    """A signed answer."""
    known = issuers(folder)
    wanted = word != "forged"
    certificate, key = next(one for one in known if _named(one[0], request) is wanted)
    said = datetime.now(UTC) - timedelta(days=2 if word == "outdated" else 0)
    status = _STATUSES.get(word, ocsp.OCSPCertStatus.GOOD)
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    algorithm = next(kind for kind in _KINDS if kind.name == request.hash_algorithm.name)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        request.issuer_name_hash,
        request.issuer_key_hash,
        request.serial_number,
        algorithm,
        status,
        said,
        said + timedelta(hours=1),
        said if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
    brought = x509.load_pem_x509_certificates((folder / "chain.pem").read_bytes())
    made = builder.certificates(brought).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def _named(certificate: x509.Certificate, request: ocsp.OCSPRequest) -> bool:
    made = hashes.Hash(next(kind for kind in _KINDS if kind.name == request.hash_algorithm.name))
    made.update(certificate.subject.public_bytes())
    return made.finalize() == request.issuer_name_hash


class Responder(Handler):
    """One request."""

    content_type = "application/ocsp-response"

    def take(self, body: bytes) -> None:
        """Answer an OCSP request."""
        found = answer(self.folder, body)
        if found is None:
            self.stay_silent()
            return
        self.answer(*found)


if __name__ == "__main__":
    serve(Responder)
