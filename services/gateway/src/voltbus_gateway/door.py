"""Who is let in: identity, subprotocol, credentials, and auth's word on them (A1-A9).

``Refused`` carries the HTTP answer. Nothing of a password is in it, in a log or in an event.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import structlog

from voltbus_backbone.contract.auth import StationLogin, StationLoginAnswer
from voltbus_backbone.contract.registry import STATION_LOGIN
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import Unavailable
from voltbus_gateway import passwords
from voltbus_gateway.admission import Admission, FailedLogins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voltbus_backbone.contract.auth import PasswordVerifier
    from voltbus_backbone.rpc import Requester
    from voltbus_gateway.settings import Settings
    from voltbus_gateway.tls import ClientCertificate

log = structlog.get_logger(__name__)

IDENTITY_LIMIT = 48  # 2.x Part 4 §3.1.1; 1.6 names no limit
NO_PASSWORD, BASIC, TLS_BASIC, MUTUAL_TLS = range(4)
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="OCPP", charset="UTF-8"'}
_SCRYPT_THREADS = 2
_SCRYPT_WAITING = 200


class Refused(Exception):  # noqa: N818 - what happened to the station
    """The station is not let in. ``reason`` is a label for the metrics."""

    def __init__(
        self, status: HTTPStatus, reason: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.text = text
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Knock:
    """What a station shows at the door.

    ``security_profile`` is the listener's. ``authorization`` are the values of that header.
    """

    station_id: str
    protocol: Protocol
    address: str
    security_profile: int = BASIC
    authorization: Sequence[str] = field(default=(), repr=False)
    certificate: ClientCertificate | None = None


def identity(path: str, endpoint: str) -> str:
    """The station id at the end of a request's path, percent-decoded (A1). A query is ignored.

    Raises:
        Refused: 404, it is no identity under our endpoint.
    """
    head, slash, last = path.partition("?")[0].rpartition("/")
    if not slash or head != endpoint:
        raise _nobody()
    try:
        name = unquote_to_bytes(last).decode()
    except UnicodeDecodeError:
        raise _nobody() from None
    if not 0 < len(name) <= IDENTITY_LIMIT or ":" in name or not name.isprintable():
        raise _nobody()
    return name


def preferred(offered: Sequence[str]) -> Protocol | None:
    """The first subprotocol of the station's list that we speak (A2)."""
    for name in offered:
        if name in _SUBPROTOCOLS:
            return Protocol(name)
    return None


_SUBPROTOCOLS = frozenset(Protocol)


def no_common_subprotocol() -> Refused:
    """400 (A3)."""
    return Refused(
        HTTPStatus.BAD_REQUEST,
        "subprotocol",
        "No common subprotocol. Offer ocpp2.1, ocpp2.0.1 or ocpp1.6.\n",
    )


def basic_password(authorization: Sequence[str], station_id: str) -> bytes:
    """The password of a Basic header whose user is this station (A4, A5), as bytes.

    Raises:
        Refused: 401, there is no such header, or its user is somebody else.
    """
    if len(authorization) != 1:
        raise _unauthorized("credentials_missing")
    scheme, _, encoded = authorization[0].strip().partition(" ")
    if scheme.lower() != "basic":
        raise _unauthorized("credentials_missing")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise _unauthorized("credentials_malformed") from None
    # Bytes on purpose: a 1.6 password is a key and need not be UTF-8 (Whitepaper, A00.FR.205).
    user, colon, password = decoded.partition(b":")
    if not colon:
        raise _unauthorized("credentials_malformed")
    if user != station_id.encode():
        raise _unauthorized("wrong_user")
    return password


def _nobody() -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "unknown_station", "There is no such charging station.\n")


def _unauthorized(reason: str) -> Refused:
    return Refused(
        HTTPStatus.UNAUTHORIZED, reason, "Log in with your identity and password.\n", _CHALLENGE
    )


def _forbidden(reason: str) -> Refused:
    return Refused(HTTPStatus.FORBIDDEN, reason, "This certificate does not belong here.\n")


def unavailable(reason: str, retry_after_s: int) -> Refused:
    """503, with when to come again."""
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        reason,
        "Not now. Try again later.\n",
        {"Retry-After": str(retry_after_s)},
    )


def _too_many_failures(wait_s: float) -> Refused:
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_failures",
        "Too many wrong passwords. Try again later.\n",
        {"Retry-After": str(max(math.ceil(wait_s), 1))},
    )


class Door:
    """Decides on each knock. ``open_now`` tells whether stations may come in at all."""

    def __init__(
        self,
        settings: Settings,
        requester: Requester,
        *,
        open_now: Callable[[], bool],
        connections: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._requester = requester
        self._open_now = open_now
        self._connections = connections
        self._clock = clock
        self._admission = Admission(
            rate_per_s=settings.connect_rate_per_s,
            burst=settings.connect_burst,
            longest_wait_s=settings.connect_longest_wait_s,
        )
        self._failed = FailedLogins(
            allowed=settings.failed_logins, longest_wait_s=settings.failed_login_wait_s
        )
        self._threads = ThreadPoolExecutor(_SCRYPT_THREADS, thread_name_prefix="scrypt")
        self._checking = 0

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def admit(self, knock: Knock) -> str:
        """Let the station in; auth's name for the password that it showed, empty without one.

        Raises:
            Refused: with the HTTP answer that it gets.
        """
        self._check_open()
        password = self._presented(knock)
        self._check_patience(knock)
        wait = self._admission.reserve(self._clock())
        if wait is None:
            raise unavailable("rate", self._admission.retry_after(self._clock()))
        if wait > 0:
            await asyncio.sleep(wait)
            self._check_open()
        answer = await self._ask(knock)
        if not answer.known:
            raise _nobody()
        if not answer.allowed or knock.security_profile < answer.minimum_profile:
            raise _unauthorized("not_allowed")
        if knock.security_profile == MUTUAL_TLS:
            self._check_certificate(knock, answer)
        credential_id = ""
        if password is not None:
            credential_id = await self._check(knock, password, answer)
        self._check_open()
        return credential_id

    def _check_open(self) -> None:
        if not self._open_now():
            raise unavailable("not_ready", 10)
        if self._connections() >= self._settings.max_connections:
            raise unavailable("full", 60)

    def _presented(self, knock: Knock) -> bytes | None:
        if knock.security_profile in {NO_PASSWORD, MUTUAL_TLS}:
            return None
        return basic_password(knock.authorization, knock.station_id)

    def _check_certificate(self, knock: Knock, answer: StationLoginAnswer) -> None:
        """TLS has verified the chain; the names are ours to check (A9, A00.FR.403-407)."""
        certificate = knock.certificate
        if certificate is None or certificate.organization != self._settings.tls_organization:
            raise _forbidden("certificate_organization")
        if certificate.problem is not None:
            raise _forbidden(certificate.problem)
        names = {knock.station_id, answer.serial_number} - {None}
        if certificate.common_name not in names:
            raise _forbidden("certificate_name")

    def _check_patience(self, knock: Knock) -> None:
        """Spare auth and the line whoever must wait; what counts is the look before comparing."""
        wait = self._failed.wait_s(knock.station_id, knock.address, self._clock())
        if wait > 0:
            raise _too_many_failures(wait)

    async def _ask(self, knock: Knock) -> StationLoginAnswer:
        certificate = knock.certificate
        question = StationLogin(
            station_id=knock.station_id,
            security_profile=knock.security_profile,
            certificate_cn=certificate.common_name if certificate is not None else None,
            certificate_serial=certificate.serial if certificate is not None else None,
        )
        try:
            answer = await self._requester.ask(
                STATION_LOGIN, question, deadline_s=self._settings.login_deadline_s
            )
        except Unavailable:
            raise unavailable("auth_silent", 10) from None
        if not isinstance(answer, StationLoginAnswer):
            log.warning("login.unexpected_answer", type=type(answer).__name__)
            raise unavailable("auth_silent", 10)
        return answer

    async def _check(self, knock: Knock, password: bytes, answer: StationLoginAnswer) -> str:
        """The name of the password that it is, of the verifiers that auth gave."""
        wait = self._failed.begin(knock.station_id, knock.address, self._clock())
        if wait > 0:
            raise _too_many_failures(wait)
        try:
            candidates = passwords.variants(
                password, knock.protocol, hex_password=answer.hex_password
            )
            found = await self._compare(candidates, answer.verifiers)
            if found is None:
                self._failed.failed(knock.station_id, knock.address, self._clock())
                raise _unauthorized("wrong_password")
            self._failed.succeeded(knock.station_id, knock.address)
        finally:
            self._failed.ended(knock.station_id, knock.address)
        return found.id

    async def _compare(
        self, candidates: Sequence[bytes], verifiers: Sequence[PasswordVerifier]
    ) -> PasswordVerifier | None:
        """Compare the password; key stretching goes to a thread, in a line of bounded length."""
        if not passwords.is_slow(verifiers):
            return passwords.matching(candidates, verifiers)
        if self._checking >= _SCRYPT_WAITING:
            raise unavailable("rate", 10)
        self._checking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, passwords.matching, candidates, verifiers
            )
        finally:
            self._checking -= 1
