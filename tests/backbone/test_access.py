"""Operators' tokens against an identity provider: keys come, go, and the provider may be away."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from voltbus_backbone.errors import Problem, Unavailable
from voltbus_backbone.rest.access import Operators
from voltbus_backbone.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


class Provider:
    """An identity provider's key set on loopback."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"keys": provider.published()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def published(self) -> list[dict[str, Any]]:
        return [
            {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": name, "use": "sig"}
            for name, key in self.keys.items()
        ]

    def add(self, name: str) -> None:
        self.keys[name] = ec.generate_private_key(ec.SECP256R1())

    def token(self, name: str, key: ec.EllipticCurvePrivateKey) -> str:
        claims = {
            "iss": "voltbus-local",
            "aud": "voltbus",
            "exp": time.time() + 60,
            "scope": "things:read",
        }
        text = jwt.encode(claims, key, algorithm="ES256", headers={"kid": name})
        return f"Bearer {text}"

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    running.add("first")
    running.add("second")
    yield running
    running.stop()


def operators(provider: Provider, keys_kept_s: float = 300.0) -> Operators:
    port = provider.server.server_port
    url = f"http://127.0.0.1:{port}/jwks"
    return Operators(ServiceSettings(http_port=0, operator_jwks_url=url), keys_kept_s=keys_kept_s)


def is_refused(door: Operators, token: str) -> bool:
    try:
        door.caller(token)
    except Problem as problem:
        return problem.status == 401
    return False


def test_a_removed_key_is_not_trusted_for_ever(provider: Provider) -> None:
    """A stolen key that the provider has taken out opens nothing once the set was read again."""
    door = operators(provider, keys_kept_s=0.01)
    stolen = provider.token("first", provider.keys["first"])
    assert door.caller(stolen).scopes == {"things:read"}
    del provider.keys["first"]
    deadline = time.monotonic() + 10
    while not is_refused(door, stolen):
        assert time.monotonic() < deadline
    assert door.caller(provider.token("second", provider.keys["second"])).scopes == {"things:read"}


def test_the_set_is_not_fetched_for_each_request(provider: Provider) -> None:
    """Keys at hand go on while the provider is away for a moment."""
    door = operators(provider)
    token = provider.token("first", provider.keys["first"])
    assert door.caller(token).scopes
    provider.server.server_close()
    assert door.caller(token).scopes == {"things:read"}


def test_a_provider_that_is_away_is_no_fault_of_the_token(provider: Provider) -> None:
    """503 and try again, not 401: the caller's token may be good (RFC 9110 15.6.4)."""
    door = operators(provider)
    token = provider.token("first", provider.keys["first"])
    provider.stop()
    with pytest.raises(Unavailable):
        door.caller(token)
