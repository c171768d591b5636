"""`auth.external-requests`: tokens that only another system knows, apart from what must be quick.

A consumer group of its own. Every question of a batch is asked at once, each token and station
once; what was said is remembered, so that the next Authorize is as quick as any other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from voltbus_auth.decisions.domain.external import answer_of, leaves_open
from voltbus_auth.decisions.domain.journal import AUTHORIZE as AUTHORIZED
from voltbus_auth.decisions.domain.journal import Decided
from voltbus_auth.decisions.domain.verdict import Question
from voltbus_auth.decisions.handlers.knowledge import judged_at
from voltbus_auth.projections.domain.places import evse_of
from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.auth import AuthorizeAnswer, TransactionMessage
from voltbus_backbone.contract.providers import ProviderAuthorize
from voltbus_backbone.contract.registry import (
    AUTHORIZE_ANSWER,
    EXTERNAL_AUTHORIZE,
    EXTERNAL_TRANSACTION,
    FAULT,
    Fault,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from voltbus_auth.decisions.domain.external import Answer
    from voltbus_auth.decisions.domain.verdict import Verdict
    from voltbus_auth.decisions.handlers.knowledge import Knowledge, Library
    from voltbus_auth.decisions.handlers.ports import Journal, Remembering
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_auth.transactions.handlers.bookkeeping import Bookkeeping
    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.auth import Authorize
    from voltbus_backbone.contract.providers import ProviderAuthorizeAnswer

TYPES = frozenset({EXTERNAL_AUTHORIZE.name, EXTERNAL_TRANSACTION.name})

# The part of the time until the asker's deadline that the other system may take; the rest is for
# the way back.
_SHARE = 0.6

UNDECIDED = Fault(code="undecided", detail="The external authorizer gave no answer.")

Key = tuple[str, str]


class Asking(Protocol):
    """Asks the external authorizer."""

    async def ask(
        self, question: ProviderAuthorize, budget_s: float
    ) -> ProviderAuthorizeAnswer | None:
        """What it says within so many seconds; None when it says nothing that decides."""
        ...


class External:
    """Answers a batch."""

    def __init__(
        self,
        *,
        library: Library,
        bookkeeping: Bookkeeping,
        journal: Journal,
        answers: Remembering,
        authorizer: Asking,
        key: TokenKey,
        source: str,
        now: Callable[[], datetime],
        deadline_s: float,
        cache: timedelta,
    ) -> None:
        self._library = library
        self._bookkeeping = bookkeeping
        self._journal = journal
        self._answers = answers
        self._authorizer = authorizer
        self._key = key
        self._source = source
        self._now = now
        self._deadline_s = deadline_s
        self._cache = cache

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers and the events of a batch."""
        keys = [key for event in events if (key := self._key_of(event)) is not None]
        refs, stations = {ref for ref, _ in keys}, {station for _, station in keys}
        tokens = (event.message.id_token for event in events)
        contracts = self._key.contracts(token for token in tokens if token is not None)
        knowledge = await self._library.load(refs, stations, contracts)
        await self.hear(events, knowledge)
        records: list[Record | None] = []
        decided: list[Decided] = []
        facts: list[Event] = []
        for event in events:
            if event.type == EXTERNAL_AUTHORIZE.name:
                records.append(self._authorize(event, event.message, knowledge, decided))
            else:
                facts.append(event)
        if facts:
            records.extend(await self._bookkeeping.handle(facts, knowledge=knowledge))
        self._journal.note(decided)
        return [record for record in records if record is not None]

    def _key_of(self, event: Event) -> Key | None:
        message: Authorize | TransactionMessage = event.message
        if message.id_token is None:
            return None
        return self._key.presented(message.id_token), message.station_id

    async def hear(self, events: Sequence[Event], knowledge: Knowledge) -> None:
        """Ask about every token that is still open, and take what was said into the knowledge."""
        by_key = {key: event for event in events if (key := self._key_of(event)) is not None}
        wanted = [
            (key, event)
            for key, event in by_key.items()
            if self._verdict(knowledge, key[0], event.message).elsewhere
        ]
        said = await asyncio.gather(*(self._ask(event, knowledge) for _, event in wanted))
        heard: list[Answer] = []
        for (key, event), one in zip(wanted, said, strict=True):
            knowledge.asked.add(key)
            if one is None:
                continue
            ref, station_id = key
            answer = answer_of(
                one,
                ref=ref,
                station_id=station_id,
                now=self._now(),
                longest=self._cache,
                value=event.message.id_token.value,
            )
            knowledge.answers[key] = answer
            if ref not in knowledge.respelled:
                # An erased token's answers go by the references that it is stored under.
                heard.append(answer)
        await self._answers.remember(heard)

    async def _ask(self, event: Event, knowledge: Knowledge) -> ProviderAuthorizeAnswer | None:
        message: Authorize | TransactionMessage = event.message
        if message.id_token is None:
            return None
        place = knowledge.place(message.station_id)
        question = ProviderAuthorize(
            station_id=message.station_id,
            protocol=message.protocol,
            id_token=message.id_token,
            at=message.at,
            location_id=place.site_id or message.station_id,
            evse_ids=tuple(sorted(evse for evse in place.evse_kinds if evse > 0)),
        )
        return await self._authorizer.ask(question, self._budget_s(event))

    def _budget_s(self, event: Event) -> float:
        """What is left; a transaction past its deadline is recorded all the same, and asked about.

        It has its own time then: nobody waits for it any more.
        """
        if event.asking is None:
            return self._deadline_s
        left = event.asking.deadline_ms / 1000 - self._now().timestamp()
        if left <= 0:
            return self._deadline_s
        return min(self._deadline_s, left * _SHARE)

    def _verdict(
        self, knowledge: Knowledge, ref: str, message: Authorize | TransactionMessage
    ) -> Verdict:
        question = Question(
            type=message.id_token.type if message.id_token is not None else "",
            at=judged_at(message, self._now()),
            evse_id=evse_of(message.protocol, message.evse_id, message.connector_id),
            of_transaction=isinstance(message, TransactionMessage),
        )
        return knowledge.verdict(ref, message.station_id, question)

    def _authorize(
        self, event: Event, message: Authorize, knowledge: Knowledge, decided: list[Decided]
    ) -> Record | None:
        ref = self._key.presented(message.id_token)
        verdict = self._verdict(knowledge, ref, message)
        now = self._now()
        decided.append(
            Decided(
                judged_at(message, now),
                message.station_id,
                message.protocol,
                AUTHORIZED,
                knowledge.token_ref(ref),
                verdict,
                evse_of(message.protocol, message.evse_id, message.connector_id),
            )
        )
        if leaves_open(verdict, self._library.policy):
            return reply(event, FAULT, UNDECIDED, source=self._source, now=now)
        answer = AuthorizeAnswer(decision=verdict.decision)
        return reply(event, AUTHORIZE_ANSWER, answer, source=self._source, now=now)
