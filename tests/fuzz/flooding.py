"""Stations that flood: each a plain socket in a thread, which sends as fast as the kernel takes."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import struct
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PING, _TEXT, _CONTINUATION = 0x9, 0x1, 0x0
_FIN, _COMPRESSED = 0x80, 0x40
_MASK = bytes(4)  # the mask of zeros leaves the bytes as they are
_LARGE_16 = 150_000
_LARGE_21 = 510_000
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Flood:
    """What is sent again and again, and by whom.

    ``first`` comes once; ``payload`` gives the bytes of a round. ``reads``: whether it reads what
    it is told. ``closes`` is the close code that it ends with, if the gateway ends it.
    """

    name: str
    payload: Callable[[], bytes]
    subprotocol: str = "ocpp1.6"
    deflate: bool = False
    reads: bool = True
    closes: int | None = None
    first: bytes = b""


def frame(data: bytes, opcode: int = _TEXT, flags: int = _FIN) -> bytes:
    """A client's frame (RFC 6455 §5.2)."""
    size = len(data)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    elif size < 65536:
        length = struct.pack("!BH", 0x80 | 126, size)
    else:
        length = struct.pack("!BQ", 0x80 | 127, size)
    return bytes([flags | opcode]) + length + _MASK + data


def call(action: str, payload: object, kind: int = 2) -> bytes:
    """A frame with a CALL, or a SEND (6)."""
    return frame(json.dumps([kind, secrets.token_hex(8), action, payload]).encode())


def _pings() -> bytes:
    return frame(b"", _PING) * 10_000


def _large_pings() -> bytes:
    return frame(b"p" * 125, _PING) * 1000


def _nonsense() -> bytes:
    return frame(b"x") * 10_000


def _fragments() -> bytes:
    return frame(b"", _CONTINUATION, 0) * 10_000


def _bomb() -> bytes:
    deflate = zlib.compressobj(9, wbits=-11)
    data = deflate.compress(b" " * 520_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(data[:-4], _TEXT, _FIN | _COMPRESSED) * 100


def _sends() -> bytes:
    values = [{"t": 0, "v": "1"}] * (_LARGE_21 // 20)
    stream = {"id": 1, "pending": 0, "basetime": "2026-03-01T12:00:00Z", "data": values}
    return b"".join(call("NotifyPeriodicEventStream", stream, kind=6) for _ in range(8))


def _large_calls() -> bytes:
    samples = [{"value": "1"}] * (_LARGE_16 // 15)
    values = {
        "connectorId": 1,
        "meterValue": [{"timestamp": "2026-03-01T12:00:00Z", "sampledValue": samples}],
    }
    return b"".join(call("MeterValues", values) for _ in range(32))


def _heartbeats() -> bytes:
    return b"".join(call("Heartbeat", {}) for _ in range(500))


FLOODS = (
    Flood("pings", _pings, closes=1008),
    Flood("pongs_that_nobody_reads", _large_pings, reads=False, closes=1008),
    Flood("answers_that_nobody_reads", _heartbeats, reads=False),
    Flood("nonsense", _nonsense),
    Flood("fragments", _fragments, first=frame(b"[", _TEXT, 0)),
    Flood("deflate_bombs", _bomb, deflate=True),
    Flood("large_sends", _sends, subprotocol="ocpp2.1"),
    Flood("large_calls", _large_calls),
)


class Flooder:
    """One station that floods until it is told to stop or is cut off."""

    def __init__(
        self, flood: Flood, payload: bytes, address: tuple[str, int], station: tuple[str, str]
    ) -> None:
        self._flood = flood
        self._payload = payload
        self._name, self._password = station
        self._socket = socket.create_connection(address, timeout=_PATIENCE_S)
        if not flood.reads:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._threads = [threading.Thread(target=self._send, daemon=True)]
        if flood.reads:
            self._threads.append(threading.Thread(target=self._receive, daemon=True))
        self._tail = b""
        self.sent = 0
        self.stopped = threading.Event()

    def log_in(self) -> None:
        """Open the WebSocket."""
        self._socket.sendall(self._upgrade())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(1)
        assert b" 101 " in answer, answer.splitlines()[0]

    def start(self) -> None:
        """Flood."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Go, without a word."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_PATIENCE_S)
        self._socket.close()

    @property
    def close_code(self) -> int | None:
        """The code of the close frame with which the gateway's words ended, if they did."""
        for place in range(len(self._tail) - 4, -1, -1):
            if self._tail[place] == 0x88 and self._tail[place + 1] == len(self._tail) - place - 2:
                return int.from_bytes(self._tail[place + 2 : place + 4])
        return None

    def _upgrade(self) -> bytes:
        user = base64.b64encode(f"{self._name}:{self._password}".encode()).decode()
        lines = [
            f"GET /ocpp/{self._name} HTTP/1.1",
            "Host: gateway",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
            f"Sec-WebSocket-Protocol: {self._flood.subprotocol}",
            f"Authorization: Basic {user}",
        ]
        if self._flood.deflate:
            lines.append(
                "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover;"
                " server_no_context_takeover; client_max_window_bits=11; server_max_window_bits=11"
            )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _rounds(self) -> Iterator[bytes]:
        yield self._flood.first
        while True:
            yield self._payload

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            for payload in self._rounds():
                for start in range(0, len(payload), 65536):
                    if self.stopped.is_set():
                        return
                    self._socket.sendall(payload[start : start + 65536])
                    self.sent += len(payload[start : start + 65536])

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65536):
                self._tail = (self._tail + data)[-200:]
