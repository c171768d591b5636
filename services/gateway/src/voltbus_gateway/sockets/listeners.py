"""OCPP-J over WebSockets: with ``station_socket`` the only module that knows ``websockets``.

A socket hands each message to its ``Connection`` as it comes, and answers are written from
callbacks, without a task or a wait for each; one task per socket waits for its end.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import structlog
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import InvalidHeader
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_subprotocol
from websockets.protocol import State
from websockets.typing import Subprotocol

from voltbus_backbone.errors import SettingsError
from voltbus_gateway.connection.budget import MemoryBudget, ThrottledConnections
from voltbus_gateway.connection.intake import Intake
from voltbus_gateway.domain.door import handshake
from voltbus_gateway.door import login as door
from voltbus_gateway.door.admission import find_sender
from voltbus_gateway.door.login import LoginRequest
from voltbus_gateway.door.refusals import (
    LoginRefusedError,
    no_common_subprotocol,
    no_websocket,
    unknown_station,
)
from voltbus_gateway.door.tls import KeyPair, ReloadOutcome, ServerTls, read_client_certificate
from voltbus_gateway.metrics import REFUSALS
from voltbus_gateway.sockets.binding import BACKLOG, bind_sockets
from voltbus_gateway.sockets.station_socket import StationSocket

if TYPE_CHECKING:
    import socket as network
    from collections.abc import Callable, Sequence

    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

    from voltbus_gateway.connection.flow import Flow
    from voltbus_gateway.door.client_trust import ClientTrust
    from voltbus_gateway.door.login import LoginHandler
    from voltbus_gateway.door.tls import ClientCertificate
    from voltbus_gateway.reports.refusals import Refusals
    from voltbus_gateway.settings import Settings
    from voltbus_gateway.sockets.connections import ConnectionRegistry

log = structlog.get_logger(__name__)

# What the library would log holds values of the wire; close codes and metrics tell enough.
_quiet = logging.getLogger("voltbus.websockets")
_quiet.setLevel(logging.CRITICAL)

_PORT_NAMES = {
    door.NO_PASSWORD: "OCPP_PORT",
    door.BASIC: "OCPP_PORT",
    door.TLS_BASIC: "OCPP_TLS_PORT",
    door.MUTUAL_TLS: "OCPP_MTLS_PORT",
}

_PROTOCOL_ERROR = 1002
_ABNORMAL = 1006


class SocketTransport:
    """A ``Transport`` on a socket. Writing never waits; a slow peer's input waits instead."""

    __slots__ = ("_closing", "_one", "_socket")

    def __init__(self, socket: StationSocket) -> None:
        self._socket = socket
        self._one = (socket,)
        self._closing: asyncio.Task[None] | None = None

    def write(self, text: bytes) -> bool:
        """Send one text message; False when the socket is closing."""
        if self._socket.state is not State.OPEN:
            return False
        broadcast(self._one, text, text=True)  # unlike send(), this neither waits nor raises
        return True

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; a peer that does not answer is cut off."""
        if self._closing is None:
            self._closing = self._socket.leave(code, reason)

    async def is_alive(self, within_s: float) -> bool:
        """Ask the peer for a sign of life; False when there is none within so many seconds."""
        return await self._socket.probe(within_s)


@dataclass(slots=True)
class _Listener:
    """Bound sockets, one for each address of the host, and who accepts on each now."""

    bound: list[network.socket]
    tls: ServerTls | None
    servers: list[Server]


class StationListeners:
    """The listeners for stations, one per security profile."""

    def __init__(
        self,
        settings: Settings,
        *,
        login_handler: LoginHandler,
        connections: ConnectionRegistry,
        flow: Flow,
        refusals: Refusals,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._login_handler = login_handler
        self._connections = connections
        self._flow = flow
        self._refusals = refusals
        self._memory = MemoryBudget(settings.max_held_bytes)
        self._throttled = ThrottledConnections(settings.loop_share)
        self._clock = clock
        self._listeners: dict[int, _Listener] = {}

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: an address cannot be listened on, or a TLS file cannot be used.
        """
        settings = self._settings
        if settings.ocpp_port is not None:
            profile = door.NO_PASSWORD if settings.allow_no_password else door.BASIC
            await self._listen(profile, settings.ocpp_port, None)
        pairs = _list_key_pairs(settings)
        if settings.ocpp_tls_port is not None:
            await self._listen(door.TLS_BASIC, settings.ocpp_tls_port, ServerTls(pairs))
        if settings.ocpp_mtls_port is not None:
            tls = ServerTls(pairs, settings.tls_client_ca_file, settings.tls_client_crl_file)
            await self._listen(door.MUTUAL_TLS, settings.ocpp_mtls_port, tls)

    async def _listen(self, profile: int, port: int, tls: ServerTls | None) -> None:
        settings = self._settings
        try:
            bound = await bind_sockets(settings.ocpp_host, port, settings.socket_buffer_bytes)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.ocpp_host}:{port} ({error.strerror}): "
                f"set VOLTBUS_{_PORT_NAMES[profile]} to a free port"
            ) from None
        servers = [await self._serve(profile, bound_socket, tls) for bound_socket in bound]
        self._listeners[profile] = _Listener(bound, tls, servers)
        log.info("gateway.listening", port=self.port(profile), security_profile=profile)

    async def _serve(self, profile: int, bound: network.socket, tls: ServerTls | None) -> Server:
        """Accept on the socket, in this listener's TLS context as it is now."""
        settings = self._settings
        return await serve(
            self._serve_station,
            sock=bound.dup(),
            ssl=tls.context if tls is not None else None,
            create_connection=cast(
                "type[ServerConnection]",  # the library only calls it
                partial(
                    StationSocket,
                    limits=settings,
                    memory=self._memory,
                    throttled=self._throttled,
                    clock=self._clock,
                ),
            ),
            process_request=partial(self._process_request, profile),
            process_response=self._process_response,
            server_header=None,
            compression=None,
            extensions=[_make_deflate()] if settings.compression else None,
            max_size=settings.max_frame_bytes,
            write_limit=settings.write_limit_bytes,
            open_timeout=settings.open_timeout_s,
            close_timeout=settings.close_timeout_s,
            ping_interval=None,  # StationSocket.keep_alive
            backlog=BACKLOG,
            logger=_quiet,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes that all sockets hold unread, waiting and unsent."""
        return self._memory.total

    def port(self, profile: int | None = None) -> int:
        """The port of a security profile's listener (default: the first one)."""
        first = next(iter(self._listeners))
        bound = self._listeners[first if profile is None else profile].bound[0]
        number: int = bound.getsockname()[1]
        return number

    async def reload_tls(self) -> ClientTrust | None:
        """Reload the TLS files; return the new client trust, where it has changed.

        A server cannot change its context, so another one accepts on the same socket: what waits
        there is not lost. A handshake that is under way at that moment gets 503.
        """
        changed = None
        for profile, listener in self._listeners.items():
            if listener.tls is not None and listener.tls.reload() is ReloadOutcome.TRUST:
                older = listener.servers
                listener.servers = [
                    await self._serve(profile, bound_socket, listener.tls)
                    for bound_socket in listener.bound
                ]
                for server in older:
                    server.close(close_connections=False)
                changed = listener.tls.trust
        return changed

    def stop_accepting(self) -> None:
        """Take no new socket; open ones stay."""
        for listener in self._listeners.values():
            for server in listener.servers:
                server.close(close_connections=False)
            for bound in listener.bound:
                bound.close()

    async def _process_request(
        self, profile: int, socket: ServerConnection, request: Request
    ) -> Response | None:
        """Admit the station before the upgrade, or answer why not."""
        assert isinstance(socket, StationSocket)  # noqa: S101 - create_connection makes them
        station_id = handshake.read_station_id(request.path, self._settings.ocpp_path)
        try:
            login = self._read_login(profile, socket, request, station_id)
            if login is not None:
                socket.credential_id = await self._login_handler.admit(login)
                socket.login, socket.name = login, login.station_id
                # Chosen already. The library's select_subprotocol would tie each socket into a
                # cycle, and dead sockets would wait for the garbage collector.
                socket.protocol.available_subprotocols = [Subprotocol(login.subprotocol)]
        except LoginRefusedError as refused:
            self._refusals.record_login(
                request.path, station_id, self._find_address(socket, request), refused
            )
            response = socket.respond(refused.status, refused.text)
            for name, value in refused.headers.items():
                response.headers[name] = value
            return response
        except Exception:
            REFUSALS.labels("broken").inc()
            log.exception("login.broke")
            return socket.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "This failed. Try again.\n")
        return None

    def _process_response(
        self, socket: ServerConnection, request: Request, response: Response
    ) -> None:
        """Record a station that was admitted but whose request is no WebSocket."""
        assert isinstance(socket, StationSocket)  # noqa: S101 - create_connection makes them
        login = socket.login
        if login is not None and response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            refused = no_websocket(HTTPStatus(response.status_code))
            self._refusals.record_login(request.path, login.station_id, login.address, refused)

    def _read_login(
        self, profile: int, socket: StationSocket, request: Request, station_id: str | None
    ) -> LoginRequest | None:
        """Read the log-in request; None: upgrade only to close it (the A3 switch)."""
        if station_id is None:
            raise unknown_station()
        chosen = handshake.choose_protocol(_read_offers(request))
        if chosen is None:
            if self._settings.upgrade_without_subprotocol:
                return None
            raise no_common_subprotocol()
        protocol, subprotocol = chosen
        return LoginRequest(
            station_id=station_id,
            protocol=protocol,
            subprotocol=subprotocol,
            address=self._find_address(socket, request),
            security_profile=profile,
            authorization=request.headers.get_all("Authorization"),
            certificate=self._read_certificate(profile, socket),
        )

    def _find_address(self, socket: StationSocket, request: Request) -> str:
        """Return the station's address, or that of an untrusted proxy in between."""
        address = str((socket.remote_address or ("",))[0])
        forwarded = request.headers.get_all("X-Forwarded-For")
        return find_sender(address, forwarded, self._settings.trusted_proxies)

    def _read_certificate(self, profile: int, socket: StationSocket) -> ClientCertificate | None:
        listener = self._listeners[profile]
        trust = listener.tls.trust if listener.tls is not None else None
        return read_client_certificate(socket.transport, trust)

    async def _serve_station(self, socket: ServerConnection) -> None:
        """Serve an open socket until it is closed."""
        assert isinstance(socket, StationSocket)  # noqa: S101 - create_connection makes them
        login = socket.login
        if login is None:
            await socket.close(_PROTOCOL_ERROR, "No common subprotocol")
            return
        connection = self._connections.register(
            station_id=login.station_id,
            protocol=login.protocol,
            link=SocketTransport(socket),
            security_profile=login.security_profile,
            credential_id=socket.credential_id,
            certificate=login.certificate,
            address=login.address,
        )
        pings = None
        if self._settings.ping_interval_s > 0:
            pings = asyncio.create_task(socket.keep_alive(self._settings))
        connection.on_change = socket.notify_change
        socket.open(Intake(connection, self._flow, socket.wake))
        try:
            await socket.wait_closed()
        finally:
            if pings is not None:
                pings.cancel()
            # Or socket and connection would wait for the garbage collector.
            socket.release()
            connection.on_change = None
            # Its close frame came behind ours: it lived.
            closing = socket.protocol
            answered = closing.close_rcvd is not None and closing.close_rcvd_then_sent is False
            self._connections.unregister(connection, *_read_close(socket), answered=answered)


def _list_key_pairs(settings: Settings) -> tuple[KeyPair, ...]:
    files = (
        (settings.tls_cert_file, settings.tls_key_file),
        (settings.tls_second_cert_file, settings.tls_second_key_file),
    )
    return tuple(KeyPair(cert, key) for cert, key in files if cert is not None and key is not None)


def _read_offers(request: Request) -> Sequence[str]:
    offered: list[Any] = []
    try:
        for value in request.headers.get_all("Sec-WebSocket-Protocol"):
            offered.extend(parse_subprotocol(value))
    except InvalidHeader:
        return ()
    return offered


def _read_close(socket: StationSocket) -> tuple[int, str]:
    """Return code and reason of the side that closed first; 1006 without a close frame."""
    if socket.state is not State.CLOSED:
        return _ABNORMAL, ""  # we end while it is open
    closed = socket.protocol.close_exc
    first = closed.rcvd if closed.rcvd_then_sent else closed.sent
    if first is None or closed.rcvd is None:
        # Also a peer that never answered our close: the socket was cut.
        return (first.code if first is not None else _ABNORMAL), ""
    return first.code, first.reason if closed.rcvd_then_sent is False else ""


def _make_deflate() -> ServerPerMessageDeflateFactory:
    """Compression without memory between messages (2.x Part 4: RFC 7692 is mandatory)."""
    return ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=11,
        client_max_window_bits=11,
        compress_settings={"memLevel": 4, "level": 1},
    )
