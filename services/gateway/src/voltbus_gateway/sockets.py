"""OCPP-J over WebSockets: the only module that knows ``websockets``.

One task per socket reads and hands each message to its ``Connection``; answers are written from
callbacks, without a task or a wait for each.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed, InvalidHeader
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_subprotocol
from websockets.typing import Subprotocol

from voltbus_backbone.errors import SettingsError
from voltbus_gateway import door
from voltbus_gateway.door import Knock, Refused
from voltbus_gateway.metrics import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.asyncio.server import Server
    from websockets.http11 import Request, Response

    from voltbus_gateway.connection import Connection
    from voltbus_gateway.connections import Connections
    from voltbus_gateway.door import Door
    from voltbus_gateway.flow import Flow
    from voltbus_gateway.settings import Settings

log = structlog.get_logger(__name__)

# What the library would log holds values of the wire; close codes and metrics tell enough.
_quiet = logging.getLogger("voltbus.websockets")
_quiet.setLevel(logging.CRITICAL)

_PROTOCOL_ERROR = 1002
_ABNORMAL = 1006
_INTERNAL_ERROR = 1011


class StationSocket(ServerConnection):
    """A socket with what the door found out about it."""

    knock: Knock | None = None


class SocketLink:
    """A ``Link`` on a socket. Writing never waits: the reader pauses while the peer is slow."""

    __slots__ = ("_closing", "_limit", "_one", "_socket")

    def __init__(self, socket: StationSocket, limit: int) -> None:
        self._socket = socket
        self._one = (socket,)
        self._limit = limit
        self._closing: asyncio.Task[None] | None = None

    def write(self, text: bytes) -> None:
        """Send one text message."""
        # Unlike send(), this neither waits nor raises; a closing socket is passed over.
        broadcast(self._one, text, text=True)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; a peer that does not answer is cut off."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._socket.close(code, reason))

    @property
    def congested(self) -> bool:
        """Whether the peer reads more slowly than we write."""
        return self._socket.transport.get_write_buffer_size() > self._limit

    async def drain(self) -> None:
        """Wait until the peer has read."""
        await self._socket.drain()


class Sockets:
    """The listener for stations."""

    def __init__(
        self, settings: Settings, *, door: Door, connections: Connections, flow: Flow
    ) -> None:
        self._settings = settings
        self._door = door
        self._connections = connections
        self._flow = flow
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        settings = self._settings
        try:
            self._server = await serve(
                self._converse,
                settings.ocpp_host,
                settings.ocpp_port,
                create_connection=StationSocket,
                process_request=self._open,
                select_subprotocol=_selected,
                subprotocols=None,
                server_header=None,
                compression=None,
                extensions=[_frugal_deflate()] if settings.compression else None,
                max_size=settings.max_frame_bytes,
                max_queue=settings.calls_ahead,
                write_limit=settings.write_limit_bytes,
                open_timeout=settings.open_timeout_s,
                close_timeout=settings.close_timeout_s,
                ping_interval=settings.ping_interval_s or None,
                ping_timeout=settings.ping_timeout_s,
                backlog=4096,
                logger=_quiet,
            )
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.ocpp_host}:{settings.ocpp_port} ({error.strerror}): "
                "set VOLTBUS_OCPP_PORT to a free port"
            ) from None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None  # noqa: S101 - start() comes first
        number: int = next(iter(self._server.sockets)).getsockname()[1]
        return number

    def stop_accepting(self) -> None:
        """Take no new socket; open ones stay."""
        if self._server is not None:
            self._server.close(close_connections=False)

    async def _open(self, socket: ServerConnection, request: Request) -> Response | None:
        """Before the upgrade: let the station in, or say why not."""
        assert isinstance(socket, StationSocket)  # noqa: S101 - create_connection makes them
        try:
            knock = self._knock(socket, request)
            if knock is not None:
                await self._door.admit(knock)
                socket.knock = knock
        except Refused as refused:
            REFUSALS.labels(refused.reason).inc()
            log.info("station.refused", reason=refused.reason, status=refused.status.value)
            response = socket.respond(refused.status, refused.text)
            for name, value in refused.headers.items():
                response.headers[name] = value
            return response
        except Exception:
            REFUSALS.labels("broken").inc()
            log.exception("login.broke")
            return socket.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "This failed. Try again.\n")
        return None

    def _knock(self, socket: StationSocket, request: Request) -> Knock | None:
        """What the station shows; None: upgrade it only to close it (the A3 switch)."""
        settings = self._settings
        station_id = door.identity(request.path, settings.ocpp_path)
        protocol = door.preferred(_offered(request))
        if protocol is None:
            if settings.upgrade_without_subprotocol:
                return None
            raise door.no_common_subprotocol()
        return Knock(
            station_id=station_id,
            protocol=protocol,
            address=str((socket.remote_address or ("",))[0]),
            security_profile=door.NO_PASSWORD if settings.allow_no_password else door.BASIC,
            authorization=request.headers.get_all("Authorization"),
        )

    async def _converse(self, socket: ServerConnection) -> None:
        """The life of an open socket."""
        assert isinstance(socket, StationSocket)  # noqa: S101 - create_connection makes them
        knock = socket.knock
        if knock is None:
            await socket.close(_PROTOCOL_ERROR, "No common subprotocol")
            return
        link = SocketLink(socket, self._settings.write_limit_bytes)
        connection = self._connections.opened(
            station_id=knock.station_id,
            protocol=knock.protocol,
            link=link,
            security_profile=knock.security_profile,
            certificate_cn=knock.certificate_cn,
        )
        try:
            await self._read(socket, connection, link)
        except ConnectionClosed as closed:
            self._connections.lost(connection, *_how(closed))
        except Exception:
            log.exception("connection.broke")
            link.close(_INTERNAL_ERROR, "")
        finally:
            self._connections.lost(connection, _ABNORMAL, "")

    async def _read(self, socket: StationSocket, connection: Connection, link: SocketLink) -> None:
        flow = self._flow
        while True:
            connection.receive(await socket.recv())
            if not connection.wants_input:
                await connection.room()
            if flow.full:
                await flow.room()
            if link.congested:
                await link.drain()


def _offered(request: Request) -> Sequence[str]:
    offered: list[Any] = []
    try:
        for value in request.headers.get_all("Sec-WebSocket-Protocol"):
            offered.extend(parse_subprotocol(value))
    except InvalidHeader:
        return ()
    return offered


def _selected(socket: ServerConnection, _offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The subprotocol for the response, as the door has chosen it."""
    knock = getattr(socket, "knock", None)
    if isinstance(knock, Knock):
        return Subprotocol(knock.protocol.value)
    return None


def _how(closed: ConnectionClosed) -> tuple[int, str]:
    """Close code and reason of whoever closed first; 1006 when there was no close frame."""
    first = closed.rcvd if closed.rcvd_then_sent else closed.sent
    if first is None or closed.rcvd is None:
        # Also a peer that never answered our close: the socket was cut.
        return (first.code if first is not None else _ABNORMAL), ""
    return first.code, first.reason if closed.rcvd_then_sent is False else ""


def _frugal_deflate() -> ServerPerMessageDeflateFactory:
    """Compression without memory between messages (2.x Part 4: RFC 7692 is mandatory)."""
    return ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=11,
        client_max_window_bits=11,
        compress_settings={"memLevel": 4, "level": 1},
    )
