"""How large a command may be: it becomes a record to a gateway, then a frame (ADR 0011). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.bounds import COMMAND_BYTES, COMMAND_NAME_LENGTH
from voltbus_config.domain.mistake import Mistake

if TYPE_CHECKING:
    from voltbus_backbone.contract.config import CommandRequested


def find_problem(request: CommandRequested) -> Mistake | None:
    """Return what of a request is too large to be carried to a station, or None."""
    names = {
        "action": request.action,
        "idempotency_key": request.idempotency_key,
        "cause": request.cause,
    }
    for name, text in names.items():
        if text is not None and len(text) > COMMAND_NAME_LENGTH:
            return Mistake(name, f"must have at most {COMMAND_NAME_LENGTH} characters")
    size = json_bytes(request.payload)
    if size > COMMAND_BYTES:
        return Mistake("payload", f"takes {size} bytes as JSON, {COMMAND_BYTES} are allowed")
    return None


def json_bytes(value: Any) -> int:
    """Count the bytes of a value in a record; 0 for invalid text, which other checks refuse."""
    try:
        return len(msgspec.json.encode(value))
    except UnicodeEncodeError:
        return 0
