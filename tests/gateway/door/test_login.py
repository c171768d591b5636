"""Who is let in: every refusal at the door, before the upgrade (A1-A5)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from gateway.stage import (
    DEADLINE_S,
    PASSWORD,
    SALT,
    Stage,
    basic,
    known_station,
    soon,
    verifier,
)
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import PasswordVerifier
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.door.login import LoginHandler, LoginRequest
from voltbus_gateway.door.refusals import LoginRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.http11 import Response


async def refusal(stage: Stage, station_id: str = "CP-1", **options: Any) -> Response:
    """The HTTP answer of a refused upgrade."""
    with pytest.raises(InvalidStatus) as caught:
        await stage.socket(station_id, **options)
    return caught.value.response


async def send_opening_request(
    stage: Stage,
    target: str,
    authorization: str | None = None,
    *,
    offered: str = "ocpp1.6",
    host: str = "voltbus.example",
) -> bytes:
    """The head of the answer to an opening request that is written by hand, as ``SE*ABC``."""
    header = authorization or basic("SE*ABC", PASSWORD)["Authorization"]
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.listeners.port())
    writer.write(
        (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {header}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            f"Sec-WebSocket-Protocol: {offered}\r\n\r\n"
        ).encode("latin-1")
    )
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    return head


def make_scrypt_verifier(password: str) -> PasswordVerifier:
    """The verifier that auth keeps for a password that an operator chose."""
    salt = bytes.fromhex(SALT)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1, dklen=32)
    return PasswordVerifier(algorithm="scrypt", salt=SALT, digest=digest.hex(), n=2, r=8, p=1)


async def log_in(
    login_handler: LoginHandler, password: str, station_id: str = "CP-1"
) -> LoginRefusedError | None:
    """Log in from the one address of a site; return the refusal, None when it was admitted."""
    authorization = [basic(station_id, password)["Authorization"]]
    shown = LoginRequest(station_id, Protocol.OCPP16, "192.0.2.1", authorization=authorization)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await login_handler.admit(shown)
    except LoginRefusedError as refused:
        return refused
    return None


async def hold_no_place(_station_id: str) -> float:
    """No identity is contested."""
    return 0.0


@contextlib.contextmanager
def login_with_frozen_clock(stage: Stage) -> Iterator[LoginHandler]:
    """A door of its own in front of the stage's auth: no wait ends by itself."""
    login_handler = LoginHandler(
        stage.settings,
        stage.requester,
        open_now=lambda: True,
        connections=lambda: 0,
        remaining_hold_s=hold_no_place,
        clock=lambda: 0.0,
    )
    try:
        yield login_handler
    finally:
        login_handler.close()


async def test_an_unknown_station_gets_404(stage: Stage) -> None:
    """A1: an identity that nobody registered is HTTP 404."""
    assert (await refusal(stage, "CP-unknown")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ocpp",
        "/ocpp/",
        "/other/CP-1",
        "/ocpp/a/CP-1",
        "/ocpp/CP%3A1",
        "/ocpp/%FF%FE",
        "/ocpp/" + "x" * 49,
        "/ocpp/CP%0A1",
        "/ocpp/CP%00-1",
        "/ocpp/%20",
    ],
)
async def test_a_path_without_an_identity_gets_404(stage: Stage, path: str) -> None:
    """A1: at most 48 characters, no colon, percent-encoded UTF-8 under our endpoint."""
    stage.services.logins["CP-1"] = known_station()
    url = f"ws://127.0.0.1:{stage.gateway.listeners.port()}{path}"
    assert (await refusal(stage, url=url)).status_code == 404


@pytest.mark.parametrize(
    "target",
    [
        "http://voltbus.example:9000/ocpp/SE*ABC",
        "HTTP://voltbus.example/ocpp/SE*ABC?x=http://y/z",
        "ws://voltbus.example/ocpp/SE*ABC",
        "/ocpp//SE*ABC",
        "//ocpp/SE*ABC/",
        "/ocpp/SE%2AABC",
        "/ocpp/SE%2aABC",
        "/%6Fcpp/SE*ABC",
        "/ocpp/SE%252AABC",
        "/ocpp/SE*ABC%20",
        "/ocpp/SE*ABC%00",
    ],
)
async def test_a_url_as_it_is_typed_or_sent_by_cheap_firmware(stage: Stage, target: str) -> None:
    """RFC 9112 §3.2.2 (absolute form); one slash too many, encoded twice, a blank at the end."""
    stage.services.logins["SE*ABC"] = known_station()
    assert (await send_opening_request(stage, target)).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("target", ["SE*ABC", "http://", "http://voltbus.example", "/SE*ABC", "*"])
async def test_a_request_target_without_an_identity_gets_404(stage: Stage, target: str) -> None:
    """A1: whatever it is made of, it is a refusal and no fault of ours."""
    stage.services.logins["SE*ABC"] = known_station()
    assert (await send_opening_request(stage, target)).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("ocpp1.6,ocpp2.0.1", "ocpp1.6"),
        ("OCPP1.6", "OCPP1.6"),
        ("soap, Ocpp2.0.1", "Ocpp2.0.1"),
        (",ocpp1.6 ,", "ocpp1.6"),
    ],
)
async def test_a_subprotocol_is_answered_as_the_station_spells_it(
    stage: Stage, offered: str, chosen: str
) -> None:
    """A2; a client looks for its own spelling in the answer (RFC 6455 §4.1)."""
    stage.services.logins["SE*ABC"] = known_station()
    answer = await send_opening_request(stage, "/ocpp/SE*ABC", offered=offered)
    assert f"Sec-WebSocket-Protocol: {chosen}\r\n".encode() in answer


def encode_basic(text: str) -> str:
    """Base64 of user and password."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic " + encode_basic(f"SE*ABC:{PASSWORD}").rstrip("="),
        "basic  " + encode_basic(f"SE*ABC:{PASSWORD}"),
        "BASIC\t" + encode_basic(f"SE*ABC:{PASSWORD}") + " ",
        "Basic " + encode_basic(f"SE*ABC :{PASSWORD}"),
        "Basic " + encode_basic(f"SE%2AABC:{PASSWORD}"),
    ],
)
async def test_a_password_is_read_however_its_header_is_written(
    stage: Stage, authorization: str
) -> None:
    """RFC 7617; RFC 4648 §3.2 leaves padding away where it is clear without, as clients do."""
    stage.services.logins["SE*ABC"] = known_station()
    answer = await send_opening_request(stage, "/ocpp/SE*ABC", authorization)
    assert answer.startswith(b"HTTP/1.1 101 ")


async def test_base64_for_urls_is_read_too(stage: Stage) -> None:
    """RFC 4648 §5: its two other characters have no other meaning."""
    key = b"\xfb\xff\xfe>?0123456789abcde"
    stage.services.logins["SE*ABC"] = known_station(verifiers=(verifier(key),))
    written = base64.urlsafe_b64encode(b"SE*ABC:" + key).decode()
    assert {"-", "_"} & set(written)
    answer = await send_opening_request(stage, "/ocpp/SE*ABC", f"Basic {written}")
    assert answer.startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("host", ["", "VOLTBUS.example:9000", "a b", "[::1]:9000"])
async def test_the_host_header_does_not_matter(stage: Stage, host: str) -> None:
    """Which name a station knows us by is the operator's own business."""
    stage.services.logins["SE*ABC"] = known_station()
    answer = await send_opening_request(stage, "/ocpp/SE*ABC", host=host)
    assert answer.startswith(b"HTTP/1.1 101 ")


async def test_an_identity_is_percent_decoded(stage: Stage) -> None:
    """A1: what is percent-encoded in the URL is the plain identity in the Basic header."""
    async with stage.station("Ladestation Ö/1") as station:
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_the_stations_first_supported_subprotocol_is_chosen(stage: Stage) -> None:
    """A2: the order is the station's; what we do not speak is passed over."""
    async with stage.station("CP-1", offers=("ocpp2.2", "ocpp1.6", "ocpp2.1")) as station:
        assert station.socket.subprotocol == "ocpp1.6"


@pytest.mark.parametrize("offers", [(), ("ocpp1.5",), ("soap",)])
async def test_no_common_subprotocol_gets_400(stage: Stage, offers: tuple[str, ...]) -> None:
    """A3: no upgrade without a common subprotocol."""
    stage.services.logins["CP-1"] = known_station()
    assert (await refusal(stage, offers=offers)).status_code == 400


async def test_the_switch_upgrades_without_a_subprotocol_and_closes(start: Any) -> None:
    """A3: P4's own wish, by a switch: 101 without the header, then an immediate close."""
    stage: Stage = await start(upgrade_without_subprotocol=True)
    async with stage.station("CP-1", offers=()) as station:
        assert (await station.wait_closed())[0] == 1002
        assert station.socket.subprotocol is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer abc"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ***"},
        {"Authorization": "Basic Q1AtMQ=="},
        basic("CP-2", PASSWORD),
        basic("CP-1", "wrong-password-00000"),
        basic("CP-1", ""),
        basic("CP-1", b"\xff\xfe"),
    ],
)
async def test_bad_credentials_get_401_with_a_challenge(
    stage: Stage, headers: dict[str, str]
) -> None:
    """A4: no header, another scheme, bad base64, no colon, another user, a wrong password."""
    stage.services.logins["CP-1"] = known_station()
    response = await refusal(stage, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_a_password_may_hold_colons_and_need_not_be_utf8(stage: Stage) -> None:
    """A5: the header is split at the first colon, as bytes."""
    key = b"\xff:\x00:0123456789abcdef"
    stage.services.logins["CP-1"] = known_station(verifiers=(verifier(key),))
    async with stage.station("CP-1", headers=basic("CP-1", key)) as station:
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_a_16_station_sends_the_decoded_bytes_of_its_hex_key(stage: Stage) -> None:
    """A5: AuthorizationKey is kept as hex digits, the header carries the decoded 20 bytes."""
    digits = "0123456789abcdef0123456789abcdef01234567"
    stage.services.logins["CP-1"] = known_station(verifiers=(verifier(digits),))
    headers = basic("CP-1", bytes.fromhex(digits))
    async with stage.station("CP-1", headers=headers) as station:
        assert (await station.call("Heartbeat", {}))[0] == 3
    assert (await refusal(stage, headers=headers, offers=("ocpp2.0.1",))).status_code == 401


async def test_a_station_with_the_hex_quirk_sends_the_digits(stage: Stage) -> None:
    """A5: with the flag, hex digits verbatim match what is kept as decoded bytes."""
    digits = "0123456789abcdef0123456789abcdef"
    kept = (verifier(bytes.fromhex(digits)),)
    stage.services.logins["CP-1"] = known_station(verifiers=kept)
    assert (await refusal(stage, headers=basic("CP-1", digits))).status_code == 401
    stage.services.logins["CP-1"] = known_station(verifiers=kept, hex_password=True)
    async with stage.station("CP-1", headers=basic("CP-1", digits)) as station:
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_while_a_rotation_is_unanswered_both_passwords_open(stage: Stage) -> None:
    """A7: two verifiers, either password."""
    both = (verifier("the-new-password-0001"), verifier(PASSWORD))
    stage.services.logins["CP-1"] = known_station(verifiers=both)
    for password in ("the-new-password-0001", PASSWORD):
        async with stage.station("CP-1", headers=basic("CP-1", password)):
            pass


async def test_a_chosen_password_is_checked_with_scrypt(stage: Stage) -> None:
    """Operator-chosen passwords are stretched; right opens, wrong does not."""
    stage.services.logins["CP-1"] = known_station(verifiers=(make_scrypt_verifier(PASSWORD),))
    async with stage.station("CP-1"):
        pass
    assert (await refusal(stage, headers=basic("CP-1", "wrong"))).status_code == 401


@pytest.mark.parametrize(
    "broken",
    [
        {"algorithm": "md5"},
        {"salt": "xx"},
        {"algorithm": "scrypt", "n": 2**30, "r": 8, "p": 1},
        {"algorithm": "scrypt", "n": 3, "r": 8, "p": 1},
    ],
)
async def test_a_verifier_that_cannot_be_used_opens_nothing(
    stage: Stage, broken: dict[str, Any]
) -> None:
    """A verifier with an unknown algorithm, a bad salt or mad costs is no open door."""
    good = {"algorithm": "sha256", "salt": SALT, "digest": verifier(PASSWORD).digest}
    stage.services.logins["CP-1"] = known_station(verifiers=(PasswordVerifier(**good | broken),))
    assert (await refusal(stage)).status_code == 401


@pytest.mark.parametrize("changes", [{"allowed": False}, {"minimum_profile": 2}])
async def test_a_station_that_may_not_come_here_gets_401(
    stage: Stage, changes: dict[str, Any]
) -> None:
    """A8: not allowed, or at a listener below its minimum profile, even with the password."""
    stage.services.logins["CP-1"] = known_station(**changes)
    assert (await refusal(stage)).status_code == 401


async def test_the_development_switch_asks_no_password(start: Any) -> None:
    """A8: profile 0 exists behind a switch; auth is asked all the same."""
    stage: Stage = await start(allow_no_password=True)
    stage.services.logins["CP-1"] = known_station(minimum_profile=0)
    async with stage.station("CP-1", headers={}):
        pass
    assert (await refusal(stage, "CP-2", headers={})).status_code == 404
    asked = stage.bus.events("auth.requests")[0].message
    assert asked.security_profile == 0


async def test_silence_of_auth_gets_503(start: Any) -> None:
    """Undecided is no refusal: 503, and when to come again."""
    stage: Stage = await start(login_deadline_s=0.05)
    stage.services.silent.add(registry.STATION_LOGIN.name)
    response = await refusal(stage)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_guessing_makes_the_station_wait_but_not_its_neighbour(start: Any) -> None:
    """Failed log-ins are slowed per station and address, never a fleet behind one NAT."""
    stage: Stage = await start(failed_logins=3)
    for name in ("CP-1", "CP-2"):
        stage.services.logins[name] = known_station()
    for _ in range(3):
        assert (await refusal(stage, headers=basic("CP-1", "guess"))).status_code == 401
    response = await refusal(stage)
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    async with stage.station("CP-2"):
        pass


@pytest.mark.parametrize("kept", [verifier(PASSWORD), make_scrypt_verifier(PASSWORD)])
async def test_guesses_at_once_are_no_more_than_guesses_in_a_row(
    start: Any, kept: PasswordVerifier
) -> None:
    """Of many parallel log-ins as many are compared as are allowed; a neighbour is admitted."""
    stage: Stage = await start(failed_logins=3)
    for name in ("CP-1", "CP-2"):
        stage.services.logins[name] = known_station(verifiers=(kept,))
    with login_with_frozen_clock(stage) as login_handler:
        guesses = [log_in(login_handler, f"guess-{number}") for number in range(50)]
        *refusals, neighbour = await asyncio.gather(
            *guesses, log_in(login_handler, PASSWORD, "CP-2")
        )
    reasons = Counter(refused.reason for refused in refusals if refused is not None)
    assert reasons == {"wrong_password": 3, "too_many_failures": 47}
    assert neighbour is None
    for refused in refusals:
        assert refused is not None
        if refused.reason == "too_many_failures":
            assert refused.status == 429
            assert int(refused.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("kept", [verifier(PASSWORD), make_scrypt_verifier(PASSWORD)])
async def test_a_station_that_knocks_twice_at_once_is_let_in_twice(
    start: Any, kept: PasswordVerifier
) -> None:
    """Right passwords in parallel are not taken for guesses, as many as are allowed."""
    stage: Stage = await start(failed_logins=3)
    stage.services.logins["CP-1"] = known_station(verifiers=(kept,))
    with login_with_frozen_clock(stage) as login_handler:
        for _ in range(3):
            knocks = [log_in(login_handler, PASSWORD) for _ in range(3)]
            assert await asyncio.gather(*knocks) == [None] * 3


async def test_a_knock_that_is_broken_off_gives_its_place_back(start: Any) -> None:
    """Whoever goes away while its password waits to be compared stands in nobody's way."""
    stage: Stage = await start(failed_logins=1)
    stage.services.logins["CP-1"] = known_station(verifiers=(make_scrypt_verifier(PASSWORD),))
    with login_with_frozen_clock(stage) as login_handler:
        busy = threading.Event()
        for _ in range(login_handler._threads._max_workers):
            login_handler._threads.submit(busy.wait)
        try:
            going = asyncio.create_task(log_in(login_handler, PASSWORD))
            await soon(lambda: login_handler._checking == 1)
            refused = await log_in(login_handler, PASSWORD)
            assert refused is not None
            assert refused.reason == "too_many_failures"
            going.cancel()
            await asyncio.wait({going})
        finally:
            busy.set()
        assert await log_in(login_handler, PASSWORD) is None


@pytest.mark.parametrize(("rate", "let_in"), [(0.001, 3), (50, 6)])
async def test_more_than_the_rate_waits_in_line_or_gets_503(
    start: Any, rate: float, let_in: int
) -> None:
    """A reconnect storm is admitted at a bounded rate; who would wait too long hears when."""
    stage: Stage = await start(connect_rate_per_s=rate, connect_burst=2, connect_longest_wait_s=60)
    names = [f"CP-{number}" for number in range(6)]
    for name in names:
        stage.services.logins[name] = known_station()
    results = await asyncio.gather(*(stage.socket(name) for name in names), return_exceptions=True)
    refused = [result for result in results if isinstance(result, InvalidStatus)]
    assert len(refused) == 6 - let_in
    assert all(refusal.response.status_code == 503 for refusal in refused)
    assert all("Retry-After" in refusal.response.headers for refusal in refused)
    for result in results:
        if not isinstance(result, BaseException):
            await result.close()


async def test_a_full_gateway_gets_503(start: Any) -> None:
    """The number of connections is bounded."""
    stage: Stage = await start(max_connections=1)
    stage.services.logins["CP-2"] = known_station()
    async with stage.station("CP-1"):
        assert (await refusal(stage, "CP-2")).status_code == 503


async def test_a_stopping_gateway_gets_503(stage: Stage) -> None:
    """Nobody is let in once the process was told to end."""
    stage.services.logins["CP-1"] = known_station()
    stage.stopping.set()
    assert (await refusal(stage)).status_code == 503
    stage.stopping.clear()


async def test_a_plain_http_request_gets_426(stage: Stage) -> None:
    """A browser is told that this is a WebSocket endpoint; the process goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.listeners.port())
    header = basic("CP-1", PASSWORD)["Authorization"]
    stage.services.logins["CP-1"] = known_station()
    writer.write(
        f"GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n"
        "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
    )
    async with asyncio.timeout(60):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 426")
    writer.close()


async def test_compression_is_agreed_when_offered(stage: Stage) -> None:
    """A18: RFC 7692 is mandatory for a 2.x central system; both directions work."""
    async with stage.station("CP-1", compression="deflate") as station:
        assert "permessage-deflate" in str(station.socket.response.headers)  # type: ignore[union-attr]
        assert (await station.call("Heartbeat", {}))[0] == 3
        assert (await station.call("Heartbeat", {}))[0] == 3


async def test_compression_can_be_switched_off(start: Any) -> None:
    """Without it the offer is not taken up, and messages pass all the same."""
    stage: Stage = await start(compression=False)
    async with stage.station("CP-1", compression="deflate") as station:
        assert "permessage-deflate" not in str(station.socket.response.headers)  # type: ignore[union-attr]
        assert (await station.call("Heartbeat", {}))[0] == 3
