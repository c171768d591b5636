"""What can go wrong for a simulated station.

SimulatorError
├── UnreachableError      nothing listens there, or TLS failed
├── RefusedError          the server answered the upgrade with an HTTP error (``status``)
├── NoSubprotocolError    the server upgraded, but agreed on none of our OCPP versions
├── ConnectionLostError   the socket closed while something was waiting for it
├── AnswerTimeoutError    no answer, or no call from the central system, in time
├── CallFailedError       the central system answered with a CALLERROR (``code``)
├── InvalidCallError      the payload we were told to send breaks the schema of its action
└── InvalidAnswerError    the answer breaks the OCPP schema of its action

No message ever holds a password or an id token.
"""

from __future__ import annotations

from typing import Any


class SimulatorError(Exception):
    """Anything a simulated station reports to whoever drives it."""


class UnreachableError(SimulatorError):
    """The address could not be reached at all."""


class RefusedError(SimulatorError):
    """The server refused the WebSocket upgrade; ``status`` is its HTTP status."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


class NoSubprotocolError(SimulatorError):
    """The upgrade succeeded without an OCPP version, so the station closes again."""


class ConnectionLostError(SimulatorError):
    """The socket closed; ``code`` is the close code the station saw, if any."""

    def __init__(self, sentence: str, code: int | None = None) -> None:
        super().__init__(sentence)
        self.code = code


class AnswerTimeoutError(SimulatorError):
    """Something awaited did not come before its deadline."""


class CallFailedError(SimulatorError):
    """The central system answered with a CALLERROR."""

    def __init__(
        self, action: str, code: str, description: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{action} was answered with {code}: {description or 'no description'}")
        self.action = action
        self.code = code
        self.description = description
        self.details = details or {}


class InvalidAnswerError(SimulatorError):
    """The central system's answer does not follow the schema; ``code`` names the OCPP error."""

    def __init__(self, action: str, code: str) -> None:
        super().__init__(f"the answer to {action} breaks its schema ({code})")
        self.action = action
        self.code = code


class InvalidCallError(SimulatorError):
    """Our own payload does not follow the schema: a mistake of whoever drives the station."""

    def __init__(self, action: str, code: str) -> None:
        super().__init__(
            f"this {action} breaks its schema ({code}); use send_raw to send it anyway"
        )
        self.action = action
        self.code = code
