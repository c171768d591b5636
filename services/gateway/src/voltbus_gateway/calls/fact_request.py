"""A fact with an answer: two futures, and the order in which they come is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from voltbus_backbone.contract.values import Message


class FactRequest:
    """Calls exactly one of ``on_answer``, ``on_silence`` and ``on_loss``.

    An answer proves that Kafka has the fact. Silence counts only once Kafka has confirmed it.
    Otherwise the fact is lost: the station must send it again, unless Kafka will never store it
    (``on_loss`` gets the error).
    """

    __slots__ = ("_answered", "_done", "_lost", "_no_answer", "_silent", "_stored")

    def __init__(
        self,
        stored: asyncio.Future[None],
        answer: asyncio.Future[Message],
        *,
        on_answer: Callable[[Message], None],
        on_silence: Callable[[], None],
        on_loss: Callable[[BaseException], None],
    ) -> None:
        self._answered = on_answer
        self._silent = on_silence
        self._lost = on_loss
        self._done = False
        self._stored = False
        self._no_answer = False
        stored.add_done_callback(self._on_stored)
        answer.add_done_callback(self._on_answer)

    def _on_stored(self, stored: asyncio.Future[None]) -> None:
        error = get_error(stored)
        if self._done:
            return
        if error is not None:
            self._done = True
            self._lost(error)
        elif self._no_answer:
            self._done = True
            self._silent()
        else:
            self._stored = True

    def _on_answer(self, answer: asyncio.Future[Message]) -> None:
        error = get_error(answer)
        if self._done:
            return
        if error is None:
            self._done = True
            self._answered(answer.result())
        elif self._stored:
            self._done = True
            self._silent()
        elif isinstance(error, DeadlineExceeded):
            # Not stored within our budget: the station hears an error before it times out.
            self._done = True
            self._lost(error)
        else:
            # A service says that it can't decide, faster than Kafka confirms to us.
            self._no_answer = True


def get_error(future: asyncio.Future[Any]) -> BaseException | None:
    """Return why a finished future has no result; None when it has one."""
    return Unavailable("cancelled") if future.cancelled() else future.exception()
