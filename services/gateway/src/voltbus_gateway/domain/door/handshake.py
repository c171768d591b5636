"""What a station's opening request says, as stations and people really write it (A1-A5).

Read leniently where only one meaning is possible: a URL that was typed with a slash too many, a
word in other letters, base64 without padding. Nothing here decides who is let in.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_to_bytes

from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.values.blanks import trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTITY_LIMIT = 48  # 2.x Part 4 §3.1.1; 1.6 names no limit

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")
_SPELLINGS = {protocol.value: protocol for protocol in Protocol}
_STANDARD = bytes.maketrans(b"-_", b"+/")


class CredentialsError(ValueError):
    """The header holds no user and password. ``reason`` is a label for metrics and logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_station_id(target: str, endpoint: str) -> str | None:
    """Return the station id in a request target under our endpoint; None: there is none (A1).

    ``target`` is in origin form, or in absolute form, which any server has to accept (RFC 9112
    §3.2.2). A query is ignored, as are empty segments: ``/ocpp//ID`` and ``/ocpp/ID/`` are what
    typing produces.
    """
    found = read_path(target)
    if not found.startswith("/"):
        return None
    *head, last = _split_segments(found) or [""]
    if [unquote(part) for part in head] != _split_segments(endpoint):
        return None
    return read_identity(last.encode())


def read_path(target: str) -> str:
    """Return the path of a request target, without authority and query: both may hold a secret."""
    absolute = _ABSOLUTE.match(target)
    return target[absolute.end() if absolute else 0 :].partition("?")[0]


def _split_segments(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def read_identity(written: bytes) -> str | None:
    """Return the identity that this spells, percent-encoded or plain; None: it is none (A1).

    No identity holds a percent sign, so what is still encoded was encoded twice. Blanks around it
    were typed.
    """
    decoded = unquote_to_bytes(written)
    if _ENCODED.search(decoded):
        decoded = unquote_to_bytes(decoded)
    try:
        name = trimmed(decoded.decode())
    except UnicodeDecodeError:
        return None
    if not 0 < len(name) <= IDENTITY_LIMIT or ":" in name or not name.isprintable():
        return None
    return name


def choose_protocol(offered: Sequence[str]) -> tuple[Protocol, str] | None:
    """Return the first subprotocol of the station's list that we speak, and how it spells it (A2).

    Names are compared without regard to case; the answer repeats the station's own spelling, which
    is what its library compares with (RFC 6455 §4.1).
    """
    for name in offered:
        protocol = _SPELLINGS.get(name.lower())
        if protocol is not None:
            return protocol, name
    return None


def read_credentials(authorization: Sequence[str]) -> tuple[bytes, bytes]:
    """Return user and password of a Basic header, as bytes (A4, A5; RFC 7617).

    A 1.6 password is a key and need not be UTF-8 (Whitepaper, A00.FR.205). Base64 may lack its
    padding or use the alphabet for URLs, which share no character with another meaning.

    Raises:
        CredentialsError: there is no such header, or nothing can be read from it.
    """
    if len(authorization) != 1:
        raise CredentialsError("credentials_missing")
    scheme, *rest = authorization[0].split(None, 1) or [""]
    if scheme.lower() != "basic":
        raise CredentialsError("credentials_missing")
    encoded = rest[0].strip().encode("utf-8", "surrogateescape") if rest else b""
    encoded = encoded.rstrip(b"=").translate(_STANDARD)
    try:
        decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CredentialsError("credentials_malformed") from None
    user, colon, password = decoded.partition(b":")
    if not colon:
        raise CredentialsError("credentials_malformed")
    return user, password
