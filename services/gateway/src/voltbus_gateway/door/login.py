"""Who is let in: credentials, and auth's word on them (A4-A9); else ``Refused`` is raised."""

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
from voltbus_gateway.door.admission import Admission, FailedLogins, Place, shared_address
from voltbus_gateway.door.answers import (
    Refused,
    duplicate_identity,
    forbidden,
    nobody,
    too_many_failures,
    unauthorized,
    unavailable,
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
class Knock:
    """What a station shows at the door.

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


class Door:
    """Decides on each knock. ``open_now`` tells whether stations may come in at all.

    ``kept_s``: for how long whoever is connected with an identity keeps its place.
    """

    def __init__(
        self,
        settings: Settings,
        requester: Requester,
        *,
        open_now: Callable[[], bool],
        connections: Callable[[], int],
        kept_s: Callable[[str], Awaitable[float]],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._requester = requester
        self._open_now = open_now
        self._connections = connections
        self._kept_s = kept_s
        self._clock = clock
        self._admission = Admission(
            rate_per_s=settings.connect_rate_per_s,
            burst=settings.connect_burst,
            longest_wait_s=settings.connect_longest_wait_s,
        )
        self._line_timer = Timer()
        self._failed = FailedLogins(
            allowed=settings.failed_logins, longest_wait_s=settings.failed_login_wait_s
        )
        self._threads = ThreadPoolExecutor(_SCRYPT_THREADS, thread_name_prefix="scrypt")
        self._checking = 0

    def close(self) -> None:
        """Release the threads."""
        self._line_timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def admit(self, knock: Knock) -> str:
        """Let the station in; auth's name for the password that it showed, empty without one.

        Raises:
            Refused: with the HTTP answer that it gets.
        """
        self._check_open()
        password = self._presented(knock)
        self._check_patience(knock)
        await self._wait_in_line(knock)
        self._check_open()
        answer = await self._ask(knock)
        try:
            return await self._judge(knock, password, answer)
        except Refused as refused:
            refused.registered = answer.known
            raise

    async def _judge(self, knock: Knock, password: bytes | None, answer: StationLoginAnswer) -> str:
        """Let the station in by auth's answer; auth's name for its password."""
        if not answer.known:
            raise nobody()
        if not answer.allowed or knock.security_profile < answer.minimum_profile:
            raise unauthorized("not_allowed")
        if knock.security_profile == MUTUAL_TLS:
            self._check_certificate(knock, answer)
        credential_id = ""
        if password is not None:
            credential_id = await self._check(knock, password, answer)
        kept_s = await self._kept_s(knock.station_id)
        if kept_s > 0:
            raise duplicate_identity(kept_s)
        self._check_open()
        return credential_id

    async def _wait_in_line(self, knock: Knock) -> None:
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        place = Place(shared_address(knock.address), turn.set_result)
        if not self._admission.enter(place, self._clock()):
            raise unavailable("rate", self._admission.retry_after())
        self._advance()
        try:
            let_on = await turn
        finally:
            if not turn.done() or turn.cancelled():
                self._admission.leave(place)
        if not let_on:
            raise unavailable("rate", self._admission.retry_after())

    def _advance(self) -> None:
        """Let on whose turn has come, and come back for the next."""
        now = self._clock()
        due = self._admission.advance(now)
        if due is not None:
            loop = asyncio.get_running_loop()
            self._line_timer.set(loop.time() + due - now, self._advance)

    def _check_open(self) -> None:
        if not self._open_now():
            raise unavailable("not_ready", 10)
        if self._connections() >= self._settings.max_connections:
            raise unavailable("full", 60)

    def _presented(self, knock: Knock) -> bytes | None:
        if knock.security_profile in {NO_PASSWORD, MUTUAL_TLS}:
            return None
        try:
            user, password = handshake.credentials(knock.authorization)
        except handshake.CredentialsError as error:
            raise unauthorized(error.reason) from None
        if handshake.identity(user) != knock.station_id:
            raise unauthorized("wrong_user")
        return password

    def _check_certificate(self, knock: Knock, answer: StationLoginAnswer) -> None:
        """TLS has verified the chain; the names are ours to check (A9, A00.FR.403-407)."""
        certificate = knock.certificate
        if certificate is None or certificate.organization != self._settings.tls_organization:
            raise forbidden("certificate_organization")
        if certificate.problem is not None:
            raise forbidden(certificate.problem)
        names = {knock.station_id, answer.serial_number} - {None}
        if certificate.common_name not in names:
            raise forbidden("certificate_name")

    def _check_patience(self, knock: Knock) -> None:
        """Spare auth and the line whoever must wait; what counts is the look before comparing."""
        wait = self._failed.wait_s(knock.station_id, knock.address, self._clock())
        if wait > 0:
            raise too_many_failures(wait)

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
            raise too_many_failures(wait)
        try:
            candidates = passwords.variants(
                password, knock.protocol, hex_password=answer.hex_password
            )
            found = await self._compare(candidates, answer.verifiers)
            if found is None:
                self._failed.failed(knock.station_id, knock.address, self._clock())
                raise unauthorized("wrong_password")
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
