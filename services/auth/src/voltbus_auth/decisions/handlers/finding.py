"""Which registered token has a value: for a service that has only what an operator wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.auth import FindToken, TokenFound
from voltbus_backbone.contract.registry import TOKEN_FOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.handlers.knowledge import Library
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_backbone.bus.envelope import Event, Record


class Finding:
    """Answers with the token's reference and type, never with more."""

    def __init__(
        self, library: Library, key: TokenKey, *, source: str, now: Callable[[], datetime]
    ) -> None:
        self._library = library
        self._key = key
        self._source = source
        self._now = now

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Answer a batch. Without a type the likeliest token is meant, as for 1.6's idTag."""
        asked: list[FindToken] = [event.message for event in events]
        refs = [self._key.presented(message.id_token) for message in asked]
        knowledge = await self._library.load(
            set(refs), set(), self._key.contracts(message.id_token for message in asked)
        )
        now = self._now()
        records = []
        for event, ref in zip(events, refs, strict=True):
            token = knowledge.tokens.get(ref)
            answer = TokenFound(
                token_ref=knowledge.token_ref(ref), type=None if token is None else token.type
            )
            records.append(reply(event, TOKEN_FOUND, answer, source=self._source, now=now))
        return [record for record in records if record is not None]
