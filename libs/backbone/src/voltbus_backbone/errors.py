"""Every error of the backbone, and how it shows at each edge.

VoltbusError
├── Unavailable          a server cannot be reached now; whoever asked may try again
│   └── DeadlineExceeded no answer within the budget
├── InvalidRecord        a Kafka record that cannot be processed: it goes to the dead letters
└── Problem              an HTTP answer by RFC 9457, with a status and what to do next

Settings and command-line errors are one line and exit code 2 (``SettingsError``).
"""

from __future__ import annotations

from typing import Any


class VoltbusError(Exception):
    """The root: everything Voltbus raises on purpose."""


class Unavailable(VoltbusError):  # noqa: N818 - a state of the world, named as such
    """MongoDB, Kafka or a service cannot be reached; nothing was decided, try again."""


class DeadlineExceeded(Unavailable):
    """The answer did not come within the budget."""


class InvalidRecord(VoltbusError):  # noqa: N818 - the record is at fault
    """A record that no retry can help. ``reason`` holds no value of the record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SettingsError(VoltbusError):
    """A process was started with settings it cannot use: one line, exit code 2."""


class Problem(VoltbusError):  # noqa: N818 - RFC 9457's own word
    """An HTTP problem (RFC 9457).

    ``kind`` ends the ``type`` URN; ``errors`` lists fields as ``{"field", "message"}``.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The ``application/problem+json`` document."""
        document: dict[str, Any] = {
            "type": f"urn:voltbus:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        return document


def not_found(what: str) -> Problem:
    """404, without repeating the identifier."""
    return Problem(404, "not-found", f"There is no such {what}.")
