"""Opening a station's WebSocket: identity in the path, version as subprotocol, Basic auth."""

from __future__ import annotations

import base64
import socket
import ssl as tls
from dataclasses import dataclass, field
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from voltbus.simulator.errors import NoSubprotocolError, RefusedError, UnreachableError
from voltbus.simulator.options import SUBPROTOCOLS, Options, Protocol

REASONS = {
    400: "no common OCPP version, or a malformed request",
    401: "wrong or missing password",
    403: "not allowed",
    404: "unknown station",
    503: "the server is not ready",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the station connects, and how it proves who it is."""

    url: str
    password: str | bytes | None = field(repr=False)
    ssl: tls.SSLContext | None


async def open_socket(
    address: Address, station_id: str, protocol: Protocol, options: Options
) -> ClientConnection:
    """Open the WebSocket of a station.

    Raises RefusedError, NoSubprotocolError, UnreachableError.
    """
    headers = {}
    if address.password is not None:
        secret = address.password
        raw = secret if isinstance(secret, bytes) else secret.encode()
        pair = base64.b64encode(station_id.encode() + b":" + raw)
        headers["Authorization"] = f"Basic {pair.decode()}"
    uri = f"{address.url.rstrip('/')}/{quote(station_id, safe='')}"
    try:
        opened = await connect(
            uri,
            subprotocols=[Subprotocol(SUBPROTOCOLS[protocol])],
            additional_headers=headers,
            open_timeout=options.open_timeout,
            compression="deflate" if options.compression else None,
            ssl=address.ssl,
            proxy=None,
        )
    except InvalidStatus as refusal:
        status = refusal.response.status_code
        reason = REASONS.get(status, "no reason known")
        raise RefusedError(
            status,
            f"{address.url} refused {station_id} with HTTP {status}: {reason}",
            dict(refusal.response.headers.raw_items()),
        ) from None
    except InvalidURI:
        raise UnreachableError(f"{address.url} is no WebSocket address") from None
    except (OSError, TimeoutError, InvalidHandshake) as failure:
        raise UnreachableError(f"{address.url} can't be reached: {_why(failure)}") from failure
    if opened.subprotocol is None:
        await opened.close()
        raise NoSubprotocolError(f"the server speaks no {SUBPROTOCOLS[protocol]}")
    return opened


def _why(failure: Exception) -> str:
    """Say in words why no connection came about."""
    words: tuple[tuple[type[Exception], str], ...] = (
        (ConnectionRefusedError, "nothing listens there"),
        (socket.gaierror, "no such host"),
        (tls.SSLError, "the TLS handshake failed"),
        (TimeoutError, "no answer in time"),
        (InvalidHandshake, "what listens there is no WebSocket server"),
    )
    return next((why for kind, why in words if isinstance(failure, kind)), type(failure).__name__)
