"""TLS for security profiles 2 and 3: contexts, client certificates, new files without a restart.

TLS 1.2 or newer, RSA and ECDSA server certificates side by side (A8, A00.FR.313/318).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import structlog
from cryptography import x509

from voltbus_backbone.errors import SettingsError
from voltbus_backbone.tls import create_server_context
from voltbus_backbone.values.foreign import refuse_unreadable
from voltbus_gateway.door.client_trust import CertificateId, ClientTrust, is_weak

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = structlog.get_logger(__name__)

# Forward secrecy first; the last two are TLS_RSA_WITH_AES_*_GCM, which OCPP 2.0.1 demands of a
# central system for stations that can do no better (A00.FR.318). TLS 1.3 has its own list.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384"
)

Stamps = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A server certificate with its chain, and its key, as PEM files."""

    certificate: Path
    key: Path


class ReloadOutcome(Enum):
    """What reloading the files changed."""

    NOTHING = auto()
    SERVER = auto()  # a new server certificate: new handshakes show it
    TRUST = auto()  # other authorities or revocations: ``context`` is another one


class ServerTls:
    """The context of a listener, kept in step with its files.

    With ``client_ca`` a station must show a certificate of one of the authorities in that file
    (mutual TLS), and one that is not in ``revoked``, where that is given.
    """

    def __init__(
        self,
        pairs: tuple[KeyPair, ...],
        client_ca: Path | None = None,
        revoked: Path | None = None,
    ) -> None:
        self._pairs = pairs
        self._client_ca = client_ca
        self._revoked = revoked
        self.trust: ClientTrust | None = None
        self._server_stamps, self._trust_stamps = self._read_stamps()
        try:
            self.context, self.trust = self._make_context()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingsError(
                "VOLTBUS_TLS_*: a certificate, key, authority or revocation file cannot be used "
                f"({type(error).__name__}): give PEM files that belong together"
            ) from None

    def reload(self) -> ReloadOutcome:
        """Load the files again if any has changed.

        Open connections go on. Files that cannot be used (half written, not matching) leave the
        old ones in use. Contexts can only learn, so where authorities change there is a new one.
        Sessions begun under the old one cannot be resumed under it: their tickets die with it.
        """
        server, trust = self._read_stamps()
        if (server, trust) == (self._server_stamps, self._trust_stamps):
            return ReloadOutcome.NOTHING
        try:
            if trust != self._trust_stamps:
                self.context, self.trust = self._make_context()
                done = ReloadOutcome.TRUST
            else:
                self._try_pairs()
                self._load_pairs(self.context)
                done = ReloadOutcome.SERVER
        except (OSError, ValueError) as error:
            log.warning("tls.reload.failed", error=type(error).__name__)
            return ReloadOutcome.NOTHING
        self._server_stamps, self._trust_stamps = server, trust
        log.info("tls.reloaded", what=done.name.lower())
        return done

    def _make_context(self) -> tuple[ssl.SSLContext, ClientTrust | None]:
        context = create_server_context()
        context.set_ciphers(_CIPHERS)
        self._load_pairs(context)
        if self._client_ca is None:
            return context, None
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._client_ca)
        authorities, lists = self._client_ca.read_bytes(), self._read_lists()
        return context, ClientTrust(authorities, lists, datetime.now(UTC), self.trust)

    def _read_lists(self) -> bytes | None:
        if self._revoked is None:
            return None
        try:
            return self._revoked.read_bytes()
        except OSError:
            if self.trust is None:
                raise
            return b""  # none of any use: the ones before stay in force

    def _try_pairs(self) -> None:
        """Try the pairs on a spare context: one that has failed half way is of no use."""
        for pair in self._pairs:
            create_server_context().load_cert_chain(pair.certificate, pair.key)

    def _load_pairs(self, context: ssl.SSLContext) -> None:
        for pair in self._pairs:
            context.load_cert_chain(pair.certificate, pair.key)

    def _read_stamps(self) -> tuple[Stamps, Stamps]:
        pairs = [file for pair in self._pairs for file in (pair.certificate, pair.key)]
        trust = [file for file in (self._client_ca, self._revoked) if file is not None]
        return _read_file_stamps(pairs), _read_file_stamps(trust)


def _read_file_stamps(files: Sequence[Path]) -> Stamps:
    return tuple(_read_file_stamp(file) for file in files)


def _read_file_stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a client certificate that TLS has verified says of its holder.

    ``serial``: hex, lower case, no leading zeros. ``problem``: why it is refused all the same.
    """

    common_name: str | None
    organization: str | None
    serial: str | None
    certificate_id: CertificateId | None = None
    problem: str | None = None


def read_client_certificate(transport: Any, trust: ClientTrust | None) -> ClientCertificate | None:
    """Return the peer's certificate; None when it showed none."""
    found = transport.get_extra_info("peercert")
    if not found or trust is None:
        return None
    names: dict[str, str] = {}
    for group in found.get("subject", ()):
        for name, value in group:
            names.setdefault(name, value)
    issued, problem = _examine(transport, trust)
    serial = found.get("serialNumber")
    return ClientCertificate(
        common_name=names.get("commonName"),
        organization=names.get("organizationName"),
        serial=f"{int(serial, 16):x}" if serial else None,
        certificate_id=issued,
        problem=problem,
    )


def _examine(transport: Any, trust: ClientTrust) -> tuple[CertificateId | None, str | None]:
    der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    try:
        with refuse_unreadable(ValueError("a certificate cannot be read")):
            certificate = x509.load_der_x509_certificate(der)
            issued = trust.identify(certificate)
            if is_weak(certificate):
                return issued, "certificate_weak"
            return issued, trust.find_problem(issued)
    except ValueError:
        return None, "certificate_unreadable"
