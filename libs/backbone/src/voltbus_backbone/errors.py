"""Every error of the backbone, and how it shows at each edge.

VoltbusError
├── Unavailable          a server cannot be reached now; whoever asked may try again
│   └── DeadlineExceeded no answer within the budget
├── Refused              Kafka will never store a record: repeating it cannot help
├── InvalidRecord        a Kafka record that cannot be processed: it goes to the dead letters
└── Problem              an HTTP answer by RFC 9457, with a status and what to do next

Settings and command-line errors are one line and exit code 2 (``SettingsError``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.envelope import Record


class VoltbusError(Exception):
    """The root: everything Voltbus raises on purpose."""


class Unavailable(VoltbusError):  # noqa: N818 - a state of the world, named as such
    """MongoDB, Kafka or a service cannot be reached; nothing was decided, try again."""


class DeadlineExceeded(Unavailable):
    """The answer did not come within the budget."""


class RefusalReason(StrEnum):
    """Why Kafka will never store a record; also the label of a metric."""

    TOO_LARGE = "too_large"
    UNDELIVERABLE = "undeliverable"  # its topic or partition does not exist, or is not ours
    MALFORMED = "malformed"  # Kafka cannot write it, or refuses what it holds


@dataclass(frozen=True)
class Refusal:
    """One record that Kafka will never store. ``detail`` is a sentence without any value of it."""

    record: Record
    reason: RefusalReason
    detail: str


class Refused(VoltbusError):  # noqa: N818 - Kafka's decision
    """Records of one publish() that Kafka will never store; it has stored all the others.

    Whoever published gives these up: a dead letter where one is kept, never a repetition.
    """

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        first = refusals[0].detail
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        super().__init__(first + more)
        self.refusals = tuple(refusals)


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
