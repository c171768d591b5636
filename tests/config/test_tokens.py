"""Asking auth for a token: what is asked, and what its silence costs whoever comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from voltbus_backbone.contract.auth import FindToken, TokenFound
from voltbus_backbone.contract.registry import FIND_TOKEN
from voltbus_backbone.errors import DeadlineExceeded
from voltbus_config.handlers.tokens import AuthTokenDirectory

if TYPE_CHECKING:
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

CARD = "04A2B3C4D5E680"


class Auth:
    """Auth in memory: it answers, or is silent."""

    def __init__(self) -> None:
        self.asked: list[FindToken] = []
        self.silent = False

    async def ask(self, row: MessageType[Any], message: Message, *, deadline_s: float) -> Message:
        assert row is FIND_TOKEN
        assert 0 < deadline_s < 5
        assert isinstance(message, FindToken)
        self.asked.append(message)
        if self.silent:
            raise DeadlineExceeded("no answer within the deadline")
        return TokenFound(token_ref="tok_1", type="ISO14443")


async def test_a_token_is_asked_for_by_its_value() -> None:
    """Without a type as an idTag of 1.6, or with the one that was given."""
    auth = Auth()
    tokens = AuthTokenDirectory(auth, clock=lambda: 0.0)
    found = await tokens.find("CS-1", CARD, None)
    assert found == TokenFound(token_ref="tok_1", type="ISO14443")
    await tokens.find("CS-1", CARD, "Local")
    assert [each.id_token.type for each in auth.asked] == ["", "Local"]
    assert {(each.station_id, each.id_token.value) for each in auth.asked} == {("CS-1", CARD)}


async def test_a_silent_auth_keeps_nobody_else_waiting() -> None:
    """Boots are answered by the same reader: only every few seconds is silence waited for."""
    auth, time = Auth(), [100.0]
    tokens = AuthTokenDirectory(auth, clock=lambda: time[0])
    auth.silent = True
    with capture_logs() as lines:
        assert [await tokens.find("CS-1", CARD, None) for _ in range(50)] == [None] * 50
    assert len(auth.asked) == 1
    assert [line["event"] for line in lines] == ["tokens.silent"]
    assert CARD not in str(lines)
    auth.silent = False
    time[0] += 5
    assert await tokens.find("CS-1", CARD, None) is not None
