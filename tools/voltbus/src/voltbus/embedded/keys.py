"""The secrets of a local stack, each made once and kept in its home, readable by its owner only."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from voltbus.embedded.folders import write_private

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "voltbus-local"
AUDIENCE = "voltbus"
SUBJECT = "local-operator"
SCOPE = (
    "stations:read stations:write tokens:read tokens:write transactions:read transactions:write "
    "agreements:read agreements:write commands:read commands:write authorizations:read"
)
LIFETIME = timedelta(days=30)
TOKEN_KEY_BYTES = 32
FIELD_KEY_BYTES = 96  # what client-side field encryption takes as a local master key


@dataclass(frozen=True, slots=True)
class Keys:
    """Files in the home's `keys` folder."""

    operator_private: Path  # ES256, signs operators' tokens; only we read it
    operator_public: Path  # verifies them; every service reads it
    token_key: Path  # auth: HMAC key of token references, base64
    field_key: Path  # auth: master key of encrypted fields, base64


def make_keys(folder: Path) -> Keys:
    """The keys of this folder; those that are missing are made."""
    keys = Keys(
        operator_private=folder / "operator-private.pem",
        operator_public=folder / "operator-public.pem",
        token_key=folder / "token-reference.key",
        field_key=folder / "field-encryption.key",
    )
    if not keys.operator_private.exists():
        write_private(keys.operator_private, _new_private_key())
    # Derived anew each time, so that the pair always fits.
    write_private(keys.operator_public, _public_of(keys.operator_private.read_bytes()))
    for path, size in ((keys.token_key, TOKEN_KEY_BYTES), (keys.field_key, FIELD_KEY_BYTES)):
        if not path.exists():
            write_private(path, base64.b64encode(os.urandom(size)))
    return keys


def operator_token(keys: Keys, now: datetime | None = None, scope: str = SCOPE) -> str:
    """A bearer token (JWT, ES256) for every REST route of this stack, good for thirty days."""
    now = now or datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "jti": secrets.token_hex(8),
        "scope": scope,
    }
    return jwt.encode(claims, keys.operator_private.read_bytes(), algorithm="ES256")


def _new_private_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_of(private_pem: bytes) -> bytes:
    private = serialization.load_pem_private_key(private_pem, password=None)
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
