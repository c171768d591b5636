"""Health, bearer tokens and problem documents, the same for every service."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Request  # noqa: TC002 - FastAPI reads annotations at run time
from pydantic import BaseModel

from voltbus_backbone.errors import Problem, SettingsError, Unavailable, not_found
from voltbus_backbone.observability import READY
from voltbus_backbone.rest import Router, body_of, build_app, include, scope
from voltbus_backbone.rest.access import Operators
from voltbus_backbone.service import _listen
from voltbus_backbone.settings import ServiceSettings, StoreSettings, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI

KEY = ec.generate_private_key(ec.SECP256R1())


class Body(BaseModel):
    """A body with a secret in it."""

    password: int


router = Router()


@router.get("/v1/things", dependencies=[scope("things:read")])
async def things() -> dict[str, str]:
    """Answer whoever may read."""
    return {"ok": "yes"}


@router.post("/v1/things", dependencies=[scope("things:write")])
async def make(body: Body) -> dict[str, int]:
    """Take a body."""
    return {"password": body.password}


@router.post(
    "/v1/files", dependencies=[scope("things:write"), body_of(20 * 1024 * 1024, streamed=True)]
)
async def read_file(request: Request) -> int:
    """Read a body of up to 20 MiB piece by piece; how many bytes it had."""
    return sum([len(piece) async for piece in request.stream()])


@router.get("/v1/broken/{how}")
async def broken(how: str) -> None:
    """Fail in a way of the caller's choice."""
    raise {
        "missing": not_found("thing"),
        "away": Unavailable("MongoDB is away"),
        "bug": ZeroDivisionError("secret DEADBEEF"),
        "conflict": Problem(409, "conflict", "No.", errors=[{"field": "a", "message": "b"}]),
    }[how]


def app_with(settings: ServiceSettings, *, ready: bool = True) -> FastAPI:
    app = build_app("test", Operators(settings), lambda: {"kafka": ready, "mongo": True})
    include(app, [router], None)
    return app


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    """Settings whose operator key is ours."""
    file = tmp_path / "operator.pem"
    file.write_bytes(
        KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return ServiceSettings(http_port=0, operator_key_file=file)


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def token(**claims: object) -> dict[str, str]:
    standard = {
        "sub": "someone",
        "iss": "voltbus-local",
        "aud": "voltbus",
        "exp": time.time() + 60,
        "scope": "things:read",
    }
    text = jwt.encode({**standard, **claims}, KEY, algorithm="ES256")
    return {"Authorization": f"Bearer {text}"}


async def test_health_and_readiness_are_two_things(settings: ServiceSettings) -> None:
    """A process that waits for Kafka is alive, but takes no work (503 on /readyz)."""
    async with client(app_with(settings, ready=False)) as http:
        assert (await http.get("/healthz")).status_code == 200
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "checks": {"kafka": False, "mongo": True}}


async def test_metrics_are_in_the_prometheus_format(settings: ServiceSettings) -> None:
    """Prometheus can scrape every service."""
    async with client(app_with(settings)) as http:
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"{READY._name} " in answer.text


@pytest.mark.parametrize(
    ("shown", "status", "words"),
    [
        ("", 401, "Bearer"),
        ("Basic eDp5", 401, "Bearer"),
        ("Bearer not.a.token", 401, "not valid"),
        ({"exp": 1}, 401, "expired"),
        ({"aud": "another"}, 401, "not valid"),
        ({"iss": "another"}, 401, "not valid"),
        ({"scope": "things:write"}, 403, "things:read"),
    ],
)
async def test_who_may_not_is_told_why(
    settings: ServiceSettings, shown: str | dict[str, object], status: int, words: str
) -> None:
    """401 without a valid bearer token, 403 without the scope, as a problem (RFC 6750, 9457)."""
    headers = token(**shown) if isinstance(shown, dict) else {"Authorization": shown}
    async with client(app_with(settings)) as http:
        answer = await http.get("/v1/things", headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert (status == 401) == ("www-authenticate" in answer.headers)


async def test_an_unsigned_token_opens_nothing(settings: ServiceSettings) -> None:
    """`alg: none` is no signature."""
    claims = {"iss": "voltbus-local", "aud": "voltbus", "exp": time.time() + 60}
    text = jwt.encode({**claims, "scope": "things:read"}, "", algorithm="none")
    async with client(app_with(settings)) as http:
        answer = await http.get("/v1/things", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 401


async def test_the_right_scope_opens(settings: ServiceSettings) -> None:
    """A valid token with the scope is let in."""
    async with client(app_with(settings)) as http:
        answer = await http.get("/v1/things", headers=token())
    assert answer.json() == {"ok": "yes"}


async def test_a_bad_body_names_its_fields_and_quotes_nothing(settings: ServiceSettings) -> None:
    """A validation problem never repeats the value: it could be a password."""
    async with client(app_with(settings)) as http:
        answer = await http.post(
            "/v1/things", headers=token(scope="things:write"), json={"password": "DEADBEEF"}
        )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "password"
    assert "DEADBEEF" not in answer.text


@pytest.mark.parametrize(
    ("how", "status", "kind"),
    [
        ("missing", 404, "not-found"),
        ("away", 503, "unavailable"),
        ("bug", 500, "internal-error"),
        ("conflict", 409, "conflict"),
    ],
)
async def test_every_failure_is_a_problem_document(
    settings: ServiceSettings, how: str, status: int, kind: str
) -> None:
    """Whatever happens, the caller reads a problem and never a stack trace (RFC 9457)."""
    async with client(app_with(settings)) as http:
        answer = await http.get(f"/v1/broken/{how}", headers=token())
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:voltbus:problem:{kind}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "DEADBEEF" not in answer.text


async def test_an_unknown_route_is_a_problem_too(settings: ServiceSettings) -> None:
    """404 of the router has the same shape as ours."""
    async with client(app_with(settings)) as http:
        answer = await http.get("/v1/nothing")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not found")


def test_settings_errors_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts a service wrongly reads which variable is missing, without its value."""
    for name in ("VOLTBUS_MONGO_URI", "VOLTBUS_MONGO_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VOLTBUS_HTTP_PORT", "seventy-DEADBEEF")
    with pytest.raises(SettingsError) as caught:
        load(StoreSettings)
    assert "VOLTBUS_MONGO_URI" in str(caught.value)
    assert "VOLTBUS_HTTP_PORT" in str(caught.value)
    assert "DEADBEEF" not in str(caught.value)


@pytest.mark.stack
@pytest.mark.parametrize("service", ["gateway", "auth", "config", "agreements"])
async def test_a_service_with_unusable_settings_exits_2_with_one_line(service: str) -> None:
    """No stack trace on the command line: one line that names the variable, exit code 2."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VOLTBUS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"voltbus_{service}",
        env={**environment, "VOLTBUS_HTTP_PORT": "x"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert len(errors.decode().splitlines()) == 1
    assert "VOLTBUS_HTTP_PORT" in errors.decode()


async def test_a_body_without_end_is_refused(settings: ServiceSettings) -> None:
    """More than the route takes is 413, also when no Content-Length says so beforehand."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1024 * 1024

    async with client(app_with(settings)) as http:
        answer = await http.post(
            "/v1/things", headers=token(scope="things:write"), content=endless()
        )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("mebibytes", "status"), [(18, 200), (22, 413)])
async def test_a_route_may_take_more(
    settings: ServiceSettings, mebibytes: int, status: int
) -> None:
    """A route that reads piece by piece allows larger bodies, and has a limit of its own."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(mebibytes):
            yield b"x" * 1024 * 1024

    async with client(app_with(settings)) as http:
        answer = await http.post("/v1/files", content=pieces(), headers=token(scope="things:write"))
    assert answer.status_code == status
    assert ("20480 KiB" in answer.text) == (status == 413)


def test_a_body_waits_for_no_acknowledgement_of_its_headers() -> None:
    """Nagle's algorithm is off: else each answer on a kept connection is 40 ms late."""
    with (
        _listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
