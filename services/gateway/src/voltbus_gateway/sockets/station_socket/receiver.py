"""What a socket needs of whoever takes a station's messages."""

from __future__ import annotations

from typing import Protocol


class Receiver(Protocol):
    """Who takes a station's messages."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that it took and that wait for their turn."""
        ...

    def admits(self, message: bytes) -> bool:
        """Whether this message may be handled now."""
        ...

    def wait(self, message: bytes) -> None:
        """Wake the socket when it may be tried again."""
        ...

    def receive(self, message: bytes) -> None:
        """Handle a message."""
        ...
