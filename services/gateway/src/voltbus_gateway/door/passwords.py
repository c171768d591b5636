"""Checking a station's password against the verifiers that auth gave (pure; no I/O).

``sha256`` is SHA-256 over salt and password, for generated passwords of at least 128 random bits;
``scrypt`` takes tens of milliseconds on purpose, so its caller puts it in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.contract.auth import PasswordVerifier

# An AuthorizationKey is 16 to 20 bytes, so 32 to 40 hex digits (1.6 Security Whitepaper, A00).
_KEY_BYTES = range(16, 21)
# A verifier that asks for more work than this is a mistake, and would stop the process.
_MOST_SCRYPT_MEMORY = 256 * 1024 * 1024


def list_variants(password: bytes, protocol: Protocol, *, hex_password: bool) -> tuple[bytes, ...]:
    """Return the byte strings that this password may mean, the likeliest first.

    In 1.6 the key travels over OCPP as hex digits while the Basic header carries the decoded
    bytes, so what is stored may be either (A5). ``hex_password`` marks a station that sends the
    digits verbatim where the decoded bytes are stored. Each pair is one secret in two spellings.
    """
    found = [password]
    if protocol is Protocol.OCPP16 and len(password) in _KEY_BYTES:
        digits = password.hex().encode()
        found += [digits, digits.upper()]
    if hex_password:
        try:
            found.append(bytes.fromhex(password.decode("ascii")))
        except ValueError:
            return tuple(found)
    return tuple(found)


def is_slow(verifiers: Sequence[PasswordVerifier]) -> bool:
    """Return whether checking needs a thread."""
    return any(verifier.algorithm == "scrypt" for verifier in verifiers)


def find_match(
    candidates: Sequence[bytes], verifiers: Sequence[PasswordVerifier]
) -> PasswordVerifier | None:
    """Return the verifier that one of the candidates matches, if any."""
    for verifier in verifiers:
        if any(_matches(candidate, verifier) for candidate in candidates):
            return verifier
    return None


def _matches(password: bytes, verifier: PasswordVerifier) -> bool:
    try:
        salt = bytes.fromhex(verifier.salt)
        wanted = bytes.fromhex(verifier.digest)
    except ValueError:
        return False
    if verifier.algorithm == "sha256":
        found = hashlib.sha256(salt + password).digest()
    elif verifier.algorithm == "scrypt":
        stretched = _stretch(password, salt, verifier, len(wanted))
        if stretched is None:
            return False
        found = stretched
    else:
        return False
    return hmac.compare_digest(found, wanted)


def _stretch(password: bytes, salt: bytes, verifier: PasswordVerifier, length: int) -> bytes | None:
    memory = 128 * verifier.r * (verifier.n + verifier.p + 2)
    if not 0 < memory <= _MOST_SCRYPT_MEMORY:
        return None
    try:
        return hashlib.scrypt(
            password,
            salt=salt,
            n=verifier.n,
            r=verifier.r,
            p=verifier.p,
            maxmem=2 * memory,
            dklen=length,
        )
    except ValueError:
        return None
