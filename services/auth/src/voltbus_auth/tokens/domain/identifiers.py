"""Pseudonyms of id tokens: how a token is found without a readable index.

A token reference is an HMAC-SHA-256 of the token's type and folded value under a secret key. An
unkeyed hash of a 4 or 7 byte UID could be reversed by trying them all (ENISA on pseudonymisation).
Two tokens are equal when type and value are, whatever their case (OCPP 2.0.1 C01.FR.25); nothing
else is folded away, except the hyphens and the check digit that an eMAID may be written without,
and the blanks and NULs that a reader puts around a value (``voltbus_backbone.values.blanks``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from voltbus_backbone.values.blanks import trimmed
from voltbus_backbone.values.emaid import folded, is_hyphenated, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voltbus_backbone.contract.values import IdToken

SHORTEST_KEY = 32
_EMAID = "emaid"
_SHOWN_OF_SHORT = 2
_SHOWN_OF_LONG = 4
_LONG = 12


class TokenKey:
    """The secret under which references are made. ``id`` names the key without telling it.

    ``other``: the next key, or the one before, while one replaces the other. Stored tokens are then
    found under both; what is presented is looked up under the first alone.
    """

    def __init__(self, secret: bytes, other: TokenKey | None = None) -> None:
        if len(secret) < SHORTEST_KEY:
            raise ValueError(f"the token key needs at least {SHORTEST_KEY} bytes")
        self._secret = secret
        self._keys = (self,) if other is None else (self, other)
        self.id = hmac.digest(secret, b"voltbus key id", "sha256").hex()[:8]

    def __repr__(self) -> str:
        """Name the key only."""
        return f"TokenKey(id={self.id!r})"

    def derived(self, purpose: bytes) -> bytes:
        """A key for another purpose; it leads back to this one for nobody."""
        return hmac.digest(self._secret, b"voltbus key for " + purpose, "sha256")

    def ref(self, kind: str, value: str) -> str:
        """The reference of a value of a type; type "" is 1.6's idTag, which has none."""
        folded_kind = kind.casefold()
        value = trimmed(value)
        plain = value.casefold()
        if folded_kind == _EMAID:
            plain = _contract(value)
        text = f"{folded_kind}\0{plain}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, text, "sha256").hex()

    def presented(self, token: IdToken) -> str:
        """The reference under which a presented token is looked up."""
        return self.ref(token.type, token.value)

    def presented_otherwise(self, token: IdToken) -> str | None:
        """The same under the other key, by which it may have been known before."""
        return self._keys[-1].presented(token) if len(self._keys) > 1 else None

    def contracts(self, tokens: Iterable[IdToken]) -> dict[str, str]:
        """The references of eMAIDs that 1.6 spells with hyphens, by their presented references.

        Such a reference is the eMAID's own, which no token of another type has: so no two tokens
        become one, and tokens that are stored already are found.
        """
        return {
            self.presented(token): self.ref(_EMAID, token.value)
            for token in tokens
            if not token.type and is_hyphenated(trimmed(token.value))
        }

    def all_of(self, kind: str, value: str) -> list[str]:
        """Every reference under which a stored token is found; the first is its own.

        1.6 presents it without a type, an eMAID there without its hyphens too; with other hyphens
        than it was registered, it is found by ``contracts``.
        """
        refs = []
        for key in self._keys:
            refs += [key.ref(kind, value), key.ref("", value)]
            if kind.casefold() == _EMAID:
                refs += [key.ref("", _contract(value)), key.ref("", folded(value))]
        return list(dict.fromkeys(refs))

    def identities(self, kind: str, value: str) -> list[str]:
        """What makes it the same token: its reference under each key, the first one's first."""
        return [key.ref(kind, value) for key in self._keys]


def _contract(value: str) -> str:
    """An eMAID without hyphens and with its check digit, if it is one."""
    try:
        return normalise(value).casefold()
    except ValueError:
        return folded(value).casefold()


def read_key(content: bytes) -> bytes:
    """The key in a file: base64 text, or else the bytes as they are.

    Raises:
        ValueError: there are fewer than 32 bytes.
    """
    try:
        decoded = base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        decoded = b""
    key = decoded if len(decoded) >= SHORTEST_KEY else content
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"the token key needs at least {SHORTEST_KEY} bytes")
    return key


def masked(kind: str, value: str) -> str:
    """What an operator may see: the last characters, and nothing of a key code (C04.FR.04)."""
    if kind.casefold() == "keycode":
        return "…"
    shown = _SHOWN_OF_LONG if len(value) >= _LONG else _SHOWN_OF_SHORT
    return "…" + (value[-shown:] if len(value) > 2 * shown else "")


def short_id(*parts: object) -> str:
    """A stable identifier made from business keys (26 hex digits)."""
    digest = hashlib.blake2b(digest_size=13, person=b"voltbus-auth")
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(4))
        digest.update(text)
    return digest.hexdigest()
