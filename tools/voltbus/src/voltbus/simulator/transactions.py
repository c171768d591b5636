"""What a station remembers of its transactions, and the queue that outlives a lost connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Payload = dict[str, Any]


@dataclass(slots=True)
class Transaction:
    """A transaction on one connector (2.x: on one EVSE).

    ``id`` is the central system's number in 1.6 (None until StartTransaction is answered) and
    the station's own string in 2.x. ``status`` is the id token's status in the latest answer
    that carried one.
    """

    connector: int
    id_token: str = field(repr=False)
    token_type: str
    meter_wh: int
    id: int | str | None = None
    status: str | None = None
    seq_no: int = 0
    begun_wh: int = 0
    remote_start_id: int | None = None
    ended: bool = False
    answer: Payload = field(default_factory=dict)


@dataclass(slots=True)
class Undelivered:
    """A transaction message that waits for its answer.

    The payload is built at each attempt: an offline 1.6 station learns the transactionId only
    when its StartTransaction is answered.
    """

    action: str
    payload: Callable[[], Payload]
    on_answer: Callable[[Payload], None]
    message_id: str = ""
    attempts: int = 0


@dataclass(slots=True)
class LocalList:
    """The local authorization list: token to its info, and the version it has."""

    version: int = 0
    entries: dict[str, Payload] = field(default_factory=dict, repr=False)

    def update(
        self, version: int, kind: str, changes: dict[str, Payload | None], most: int | None = None
    ) -> str:
        """Apply a Full or Differential list; None removes a token (1.6 §5.15, D01).

        A list that would have more than ``most`` entries is Failed, and the old one stays.
        """
        if kind == "Full":
            after = {token: info for token, info in changes.items() if info is not None}
        elif version <= self.version:
            return "VersionMismatch"
        else:
            after = {
                token: info for token, info in self.entries.items() if token not in changes
            } | {token: info for token, info in changes.items() if info is not None}
        if most is not None and len(after) > most:
            return "Failed"
        self.entries, self.version = after, version
        return "Accepted"
