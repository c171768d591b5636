"""The refusals of a log-in, each with the HTTP answer that the station gets.

LoginRefusedError   the station is not admitted; it never carries any part of a password
"""

from __future__ import annotations

import math
from http import HTTPStatus

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="OCPP", charset="UTF-8"'}


class LoginRefusedError(Exception):
    """The station is not admitted. ``reason`` is a label for metrics, logs and events.

    ``registered``: whether auth knows the station; None where it was not asked.
    """

    def __init__(
        self, status: HTTPStatus, reason: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.text = text
        self.headers = headers or {}
        self.registered: bool | None = None

    @property
    def ours(self) -> bool:
        """Whether our own state is the cause (503), not the station."""
        return self.status is HTTPStatus.SERVICE_UNAVAILABLE


def no_common_subprotocol() -> LoginRefusedError:
    """Answer 400 (A3)."""
    return LoginRefusedError(
        HTTPStatus.BAD_REQUEST,
        "subprotocol",
        "No common subprotocol. Offer ocpp2.1, ocpp2.0.1 or ocpp1.6.\n",
    )


def no_websocket(status: HTTPStatus) -> LoginRefusedError:
    """Answer as the WebSocket library does to a request that is none (RFC 6455 §4.2.1)."""
    refused = LoginRefusedError(status, "no_websocket", "")
    refused.registered = True  # the log-in had succeeded
    return refused


def unknown_station() -> LoginRefusedError:
    """Answer 404: auth knows no such station (A1)."""
    return LoginRefusedError(
        HTTPStatus.NOT_FOUND, "unknown_station", "There is no such charging station.\n"
    )


def unauthorized(reason: str) -> LoginRefusedError:
    """Answer 401 with a challenge (A4)."""
    return LoginRefusedError(
        HTTPStatus.UNAUTHORIZED, reason, "Log in with your identity and password.\n", _CHALLENGE
    )


def forbidden(reason: str) -> LoginRefusedError:
    """Answer 403: another certificate is needed (A9)."""
    return LoginRefusedError(
        HTTPStatus.FORBIDDEN, reason, "This certificate does not belong here.\n"
    )


def duplicate_identity(wait_s: float) -> LoginRefusedError:
    """Answer 409: another live connection holds this identity (ADR 0019)."""
    return LoginRefusedError(
        HTTPStatus.CONFLICT,
        "duplicate_identity",
        "Another station is connected with this identity.\n",
        {"Retry-After": str(max(math.ceil(wait_s), 1))},
    )


def unavailable(reason: str, retry_after_s: int) -> LoginRefusedError:
    """Answer 503 with Retry-After, in seconds."""
    return LoginRefusedError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        reason,
        "Not now. Try again later.\n",
        {"Retry-After": str(retry_after_s)},
    )


def too_many_failures(wait_s: float) -> LoginRefusedError:
    """Answer 429 with Retry-After, in seconds."""
    refused = LoginRefusedError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_failures",
        "Too many wrong passwords. Try again later.\n",
        {"Retry-After": str(max(math.ceil(wait_s), 1))},
    )
    refused.registered = True  # a password was compared with its own
    return refused
