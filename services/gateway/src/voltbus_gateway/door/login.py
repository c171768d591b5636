"""Log-in of a station: its credentials, checked against auth's answer (A4-A9)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.contract.auth import StationLogin, StationLoginAnswer
from voltbus_backbone.contract.registry import STATION_LOGIN
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.timers import Timer
from voltbus_gateway.domain.door import handshake
from voltbus_gateway.door import passwords
from voltbus_gateway.door.admission import (
    AdmissionQueue,
    LoginThrottle,
    QueuedLogin,
    shared_address,
)
from voltbus_gateway.door.refusals import (
    LoginRefusedError,
    duplicate_identity,
    forbidden,
    too_many_failures,
    unauthorized,
    unavailable,
    unknown_station,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus_backbone.bus.rpc import Requester
    from voltbus_backbone.contract.auth import PasswordVerifier
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.door.tls import ClientCertificate
    from voltbus_gateway.settings import Settings

log = structlog.get_logger(__name__)

NO_PASSWORD, BASIC, TLS_BASIC, MUTUAL_TLS = range(4)
_SCRYPT_THREADS = 2
_SCRYPT_WAITING = 200


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a station shows in its opening request.

    ``security_profile`` is the listener's. ``authorization`` are the values of that header.
    ``subprotocol`` is how the station spells the protocol.
    """

    station_id: str
    protocol: Protocol
    address: str
    security_profile: int = BASIC
    authorization: Sequence[str] = field(default=(), repr=False)
    certificate: ClientCertificate | None = None
    subprotocol: str = ""


class LoginHandler:
    """Decides on each log-in. ``open_now`` says whether the gateway accepts stations at all.

    ``remaining_hold_s``: seconds for which the live holder of an identity keeps its place.
    """

    def __init__(
        self,
        settings: Settings,
        requester: Requester,
        *,
        open_now: Callable[[], bool],
        connections: Callable[[], int],
        remaining_hold_s: Callable[[str], Awaitable[float]],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._requester = requester
        self._open_now = open_now
        self._connections = connections
        self._remaining_hold_s = remaining_hold_s
        self._clock = clock
        self._admission = AdmissionQueue(
            rate_per_s=settings.connect_rate_per_s,
            burst=settings.connect_burst,
            longest_wait_s=settings.connect_longest_wait_s,
        )
        self._line_timer = Timer()
        self._throttle = LoginThrottle(
            allowed=settings.failed_logins, longest_wait_s=settings.failed_login_wait_s
        )
        self._threads = ThreadPoolExecutor(_SCRYPT_THREADS, thread_name_prefix="scrypt")
        self._checking = 0

    def close(self) -> None:
        """Release the threads."""
        self._line_timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def admit(self, login: LoginRequest) -> str:
        """Admit the station and return the id of its credential, empty without a password.

        Raises:
            LoginRefusedError: with the HTTP answer that it gets.
        """
        self._check_open()
        password = self._read_password(login)
        self._check_backoff(login)
        await self._wait_in_line(login)
        self._check_open()
        answer = await self._ask_auth(login)
        try:
            return await self._decide(login, password, answer)
        except LoginRefusedError as refused:
            refused.registered = answer.known
            raise

    async def _decide(
        self, login: LoginRequest, password: bytes | None, answer: StationLoginAnswer
    ) -> str:
        """Decide by auth's answer; return the id of the credential."""
        if not answer.known:
            raise unknown_station()
        if not answer.allowed or login.security_profile < answer.minimum_profile:
            raise unauthorized("not_allowed")
        if login.security_profile == MUTUAL_TLS:
            self._check_certificate(login, answer)
        credential_id = ""
        if password is not None:
            credential_id = await self._check_password(login, password, answer)
        kept_s = await self._remaining_hold_s(login.station_id)
        if kept_s > 0:
            raise duplicate_identity(kept_s)
        self._check_open()
        return credential_id

    async def _wait_in_line(self, login: LoginRequest) -> None:
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        place = QueuedLogin(shared_address(login.address), turn.set_result)
        if not self._admission.enter(place, self._clock()):
            raise unavailable("rate", self._admission.retry_after())
        self._advance_queue()
        try:
            let_on = await turn
        finally:
            if not turn.done() or turn.cancelled():
                self._admission.leave(place)
        if not let_on:
            raise unavailable("rate", self._admission.retry_after())

    def _advance_queue(self) -> None:
        """Admit the log-ins whose turn has come, and set the timer for the next."""
        now = self._clock()
        due = self._admission.advance(now)
        if due is not None:
            loop = asyncio.get_running_loop()
            self._line_timer.set(loop.time() + due - now, self._advance_queue)

    def _check_open(self) -> None:
        if not self._open_now():
            raise unavailable("not_ready", 10)
        if self._connections() >= self._settings.max_connections:
            raise unavailable("full", 60)

    def _read_password(self, login: LoginRequest) -> bytes | None:
        if login.security_profile in {NO_PASSWORD, MUTUAL_TLS}:
            return None
        try:
            user, password = handshake.read_credentials(login.authorization)
        except handshake.CredentialsError as error:
            raise unauthorized(error.reason) from None
        if handshake.read_identity(user) != login.station_id:
            raise unauthorized("wrong_user")
        return password

    def _check_certificate(self, login: LoginRequest, answer: StationLoginAnswer) -> None:
        """Check the names in the certificate; TLS has verified its chain (A9, A00.FR.403-407)."""
        certificate = login.certificate
        if certificate is None or certificate.organization != self._settings.tls_organization:
            raise forbidden("certificate_organization")
        if certificate.problem is not None:
            raise forbidden(certificate.problem)
        names = {login.station_id, answer.serial_number} - {None}
        if certificate.common_name not in names:
            raise forbidden("certificate_name")

    def _check_backoff(self, login: LoginRequest) -> None:
        """Reject early during back-off; the authoritative check is just before comparison."""
        wait = self._throttle.wait_s(login.station_id, login.address, self._clock())
        if wait > 0:
            raise too_many_failures(wait)

    async def _ask_auth(self, login: LoginRequest) -> StationLoginAnswer:
        certificate = login.certificate
        question = StationLogin(
            station_id=login.station_id,
            security_profile=login.security_profile,
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

    async def _check_password(
        self, login: LoginRequest, password: bytes, answer: StationLoginAnswer
    ) -> str:
        """Compare with auth's verifiers; return the id of the one that matches."""
        wait = self._throttle.begin(login.station_id, login.address, self._clock())
        if wait > 0:
            raise too_many_failures(wait)
        try:
            candidates = passwords.list_variants(
                password, login.protocol, hex_password=answer.hex_password
            )
            found = await self._compare(candidates, answer.verifiers)
            if found is None:
                self._throttle.record_failure(login.station_id, login.address, self._clock())
                raise unauthorized("wrong_password")
            self._throttle.record_success(login.station_id, login.address)
        finally:
            self._throttle.release(login.station_id, login.address)
        return found.id

    async def _compare(
        self, candidates: Sequence[bytes], verifiers: Sequence[PasswordVerifier]
    ) -> PasswordVerifier | None:
        """Compare the password; key stretching goes to a thread, in a line of bounded length."""
        if not passwords.is_slow(verifiers):
            return passwords.find_match(candidates, verifiers)
        if self._checking >= _SCRYPT_WAITING:
            raise unavailable("rate", 10)
        self._checking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, passwords.find_match, candidates, verifiers
            )
        finally:
            self._checking -= 1
