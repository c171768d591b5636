"""`auth.certificate-requests`: what must ask OCSP responders, apart from what must be quick.

A consumer group of its own: a responder that is slow holds up other certificates for a few
seconds at most, and never an Authorize without one.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from voltbus_auth.decisions.domain.external import leaves_open
from voltbus_auth.decisions.domain.journal import AUTHORIZE as AUTHORIZED
from voltbus_auth.decisions.domain.journal import Decided
from voltbus_auth.decisions.domain.verdict import Question, Rule, Verdict
from voltbus_auth.decisions.handlers.knowledge import judged_at
from voltbus_auth.plug_and_charge.domain.outcome import Finding, conclude, examine, judge
from voltbus_auth.plug_and_charge.domain.revocation import checks_of_hashes, read_answer
from voltbus_auth.projections.domain.places import evse_of
from voltbus_auth.roaming.handlers.external import UNDECIDED
from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.auth import (
    AuthorizeAnswer,
    CertificateStatus,
    GetCertificateStatusAnswer,
    Revocation,
)
from voltbus_backbone.contract.registry import (
    AUTHORIZE_ANSWER,
    CERTIFICATE_STATUS,
    CERTIFICATE_STATUS_ANSWER,
    CONTRACT_AUTHORIZE,
    FAULT,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.handlers.knowledge import Knowledge, Library
    from voltbus_auth.decisions.handlers.ports import Journal
    from voltbus_auth.plug_and_charge.domain.outcome import Found
    from voltbus_auth.plug_and_charge.domain.revocation import CertId, Check, Told
    from voltbus_auth.plug_and_charge.handlers.trust import Trust
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.auth import (
        Authorize,
        Decision,
        GetCertificateStatus,
        OcspHash,
    )

log = structlog.get_logger(__name__)

TYPES = frozenset({CONTRACT_AUTHORIZE.name, CERTIFICATE_STATUS.name})

# The part of the time until the asker's deadline that responders may take; the rest is for the
# way back.
_SHARE = 0.6


class Asking(Protocol):
    """Asks OCSP responders."""

    async def ask(
        self, check: Check, believe: Callable[[bytes, Check], Told], budget_s: float
    ) -> Told | None:
        """What the first believable responder says; None if none does within the budget."""
        ...


class Hear(Protocol):
    """Asks the external authorizer."""

    async def __call__(self, events: Sequence[Event], knowledge: Knowledge) -> None:
        """Ask about every token that is still open, and take what was said into the knowledge."""
        ...


class Certificates:
    """Answers a batch; each of its messages waits for its own responders, all at once.

    ``hear``: contracts that nobody registered here are another system's to decide.
    """

    def __init__(
        self,
        *,
        library: Library,
        journal: Journal,
        trust: Trust,
        responders: Asking,
        key: TokenKey,
        source: str,
        now: Callable[[], datetime],
        deadline_s: float,
        require_ocsp: bool,
        hear: Hear | None = None,
    ) -> None:
        self._library = library
        self._hear = hear
        self._journal = journal
        self._trust = trust
        self._responders = responders
        self._key = key
        self._source = source
        self._now = now
        self._deadline_s = deadline_s
        self._require_ocsp = require_ocsp

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers of a batch."""
        asked = [event for event in events if event.type == CONTRACT_AUTHORIZE.name]
        refs = {self._key.presented(event.message.id_token) for event in asked}
        knowledge = await self._library.load(refs, {event.message.station_id for event in asked})
        heard = asyncio.ensure_future(self._heard(asked, knowledge))
        answers = await asyncio.gather(
            *(
                self._authorize(event, event.message, knowledge, heard)
                if event.type == CONTRACT_AUTHORIZE.name
                else self._status(event, event.message)
                for event in events
            )
        )
        return [record for record in answers if record is not None]

    async def _heard(self, asked: Sequence[Event], knowledge: Knowledge) -> None:
        """What the external authorizer says of these contracts, beside the responders' answers."""
        if self._hear is not None and asked:
            await self._hear(asked, knowledge)

    async def _authorize(
        self, event: Event, message: Authorize, knowledge: Knowledge, heard: asyncio.Future[None]
    ) -> Record | None:
        now = self._now()
        examination = examine(message, self._trust.roots, now)
        told = await self._ask(examination.checks, event)
        found = judge(examination, told, require_ocsp=self._require_ocsp)
        log.info("certificate.judged", finding=found.finding.value, reason=found.reason)
        await heard
        decision = self._decide(message, knowledge, found)
        if decision is None:
            return reply(event, FAULT, UNDECIDED, source=self._source, now=self._now())
        return reply(
            event,
            AUTHORIZE_ANSWER,
            AuthorizeAnswer(decision=decision),
            source=self._source,
            now=self._now(),
        )

    def _decide(self, message: Authorize, knowledge: Knowledge, found: Found) -> Decision | None:
        """The decision; None when nobody who knows the contract said anything in time."""
        question = Question(
            type=message.id_token.type,
            at=judged_at(message, self._now()),
            evse_id=evse_of(message.protocol, message.evse_id, message.connector_id),
        )
        ref = self._key.presented(message.id_token)
        verdict = knowledge.verdict(ref, message.station_id, question)
        decision = conclude(found, verdict.decision)
        if found.finding is Finding.VALID:
            verdict = msgspec.structs.replace(verdict, decision=decision)
        else:
            verdict = Verdict(decision, Rule.CERTIFICATE, _sentence(found.reason))
        token_ref = knowledge.token_ref(ref)
        decided = Decided(
            question.at,
            message.station_id,
            message.protocol,
            AUTHORIZED,
            token_ref,
            verdict,
            question.evse_id,
        )
        self._journal.note([decided])
        return None if leaves_open(verdict, self._library.policy) else decision

    async def _status(self, event: Event, message: GetCertificateStatus) -> Record | None:
        found = await asyncio.gather(*(self._status_of(one, event) for one in message.certificates))
        answer = GetCertificateStatusAnswer(certificates=tuple(found))
        return reply(event, CERTIFICATE_STATUS_ANSWER, answer, source=self._source, now=self._now())

    async def _status_of(self, wanted: OcspHash, event: Event) -> CertificateStatus:
        try:
            checks = checks_of_hashes([wanted], self._trust.roots)
        except ValueError:
            return CertificateStatus(status=Revocation.FAILED)
        told = (await self._ask(checks, event))[checks[0].id]
        if told is None:
            return CertificateStatus(status=Revocation.FAILED)
        return CertificateStatus(
            status=told.status,
            ocsp_response=base64.b64encode(told.der).decode(),
            next_update=told.next_update,
        )

    async def _ask(self, checks: Sequence[Check], event: Event) -> dict[CertId, Told | None]:
        budget = self._budget_s(event)
        told = await asyncio.gather(
            *(self._responders.ask(check, self._believe, budget) for check in checks)
        )
        return {check.id: one for check, one in zip(checks, told, strict=True)}

    def _believe(self, der: bytes, check: Check) -> Told:
        return read_answer(der, check, self._trust.roots, self._now())

    def _budget_s(self, event: Event) -> float:
        if event.asking is None:
            return self._deadline_s
        left = event.asking.deadline_ms / 1000 - self._now().timestamp()
        return max(min(self._deadline_s, left * _SHARE), 0.0)


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
