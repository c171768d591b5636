"""What a batch of decisions needs to know, loaded together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voltbus_auth.decisions.domain import external
from voltbus_auth.decisions.domain.decision import decide
from voltbus_auth.projections.domain.places import Place
from voltbus_backbone.contract.auth import TransactionMessage
from voltbus_backbone.contract.providers import Keep
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from voltbus_auth.decisions.domain.external import Answer
    from voltbus_auth.decisions.domain.verdict import Policy, Question, Verdict
    from voltbus_auth.decisions.handlers.ports import DecisionInputReader
    from voltbus_auth.projections.domain.coverage import Coverage
    from voltbus_auth.tokens.domain.token import Token
    from voltbus_backbone.contract.auth import Authorize

_HINTS = 100_000


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Knowledge:
    """Tokens by presented reference, agreements by token, stations by id.

    ``answers`` are the external authorizer's, by presented reference and station; ``asked`` those
    of them that it was asked for just now, also when it said nothing. ``respelled``: presented
    references that no token is stored under, and which mean one all the same.
    """

    policy: Policy
    tokens: dict[str, Token] = field(default_factory=dict)
    coverages: dict[str, list[Coverage]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)
    respelled: set[str] = field(default_factory=set)

    def verdict(
        self,
        presented_ref: str,
        station_id: str,
        question: Question,
        *,
        full: Collection[str] = (),
    ) -> Verdict:
        """Whether what was presented may charge there."""
        token = self.tokens.get(presented_ref)
        coverages = self.coverages.get(token.ref, ()) if token is not None else ()
        place = self.place(station_id)
        local = decide(token, coverages, place, question, self.policy, full=full)
        if not external.concerns(token, local, question, self.policy):
            return local
        key = (presented_ref, station_id)
        answer, asked = self.answers.get(key), key in self.asked
        if answer is not None and token is not None:
            answer = replace(answer, keep=Keep.NEVER)
        if not asked and (answer is None or not answer.holds_for(question)):
            return external.to_be_asked(local)
        if token is None:
            token = external.stand_in(presented_ref, question, answer)
            policy = external.without_agreement(self.policy)
            local = decide(token, (), place, question, policy, full=full)
        if answer is None:
            return external.by_silence(local, question, self.policy)
        return external.by_answer(answer, local, place, question)

    def place(self, station_id: str) -> Place:
        """The station, as far as it is known."""
        return self.places.get(station_id) or Place(station_id)

    def token_ref(self, presented_ref: str) -> str:
        """The reference of the token that was meant; of an unknown one, of what was presented."""
        token = self.tokens.get(presented_ref)
        return token.ref if token is not None else presented_ref


class Library:
    """Loads knowledge. Remembers which token a presentation meant, to ask for both at once."""

    def __init__(
        self, source: DecisionInputReader, policy: Policy, *, now: Callable[[], datetime] = _utc
    ) -> None:
        self._source = source
        self._now = now
        self.policy = policy
        self._meant: dict[str, str] = {}

    async def load(
        self,
        refs: Collection[str],
        station_ids: Collection[str],
        contracts: Mapping[str, str] | None = None,
    ) -> Knowledge:
        """Everything that deciding about these needs.

        ``contracts``: by what reference such a presented one means a token, if by itself it means
        none (`TokenKey.contracts`).

        A 1.6 idTag has no type, so its token's own reference, which agreements name, is only known
        once the token is read. The guess from last time spares the second round; being wrong costs
        one, never a wrong answer.
        """
        if not refs:
            return Knowledge(self.policy)
        names = {*refs, *contracts.values()} if contracts else refs
        guessed = {self._meant.get(ref, ref) for ref in names}
        found = await self._source.load_decision_inputs(names, guessed, station_ids)
        tokens, coverages, places, answers = found
        respelled = set()
        for ref, contract in contracts.items() if contracts else ():
            if ref not in tokens and contract in tokens:
                tokens[ref] = tokens[contract]
                respelled.add(ref)
        missing = {token.ref for token in tokens.values()} - guessed
        if missing:
            coverages |= await self._source.coverages(missing)
        self._remember(tokens)
        now = self._now()
        fresh = {key: answer for key, answer in answers.items() if answer.until > now}
        return Knowledge(self.policy, tokens, coverages, places, fresh, respelled=respelled)

    def _remember(self, tokens: dict[str, Token]) -> None:
        if len(self._meant) > _HINTS:
            self._meant.clear()
        for presented, token in tokens.items():
            if presented != token.ref:
                self._meant[presented] = token.ref


def judged_at(message: Authorize | TransactionMessage, now: datetime) -> datetime:
    """The time at which a message is judged: when it happened, if its clock can be believed.

    An offline session is judged by the hours and contracts of its own time, and a message that is
    handled twice gets the same answer. What a 2.x station did not say to be from offline can only
    be old because it was sent again; a clock that is further behind is wrong.
    """
    age = (now - message.at).total_seconds()
    queued = message.protocol is Protocol.OCPP16 or (
        isinstance(message, TransactionMessage) and message.offline
    )
    return message.at if 0 <= age <= (_BELIEVED_S if queued else _BELIEVED_LIVE_S) else now


_BELIEVED_S = 60 * 24 * 3600.0
_BELIEVED_LIVE_S = 24 * 3600.0
