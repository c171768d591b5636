"""How strictly a peer's certificate is verified: the same on every version of Python (ADR 16)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from gateway.certificates import Authority, shake_hands, strict_context
from voltbus_backbone.tls import VERIFICATION, create_client_context, create_server_context

if TYPE_CHECKING:
    from pathlib import Path


def listener(authority: Authority) -> ssl.SSLContext:
    context = create_server_context()
    context.load_cert_chain(*authority.server())
    return context


@pytest.mark.parametrize("create", [create_server_context, create_client_context])
def test_the_version_of_python_does_not_decide(create: type[ssl.SSLContext]) -> None:
    """Python 3.13 changed the defaults; a service that moves to it must let the same peers in."""
    context = create()
    assert context.verify_flags == VERIFICATION
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_server_of_an_older_authority_is_believed(tmp_path: Path) -> None:
    """An operator's Kafka or identity provider may lack an Authority Key Identifier."""
    authority = Authority(tmp_path, old=True)
    shake_hands(listener(authority), create_client_context(authority.file))


def test_a_server_of_nobody_s_authority_is_refused(tmp_path: Path) -> None:
    """Less strict about form is not less strict about trust (RFC 5280 6.1)."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "Other CA")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(listener(other), create_client_context(Authority(tmp_path).file))


def test_another_server_s_name_is_refused(tmp_path: Path) -> None:
    """The name is verified (RFC 9525): the certificate must be the host's that was called."""
    authority = Authority(tmp_path)
    context = create_server_context()
    context.load_cert_chain(*authority.station("CP-1"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, create_client_context(authority.file))


def test_what_tests_issue_passes_the_strict_check(tmp_path: Path) -> None:
    """Our own certificates are well formed for peers that do verify strictly (RFC 5280 4.2.1)."""
    authority = Authority(tmp_path)
    shake_hands(listener(authority), strict_context(authority.file))
