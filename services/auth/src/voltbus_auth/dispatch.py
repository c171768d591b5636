"""`auth.requests`: log-ins, Authorize, what stations say of transactions, tokens by value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from voltbus_auth import forwarding
from voltbus_auth.credentials.domain import credentials
from voltbus_auth.decisions.domain.journal import AUTHORIZE as AUTHORIZED
from voltbus_auth.decisions.domain.journal import Decided
from voltbus_auth.decisions.domain.patience import Try
from voltbus_auth.decisions.domain.verdict import Question
from voltbus_auth.decisions.handlers.finding import Finding
from voltbus_auth.decisions.handlers.knowledge import judged_at
from voltbus_auth.plug_and_charge.handlers.ev_certificates import FAILED
from voltbus_auth.projections.domain.places import evse_of
from voltbus_backbone.bus.envelope import forward, reply
from voltbus_backbone.contract.auth import (
    Authorize,
    AuthorizeAnswer,
    StationLogin,
)
from voltbus_backbone.contract.registry import (
    AUTHORIZE,
    AUTHORIZE_ANSWER,
    EV_CERTIFICATE,
    EV_CERTIFICATE_ANSWER,
    EXTERNAL_AUTHORIZE,
    FIND_TOKEN,
    STATION_LOGIN,
    STATION_LOGIN_ANSWER,
    TRANSACTION,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.credentials.handlers.ports import CredentialReader
    from voltbus_auth.decisions.handlers.knowledge import Library
    from voltbus_auth.decisions.handlers.ports import Journal
    from voltbus_auth.projections.handlers.ports import RegisteredStations
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_auth.transactions.handlers.bookkeeping import Bookkeeping
    from voltbus_backbone.bus.envelope import Event, Record

_OWN = (STATION_LOGIN, AUTHORIZE, TRANSACTION, FIND_TOKEN)
TYPES = frozenset(row.name for row in _OWN) | forwarding.TYPES


class RequestDispatcher:
    """Answers a batch; the kinds are independent and handled side by side."""

    def __init__(
        self,
        *,
        credentials: CredentialReader,
        stations: RegisteredStations,
        library: Library,
        bookkeeping: Bookkeeping,
        journal: Journal,
        key: TokenKey,
        source: str,
        now: Callable[[], datetime],
        ev_certificate_provider: bool = False,
    ) -> None:
        self._ev_certificate_provider = ev_certificate_provider
        self._credentials = credentials
        self._stations = stations
        self._library = library
        self._bookkeeping = bookkeeping
        self._journal = journal
        self._patience = bookkeeping.patience
        self._key = key
        self._source = source
        self._now = now
        self._finding = Finding(library, key, source=source, now=now)

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers and the events of a batch."""
        by_type: dict[str, list[Event]] = {}
        passed_on: list[Record | None] = []
        for event in events:
            row = forwarding.forwarded_as(event)
            if row is None:
                by_type.setdefault(event.type, []).append(event)
            elif event.type == EV_CERTIFICATE.name and not self._ev_certificate_provider:
                # There is nobody to wait for.
                passed_on.append(
                    reply(
                        event, EV_CERTIFICATE_ANSWER, FAILED, source=self._source, now=self._now()
                    )
                )
            else:
                passed_on.append(forward(event, row, source=self._source, now=self._now()))
        handlers = {
            STATION_LOGIN.name: self._log_in,
            AUTHORIZE.name: self._authorize,
            TRANSACTION.name: self._bookkeeping.handle,
            FIND_TOKEN.name: self._finding.handle,
        }
        parts = await asyncio.gather(*(handlers[name](batch) for name, batch in by_type.items()))
        parts.append([record for record in passed_on if record is not None])
        return [record for part in parts for record in part]

    async def _log_in(self, events: Sequence[Event]) -> list[Record]:
        asked: list[StationLogin] = [event.message for event in events]
        ids = {message.station_id for message in asked}
        known, registered = await asyncio.gather(
            self._credentials.credentials(ids), self._stations.registered(ids)
        )
        now = self._now()
        records = []
        for event, message in zip(events, asked, strict=True):
            answer = credentials.answer(
                known.get(message.station_id),
                registered=message.station_id in registered,
                security_profile=message.security_profile,
            )
            records.append(reply(event, STATION_LOGIN_ANSWER, answer, source=self._source, now=now))
        return [record for record in records if record is not None]

    async def _authorize(self, events: Sequence[Event]) -> list[Record]:
        asked: list[Authorize] = [event.message for event in events]
        refs = [self._key.presented(message.id_token) for message in asked]
        knowledge = await self._library.load(
            set(refs),
            {message.station_id for message in asked},
            self._key.contracts(message.id_token for message in asked),
        )
        now = self._now()
        records = []
        decided = []
        for event, message, ref in zip(events, asked, refs, strict=True):
            question = Question(
                type=message.id_token.type,
                at=judged_at(message, now),
                evse_id=evse_of(message.protocol, message.evse_id, message.connector_id),
            )
            verdict = self._patience.judge(
                Try(message.station_id, message.id_token.type, ref),
                knowledge.tokens.get(ref),
                knowledge.verdict(ref, message.station_id, question),
                now,
            )
            if verdict.elsewhere:
                passed_on = forward(event, EXTERNAL_AUTHORIZE, source=self._source, now=now)
                records.append(passed_on)
                continue
            answer = AuthorizeAnswer(decision=verdict.decision)
            records.append(reply(event, AUTHORIZE_ANSWER, answer, source=self._source, now=now))
            decided.append(
                Decided(
                    question.at,
                    message.station_id,
                    message.protocol,
                    AUTHORIZED,
                    knowledge.token_ref(ref),
                    verdict,
                    question.evse_id,
                )
            )
        self._journal.note(decided)
        return [record for record in records if record is not None]
