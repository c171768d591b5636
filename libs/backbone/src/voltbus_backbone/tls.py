"""How strictly a peer's certificate is verified, the same on every version of Python.

``ssl.create_default_context`` became stricter in Python 3.13: it refuses a certificate without an
Authority Key Identifier, and takes an intermediate for an anchor. Stations live for fifteen years
with what an older authority gave them, so a new Python must not lock them out. The flags are set
here, once, and never taken from the version (docs/adr/0016-certificate-checks.md).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Chain, dates, purposes, basic constraints and the server's name are always verified. Left out are
# VERIFY_X509_STRICT (RFC 5280's demands on the form of extensions) and VERIFY_X509_PARTIAL_CHAIN.
VERIFICATION = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST


def create_server_context() -> ssl.SSLContext:
    """Return a context for a listener: TLS 1.2 or newer, without certificates yet."""
    return _prepare(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def create_client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a context that verifies a server's name and chain.

    ``ca_file``: PEM file of the authorities to trust; None: those of the machine.

    Raises:
        OSError: the file cannot be read, or is no PEM file of certificates (ssl.SSLError).
    """
    return _prepare(ssl.create_default_context(cafile=ca_file))


def _prepare(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = VERIFICATION
    return context
