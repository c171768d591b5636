"""Which of a station's messages is handled now, and which stays unparsed in its socket."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from voltbus_gateway.connection.flow import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_gateway.connection.connection import Connection
    from voltbus_gateway.connection.flow import Flow

_ANSWER = re.compile(rb"\s*\[\s*[345]\s*,")


class Intake:
    """Decides for one connection. ``wake`` has the socket try again.

    A large message is parsed when nothing else of its station is in hand, for a parsed one takes
    some twenty times its bytes. A large answer waits for none of the station's calls (A13).
    """

    __slots__ = ("_connection", "_flow", "_in_line", "_wake")

    def __init__(self, connection: Connection, flow: Flow, wake: Callable[[], bool]) -> None:
        self._connection = connection
        self._flow = flow
        self._wake = wake
        self._in_line: set[bool] = set()  # of those who wait for the flow, with a large message

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the messages that wait in the session for their turn."""
        return self._connection.waiting_bytes

    def admits(self, message: bytes) -> bool:
        """Whether this message may be handled now."""
        connection, size = self._connection, len(message)
        if size > LARGE and not (connection.free or _ANSWER.match(message)):
            return False
        return connection.wants_input and self._flow.admits(size)

    def wait(self, message: bytes) -> None:
        """Wake the socket when it may be tried again, also whenever something ends."""
        self._connection.watch()
        size = len(message)
        large = size > LARGE
        if large not in self._in_line and not self._flow.admits(size):
            self._in_line.add(large)
            self._flow.wait(size, partial(self._take_turn, large))

    def _take_turn(self, large: bool) -> bool:  # noqa: FBT001 - bound by partial
        self._in_line.discard(large)
        return self._wake()

    def receive(self, message: bytes) -> None:
        """Handle a message."""
        self._connection.receive(message)
