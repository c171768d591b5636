"""What comes over Kafka: transactions to count, tokens to forget, questions about agreements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voltbus_agreements.domain.usage import to_counted_transaction
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.consumption import Consumption
from voltbus_backbone.contract.agreements import RetrieveAgreementAnswer
from voltbus_backbone.contract.registry import (
    RETRIEVE_AGREEMENT,
    RETRIEVE_AGREEMENT_ANSWER,
    TOKEN_ERASED,
    TRANSACTION_CORRECTED,
    TRANSACTION_ENDED,
    Topic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_agreements.handlers.changes import ChangeHandler
    from voltbus_agreements.store import Store
    from voltbus_backbone.bus.envelope import Event, Record


@dataclass(frozen=True)
class MessageHandlers:
    """``source`` and ``now`` go into the answers."""

    store: Store
    changes: ChangeHandler
    source: str
    now: Callable[[], datetime]

    async def count_transactions(self, events: Sequence[Event]) -> list[Record]:
        """Count ended and corrected transactions; what follows from it leaves by the outbox."""
        await self.changes.count_transactions(
            [to_counted_transaction(event.decode()) for event in events], now=self.now()
        )
        return []

    async def forget_tokens(self, events: Sequence[Event]) -> list[Record]:
        """Forget tokens whose holders were forgotten. A token that was only deleted stays named:

        registered again it has the same reference, and its agreements hold again.
        """
        await self.changes.forget_tokens(
            {event.decode().token_ref for event in events}, now=self.now()
        )
        return []

    async def answer_requests(self, events: Sequence[Event]) -> list[Record]:
        """Answer with the agreement as it is now, or without one."""
        found = await self.store.get_many({event.decode().id for event in events})
        answers = []
        for event in events:
            agreement = found.get(event.decode().id)
            answer = RetrieveAgreementAnswer(
                agreement=None if agreement is None else agreement.snapshot()
            )
            answers.append(
                envelope.reply(
                    event, RETRIEVE_AGREEMENT_ANSWER, answer, source=self.source, now=self.now()
                )
            )
        return [answer for answer in answers if answer is not None]

    def list_consumptions(self) -> list[Consumption]:
        """Return what this service reads."""
        return [
            Consumption(
                group="agreements",
                topics=(Topic.AGREEMENTS_REQUESTS,),
                types=frozenset({RETRIEVE_AGREEMENT.name}),
                handle=self.answer_requests,
            ),
            Consumption(
                group="agreements-usage",
                topics=(Topic.TRANSACTIONS_EVENTS,),
                types=frozenset({TRANSACTION_ENDED.name, TRANSACTION_CORRECTED.name}),
                handle=self.count_transactions,
            ),
            Consumption(
                group="agreements-tokens",
                topics=(Topic.TOKENS_EVENTS,),
                types=frozenset({TOKEN_ERASED.name}),
                handle=self.forget_tokens,
            ),
        ]
