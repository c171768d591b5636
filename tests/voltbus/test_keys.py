"""The secrets of a local stack."""

from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt

from voltbus.embedded.keys import AUDIENCE, ISSUER, SCOPE, make_keys, operator_token

if TYPE_CHECKING:
    from pathlib import Path


def test_the_operator_token_is_what_services_verify(tmp_path: Path) -> None:
    """ES256 by the public key file; issuer, audience, subject and scope as services expect."""
    keys = make_keys(tmp_path)
    now = datetime.now(UTC)
    claims = jwt.decode(
        operator_token(keys, now),
        keys.operator_public.read_bytes(),
        algorithms=["ES256"],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"require": ["exp", "iat", "sub"]},
    )
    assert claims["sub"] == "local-operator"
    assert claims["scope"] == SCOPE
    assert claims["exp"] - claims["iat"] == timedelta(days=30).total_seconds()


def test_a_second_start_keeps_every_key(tmp_path: Path) -> None:
    """Tokens that were handed out stay good, and stored references and fields readable."""
    first = make_keys(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert make_keys(tmp_path) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    """Every file is of mode 0600, and no half-written one is left beside it."""
    make_keys(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4


def test_the_key_files_have_the_lengths_that_auth_expects(tmp_path: Path) -> None:
    """32 bytes for token references; 96 for client-side field encryption's master key."""
    keys = make_keys(tmp_path)
    assert len(base64.b64decode(keys.token_key.read_bytes())) == 32
    assert len(base64.b64decode(keys.field_key.read_bytes())) == 96
