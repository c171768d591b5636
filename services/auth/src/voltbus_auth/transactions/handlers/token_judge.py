"""Judges the tokens that are presented in transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from voltbus_auth.decisions.domain.decision import deauthorized, one_too_many
from voltbus_auth.decisions.domain.external import still_accepted
from voltbus_auth.decisions.domain.patience import Patience, Try, is_live
from voltbus_auth.decisions.domain.verdict import Question
from voltbus_auth.decisions.handlers.knowledge import judged_at
from voltbus_auth.projections.domain.places import evse_of
from voltbus_auth.tokens.domain.token import NO_AUTHORIZATION
from voltbus_auth.transactions.domain.ledger import Ledger
from voltbus_auth.transactions.domain.record import Presented, is_closed_to, is_ending
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_auth.decisions.handlers.knowledge import Knowledge
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.handlers.jobs import Job


class TokenJudge:
    """Judges presented tokens, and counts the key codes among them (``patience``)."""

    def __init__(self) -> None:
        self.patience = Patience()

    def decidable(
        self, jobs: Sequence[Job], knowledge: Knowledge, records: list[Record], now: datetime
    ) -> list[Job]:
        """The jobs that can be decided; the others are marked as for elsewhere."""
        pages = Ledger.of(records)
        for job in jobs:
            self.decide(job, find_record(job, pages), knowledge, now)
            job.elsewhere = job.verdict is not None and job.verdict.elsewhere
            job.verdict = None
        return [job for job in jobs if not job.elsewhere]

    def slow_down(
        self, jobs: Sequence[Job], knowledge: Knowledge, records: list[Record], now: datetime
    ) -> None:
        """Count wrong values and refuse those that must wait: once, as deciding is done again.

        Whoever charges already does not suffer from who tries now.
        """
        pages: Ledger | None = None
        for job in jobs:
            shown, ref = job.message.id_token, job.presented_ref
            if shown is None or ref is None:
                continue
            token = knowledge.tokens.get(ref)
            tried = Try(job.message.station_id, shown.type, ref)
            if not is_live(job.message, now) or not self.patience.concerns(tried, token, now):
                continue
            pages = pages or Ledger.of(records)
            record = find_record(job, pages)
            self.decide(job, record, knowledge, now)
            known = record.token if record is not None else None
            if job.verdict is None or _was_accepted(known, knowledge.token_ref(ref)):
                continue
            verdict = self.patience.judge(tried, token, job.verdict, now)
            job.slowed = verdict if verdict is not job.verdict else None

    def decide(
        self, job: Job, record: Record | None, knowledge: Knowledge, now: datetime
    ) -> Presented | None:
        """Judge the presented token; every one is (C12.FR.03, E01.FR.11, 1.6 §4.8)."""
        message, presented_ref = job.message, job.presented_ref
        if presented_ref is None or message.id_token is None:
            return None
        job.token_ref = token_ref = knowledge.token_ref(presented_ref)
        known = record.token if record is not None else None
        job.starting = (known is None or known.status is not AuthorizationStatus.ACCEPTED) and (
            record is None or record.stop is None
        )
        ending = is_ending(message)
        if ending and known is not None:
            job.starting = False
        question = Question(
            type=message.id_token.type,
            at=judged_at(message, now),
            evse_id=evse_of(message.protocol, message.evse_id, message.connector_id),
            starting=job.starting,
            of_transaction=True,
            answered_at=now,
        )
        job.verdict = verdict = knowledge.verdict(
            presented_ref, message.station_id, question, full=job.denied
        )
        if verdict.elsewhere and _was_accepted(known, token_ref):
            job.verdict = verdict = still_accepted(known.agreement_id, question)
        if job.slowed is not None:
            job.verdict = verdict = job.slowed
        if message.id_token.type == NO_AUTHORIZATION:
            return None
        if known is not None and _was_one_too_many(known, token_ref):
            # Refused when it began: asking again does not make room.
            job.verdict = verdict = one_too_many(known.agreement_id)
            job.starting = False
        if record is not None and is_closed_to(record, token_ref, message.at):
            job.verdict = verdict = deauthorized(verdict)
            job.starting = False
        return Presented(
            at=message.at,
            seq_no=message.seq_no if message.seq_no is not None else -1,
            token_ref=token_ref,
            status=verdict.decision.status,
            agreement_id=verdict.agreement_id,
            authorization_reference=verdict.authorization_reference,
            ending=ending,
        )


def find_record(job: Job, pages: Ledger) -> Record | None:
    """The record that a job's message belongs to, if there is one."""
    return pages.by_ref.get(job.ref) if job.ref is not None else pages.find(job.message)


def _was_accepted(known: Presented | None, token_ref: str) -> TypeGuard[Presented]:
    return (
        known is not None
        and known.status is AuthorizationStatus.ACCEPTED
        and known.token_ref == token_ref
    )


def _was_one_too_many(known: Presented, token_ref: str) -> bool:
    return known.status is AuthorizationStatus.CONCURRENT_TX and known.token_ref == token_ref
