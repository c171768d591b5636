"""What tests let stations say of a charge, also while the services are away."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from operating import until
from voltbus.simulator import AnswerTimeoutError, CallFailedError, Options

if TYPE_CHECKING:
    from voltbus.simulator import Protocol, Station2, Station16

PATIENT = Options(timeout=60.0)


def start_of(
    protocol: Protocol, token: str, began: str = "2026-03-01T10:00:00Z", identity: str = ""
) -> tuple[str, dict[str, Any]]:
    """The message that begins a charge with a token: action and payload.

    ``identity`` is the station's own name for it, which 1.6 has none of; else the token's.
    """
    if protocol == "1.6":
        payload = {"connectorId": 1, "meterStart": 100, "timestamp": began, "idTag": token}
        return "StartTransaction", payload
    return "TransactionEvent", {
        "eventType": "Started",
        "timestamp": began,
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": identity or f"charge-{zlib.crc32(token.encode())}"},
        "evse": {"id": 1, "connectorId": 1},
        "idToken": {"idToken": token, "type": "ISO14443"},
    }


async def insist(station: Station16 | Station2, action: str, payload: dict[str, Any]) -> Any:
    """Resend under new message ids until there is an answer, as stations do (1.6 3.7)."""

    async def once() -> Any:
        try:
            return await station.call(action, payload)
        except (CallFailedError, AnswerTimeoutError):
            return None

    return await until(once, lambda answer: answer is not None, deadline_s=120)
