"""Station credentials: passwords that are made or chosen, and the verifiers that are kept.

A generated password is 160 random bits as 40 hex digits: the one form that fits every version. 1.6
carries it over OCPP as the digits of ``AuthorizationKey`` and sends the decoded 20 bytes in its
Basic header, 2.x sends the 40 characters as they are (OCPP 1.6 Security Whitepaper A00.FR.205;
2.0.1 BasicAuthPassword is 16 to 40 characters). Verifiers are salted: SHA-256 for generated
passwords, which nobody can guess, so that a fleet that reconnects needs no hours of key
stretching; scrypt for those that a person chose.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.auth import PasswordVerifier, StationLoginAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

SHORTEST = 16
LONGEST = 64
_GENERATED_BYTES = 20
_SALT_BYTES = 16
_SCRYPT_N = 2**14
_SCRYPT_R = 8
_SCRYPT_P = 1
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the door needs of a station. ``verifiers``: the newest first.

    ``change_id`` is the rotation or upgrade that is open.
    """

    station_id: str
    minimum_profile: int
    verifiers: tuple[PasswordVerifier, ...]
    hex_password: bool = False
    serial_number: str | None = None
    revision: int = 1
    updated_at: datetime | None = None
    change_id: str | None = None


def generate(random_bytes: Callable[[int], bytes]) -> str:
    """A new password: 40 hex digits of 160 random bits."""
    return random_bytes(_GENERATED_BYTES).hex()


def fast_verifier(password: str, random_bytes: Callable[[int], bytes]) -> PasswordVerifier:
    """For a generated password only: one salted SHA-256."""
    salt = random_bytes(_SALT_BYTES)
    digest = hashlib.sha256(salt + password.encode()).hexdigest()
    return named(PasswordVerifier(algorithm="sha256", salt=salt.hex(), digest=digest))


def slow_verifier(password: str, random_bytes: Callable[[int], bytes]) -> PasswordVerifier:
    """For a password that a person chose: scrypt (16 MiB, tens of milliseconds on purpose)."""
    salt = random_bytes(_SALT_BYTES)
    digest = hashlib.scrypt(
        password.encode(),
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        dklen=_DIGEST_BYTES,
    )
    return named(
        PasswordVerifier(
            algorithm="scrypt",
            salt=salt.hex(),
            digest=digest.hex(),
            n=_SCRYPT_N,
            r=_SCRYPT_R,
            p=_SCRYPT_P,
        )
    )


def named(verifier: PasswordVerifier) -> PasswordVerifier:
    """With its name: a hash of its salt, which is random and knows nothing of the password."""
    text = b"voltbus credential" + bytes.fromhex(verifier.salt)
    return msgspec.structs.replace(verifier, id=hashlib.sha256(text).hexdigest()[:16])


def problems(password: str) -> list[str]:
    """What is wrong with a chosen password, in words; empty when nothing is (A5)."""
    found = []
    if not SHORTEST <= len(password) <= LONGEST:
        found.append(f"give {SHORTEST} to {LONGEST} characters")
    if not password.isprintable():
        found.append("leave out control characters")
    return found


def answer(
    credentials: Credentials | None, *, registered: bool, security_profile: int
) -> StationLoginAnswer:
    """What the gateway is told of a station that knocks at a listener of this profile.

    ``registered``: config knows the station. A station that nobody knows gets 404 (A1). A listener
    below the station's minimum profile is refused (A00.FR.002). Profile 0 needs no password; it
    exists in development only, since only there a gateway listens so.
    """
    if credentials is None:
        return StationLoginAnswer(
            known=registered, allowed=registered and security_profile == 0, minimum_profile=0
        )
    allowed = security_profile >= credentials.minimum_profile and (
        security_profile == 3 or bool(credentials.verifiers)  # noqa: PLR2004 - mutual TLS
    )
    return StationLoginAnswer(
        known=True,
        allowed=allowed,
        minimum_profile=credentials.minimum_profile,
        verifiers=credentials.verifiers,
        hex_password=credentials.hex_password,
        serial_number=credentials.serial_number,
    )
