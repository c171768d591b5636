"""TLS for security profiles 2 and 3: contexts, client certificates, new files without a restart.

TLS 1.2 or newer, RSA and ECDSA server certificates side by side (A8, A00.FR.313/318).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)

# Forward secrecy first; the last two are TLS_RSA_WITH_AES_*_GCM, which OCPP 2.0.1 demands of a
# central system for stations that can do no better (A00.FR.318). TLS 1.3 has its own list.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384"
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A server certificate with its chain, and its key, as PEM files."""

    certificate: Path
    key: Path


class ServerTls:
    """The context of a listener, kept in step with its files.

    With ``client_ca`` a station must show a certificate of that authority (mutual TLS).
    """

    def __init__(self, pairs: tuple[KeyPair, ...], client_ca: Path | None = None) -> None:
        self._pairs = pairs
        self._client_ca = client_ca
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(_CIPHERS)
        if client_ca is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
        self._stamps = self._look()
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                "VOLTBUS_TLS_*: a certificate, key or authority file cannot be used "
                f"({type(error).__name__}): give PEM files that belong together"
            ) from None

    def reload(self) -> bool:
        """Load the files again if any has changed; whether new ones are in use.

        New handshakes see them, open connections go on. Files that cannot be used (half written,
        not matching) leave the old ones in use. An authority that was taken out of the file is
        trusted until a restart: contexts can only learn.
        """
        stamps = self._look()
        if stamps == self._stamps:
            return False
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            log.warning("tls.reload.failed", error=type(error).__name__)
            return False
        self._stamps = stamps
        log.info("tls.reloaded")
        return True

    def _load(self) -> None:
        for pair in self._pairs:
            # Tried on the side first: a context that has failed half way is of no use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key)
        for pair in self._pairs:
            self.context.load_cert_chain(pair.certificate, pair.key)
        if self._client_ca is not None:
            self.context.load_verify_locations(self._client_ca)

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        files = [file for pair in self._pairs for file in (pair.certificate, pair.key)]
        if self._client_ca is not None:
            files.append(self._client_ca)
        return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a verified client certificate says of its holder. ``serial``: hex, as OCPP writes it."""

    common_name: str | None
    organization: str | None
    serial: str | None


def client_certificate(found: dict[str, Any] | None) -> ClientCertificate | None:
    """The subject of a peer's certificate as ``ssl`` gives it; None when there is none."""
    if not found:
        return None
    names: dict[str, str] = {}
    for group in found.get("subject", ()):
        for name, value in group:
            names.setdefault(name, value)
    return ClientCertificate(
        common_name=names.get("commonName"),
        organization=names.get("organizationName"),
        serial=_hex(found.get("serialNumber")),
    )


def _hex(serial: str | None) -> str | None:
    """Lower case, no leading zeros: the same number is always written alike."""
    return f"{int(serial, 16):x}" if serial else None
