"""What auth knows of a token that an operator named by its value: its type and its reference.

Config has no tokens. It asks over Kafka, and keeps of the answer what a command needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from voltbus_backbone.contract.auth import FindToken, TokenFound
from voltbus_backbone.contract.registry import FIND_TOKEN
from voltbus_backbone.contract.values import IdToken
from voltbus_backbone.errors import VoltbusError
from voltbus_config.domain.shapes import REMOTE_START

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voltbus_backbone.contract.config import CommandRequested
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

log = structlog.get_logger(__name__)

_DEADLINE_S = 2.0
# After a silence others are not kept waiting for the same answer.
_PAUSE_S = 5.0


class TokenDirectory(Protocol):
    """Whoever knows tokens."""

    async def find(self, station_id: str, value: str, kind: str | None) -> TokenFound | None:
        """Return the token with this value (and type); None when no answer can be had now."""
        ...


class TokenRequester(Protocol):
    """Whoever asks over Kafka: the backbone's Requester."""

    def ask(
        self, row: MessageType[Any], message: Message, *, deadline_s: float
    ) -> Awaitable[Message]:
        """Ask, and wait for the answer at most so long. Raises VoltbusError."""
        ...


class AuthTokenDirectory:
    """Tokens as auth knows them. ``clock`` gives seconds that only grow."""

    def __init__(self, requester: TokenRequester, *, clock: Callable[[], float]) -> None:
        self._requester = requester
        self._clock = clock
        self._silent_until = 0.0

    async def find(self, station_id: str, value: str, kind: str | None) -> TokenFound | None:
        """Ask auth."""
        if self._clock() < self._silent_until:
            return None
        question = FindToken(station_id=station_id, id_token=IdToken(value=value, type=kind or ""))
        try:
            answer = await self._requester.ask(FIND_TOKEN, question, deadline_s=_DEADLINE_S)
        except VoltbusError as error:
            log.warning("tokens.silent", reason=type(error).__name__)
            self._silent_until = self._clock() + _PAUSE_S
            return None
        return answer if isinstance(answer, TokenFound) else None


def needs_token_type(request: CommandRequested) -> bool:
    """Return whether a command names a token without its type."""
    return request.action == REMOTE_START and request.payload.get("type") is None


def add_token_type(request: CommandRequested, found: TokenFound | None) -> CommandRequested:
    """Add the registered token's type to a request; unchanged where none is registered."""
    if found is None or found.type is None:
        return request
    return msgspec.structs.replace(request, payload={**request.payload, "type": found.type})
