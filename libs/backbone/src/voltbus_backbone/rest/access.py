"""Who may use the REST interface: operators' bearer tokens (JWT) and their scopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from voltbus_backbone.errors import Problem, SettingsError, Unavailable
from voltbus_backbone.tls import create_client_context

if TYPE_CHECKING:
    from voltbus_backbone.settings import ServiceSettings

ALGORITHMS = ["ES256", "RS256", "EdDSA"]
KEYS_KEPT_S = 300.0
_PROVIDER_TIMEOUT_S = 5.0
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a verified token's subject, the client it was issued to (RFC 9068), its scopes.

    ``client`` is empty when the token names none.
    """

    subject: str
    client: str
    scopes: frozenset[str]


class Operators:
    """Verifies bearer tokens against one public key (PEM file) or an identity provider's JWKS."""

    def __init__(self, settings: ServiceSettings, *, keys_kept_s: float = KEYS_KEPT_S) -> None:
        self._settings = settings
        self._key: str | None = None
        self._jwks: jwt.PyJWKClient | None = None
        if settings.operator_jwks_url:
            # Keys are kept with their set and no longer: one that the provider removes is trusted
            # for so long more, not for the life of the process.
            self._jwks = jwt.PyJWKClient(
                settings.operator_jwks_url,
                cache_keys=False,
                lifespan=keys_kept_s,
                timeout=_PROVIDER_TIMEOUT_S,
                ssl_context=create_client_context(),
            )
        elif settings.operator_key_file is not None:
            try:
                self._key = settings.operator_key_file.read_text()
            except OSError:
                raise SettingsError(
                    "VOLTBUS_OPERATOR_KEY_FILE cannot be read: give a PEM file with a public key"
                ) from None

    def caller(self, authorization: str | None) -> Caller:
        """Verify a bearer token, and say whose it is.

        Raises:
            Problem: 401 with what is missing or wrong with it, never quoting it.
            Unavailable: the identity provider does not answer, and its keys are not at hand.
        """
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _unauthorized("Send 'Authorization: Bearer <token>'.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._verification_key(token),
                algorithms=ALGORITHMS,
                audience=self._settings.operator_audience,
                issuer=self._settings.operator_issuer,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unauthorized("The token has expired: ask for a new one.") from None
        except jwt.PyJWKClientConnectionError:
            raise Unavailable("the identity provider does not answer") from None
        except jwt.PyJWTError:
            raise _unauthorized("The token is not valid here.") from None
        return Caller(
            subject=_name(claims.get("sub")) or "unknown",
            client=_name(claims.get("client_id") or claims.get("azp")),
            scopes=frozenset(str(claims.get("scope", "")).split()),
        )

    def _verification_key(self, token: str) -> Any:
        if self._jwks is not None:
            return self._jwks.get_signing_key_from_jwt(token).key
        if self._key is None:
            raise _unauthorized("No operator key is configured: set VOLTBUS_OPERATOR_KEY_FILE.")
        return self._key


def _name(claim: Any) -> str:
    """A claim as it is logged and stored: printable, and of bounded length."""
    text = "" if claim is None else str(claim)[:_LONGEST_NAME]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
