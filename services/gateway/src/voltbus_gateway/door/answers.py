"""The refusals of the door, each with the HTTP answer that a station gets.

Refused   the station is not let in; nothing of a password is in it, in a log or in an event
"""

from __future__ import annotations

import math
from http import HTTPStatus

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="OCPP", charset="UTF-8"'}


class Refused(Exception):  # noqa: N818 - what happened to the station
    """The station is not let in. ``reason`` is a label for metrics, logs and events.

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
        """Whether it is our own state that refuses (503), and nothing about the station."""
        return self.status is HTTPStatus.SERVICE_UNAVAILABLE


def no_common_subprotocol() -> Refused:
    """400 (A3)."""
    return Refused(
        HTTPStatus.BAD_REQUEST,
        "subprotocol",
        "No common subprotocol. Offer ocpp2.1, ocpp2.0.1 or ocpp1.6.\n",
    )


def no_websocket(status: HTTPStatus) -> Refused:
    """The WebSocket library's own answer to a request that is none (RFC 6455 §4.2.1)."""
    refused = Refused(status, "no_websocket", "")
    refused.registered = True  # the door had let it in
    return refused


def nobody() -> Refused:
    """404 (A1)."""
    return Refused(HTTPStatus.NOT_FOUND, "unknown_station", "There is no such charging station.\n")


def unauthorized(reason: str) -> Refused:
    """401 with a challenge (A4)."""
    return Refused(
        HTTPStatus.UNAUTHORIZED, reason, "Log in with your identity and password.\n", _CHALLENGE
    )


def forbidden(reason: str) -> Refused:
    """403: another certificate is needed (A9)."""
    return Refused(HTTPStatus.FORBIDDEN, reason, "This certificate does not belong here.\n")


def duplicate_identity(wait_s: float) -> Refused:
    """409: another live connection holds this identity (ADR 0019)."""
    return Refused(
        HTTPStatus.CONFLICT,
        "duplicate_identity",
        "Another station is connected with this identity.\n",
        {"Retry-After": str(max(math.ceil(wait_s), 1))},
    )


def unavailable(reason: str, retry_after_s: int) -> Refused:
    """503, with when to come again."""
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        reason,
        "Not now. Try again later.\n",
        {"Retry-After": str(retry_after_s)},
    )


def too_many_failures(wait_s: float) -> Refused:
    """429, with when to come again."""
    refused = Refused(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_failures",
        "Too many wrong passwords. Try again later.\n",
        {"Retry-After": str(max(math.ceil(wait_s), 1))},
    )
    refused.registered = True  # a password was compared with its own
    return refused
