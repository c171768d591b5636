"""`auth.token-requests`: tokens that other systems put and remove, by the rules of REST.

A batch is one look-up and one write, unless a token is in it twice: then its later messages wait
for the next round. What breaks a rule goes to the dead letters without anything readable, and
whoever asked is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from voltbus_auth.roaming.domain.pushed import Done, Outcome, Overtaken, put, remove
from voltbus_backbone.bus import dead_letters
from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.pushed import (
    PutToken,
    PutTokenAnswer,
    RemoveToken,
    RemoveTokenAnswer,
)
from voltbus_backbone.contract.registry import (
    FAULT,
    PUT_TOKEN,
    PUT_TOKEN_ANSWER,
    REMOVE_TOKEN,
    REMOVE_TOKEN_ANSWER,
    Fault,
    Topic,
)
from voltbus_backbone.errors import InvalidRecord, Unavailable
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from voltbus_auth.tokens.domain.token import Token
    from voltbus_auth.tokens.store.tokens import Value
    from voltbus_backbone.bus.envelope import Event, Record

TYPES = frozenset({PUT_TOKEN.name, REMOVE_TOKEN.name})
_TRIES = 8


class Tokens(Protocol):
    """Where tokens are kept."""

    async def there(self, names: Collection[str]) -> dict[str, Token]:
        """Which of these exist, by each identity and by their own reference."""
        ...

    async def put_many(
        self,
        new: Sequence[tuple[Token, Value]],
        changed_ones: Sequence[Token],
        at: datetime,
        gone: Sequence[Token] = (),
    ) -> bool:
        """Register, change and remove in one transaction; False when others were at them."""
        ...


class Erasing(Protocol):
    """Forgets tokens everywhere."""

    async def erase(self, token: Token, *, at: datetime, by: str) -> Any:
        """Erase the revision that was read; None when it changed meanwhile."""
        ...


@dataclass(frozen=True)
class Rules:
    """The rules that REST has too: they read a message, or raise InvalidRecord."""

    token: Callable[[PutToken], tuple[Token, Value]]
    names: Callable[[RemoveToken], Sequence[str]]


@dataclass(slots=True)
class _Step:
    """One message on its way: what it wants of which token, and what it came to.

    ``names`` are what the token may be found under, ``ref`` is what it is called.
    """

    event: Event
    names: Sequence[str]
    ref: str
    wanted: tuple[Token, Value] | None = None
    came_to: Done | Overtaken | None = None

    @property
    def erases(self) -> bool:
        """Whether it asks to forget the token everywhere."""
        message: PutToken | RemoveToken = self.event.message
        return isinstance(message, RemoveToken) and message.erase

    def decide(self, there: Token | None) -> Done | Overtaken:
        """What it comes to, from what is there."""
        self.ref = there.ref if there is not None else self.names[0]
        message: PutToken | RemoveToken = self.event.message
        if self.wanted is not None:
            return put(there, self.wanted[0], message.expected_revision)
        return remove(there, message.expected_revision, erase=self.erases)


class PushedTokens:
    """Puts and removes."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        erasure: Erasing,
        rules: Rules,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._tokens = tokens
        self._erasure = erasure
        self._rules = rules
        self._source = source
        self._now = now

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers of a batch, and the dead letters of what breaks the rules."""
        records: list[Record] = []
        steps: list[_Step] = []
        for event in events:
            try:
                steps.append(self._step(event, event.message))
            except InvalidRecord as error:
                records.extend(self._refused(event, "invalid_request", error.reason))
        if steps:
            there = await self._there(steps)
            for step in steps:
                step.decide(_one_of(step, there))
        for round_ in _rounds(steps):
            await self._do(round_)
        for step in steps:
            records.extend(self._told(step))
        return records

    def _step(self, event: Event, message: PutToken | RemoveToken) -> _Step:
        if isinstance(message, PutToken):
            token, value = self._rules.token(message)
            return _Step(event, value.identities, token.ref, (token, value))
        names = self._rules.names(message)
        return _Step(event, names, names[0])

    async def _there(self, steps: Sequence[_Step]) -> dict[str, Token]:
        return await self._tokens.there([name for step in steps for name in step.names])

    async def _do(self, steps: Sequence[_Step]) -> None:
        """Messages about different tokens: erasures one by one, all others in one write."""
        at = to_milliseconds(self._now())
        plain = [step for step in steps if not step.erases]
        for _ in range(_TRIES):
            there = await self._there(steps)
            for step in steps:
                step.came_to = step.decide(_one_of(step, there))
            if await self._write(plain, at):
                break
        else:
            raise Unavailable("others keep changing the same tokens")
        for step in steps:
            if step.erases:
                await self._erase(step, at)

    async def _write(self, steps: Sequence[_Step], at: datetime) -> bool:
        new: list[tuple[Token, Value]] = []
        changed: list[Token] = []
        gone: list[Token] = []
        for step in steps:
            done = step.came_to
            if not isinstance(done, Done) or done.token is None:
                continue
            if done.outcome is Outcome.CREATED and step.wanted is not None:
                new.append(step.wanted)
            elif done.outcome is Outcome.UPDATED:
                changed.append(done.token)
            else:
                gone.append(done.token)
        return await self._tokens.put_many(new, changed, at, gone=gone)

    async def _erase(self, step: _Step, at: datetime) -> None:
        """A transaction of its own: it touches charges and decisions as well."""
        by = str(step.event.message.provider_id)
        for _ in range(_TRIES):
            done = step.came_to
            if not isinstance(done, Done) or done.token is None:
                return
            if await self._erasure.erase(done.token, at=at, by=by) is not None:
                return
            step.came_to = step.decide(_one_of(step, await self._there([step])))
        raise Unavailable("others keep changing the same token")

    def _told(self, step: _Step) -> list[Record]:
        done = step.came_to
        if isinstance(done, Overtaken):
            return self._refused(step.event, "conflict", done.reason)
        if done is None:
            return []
        now = self._now()
        if step.wanted is not None:
            answer = PutTokenAnswer(
                token_ref=step.ref, revision=done.revision, outcome=done.outcome.value
            )
            told = reply(step.event, PUT_TOKEN_ANSWER, answer, source=self._source, now=now)
        else:
            removed = RemoveTokenAnswer(token_ref=step.ref, outcome=done.outcome.value)
            told = reply(step.event, REMOVE_TOKEN_ANSWER, removed, source=self._source, now=now)
        return [told] if told is not None else []

    def _refused(self, event: Event, code: str, reason: str) -> list[Record]:
        now = self._now()
        letter = dead_letters.written(event, reason, Topic.AUTH_DEAD_LETTER, now)
        fault = Fault(code=code, detail=reason)
        told = reply(event, FAULT, fault, source=self._source, now=now)
        return [letter, told] if told is not None else [letter]


def _one_of(step: _Step, there: dict[str, Token]) -> Token | None:
    return next((there[name] for name in step.names if name in there), None)


def _rounds(steps: Sequence[_Step]) -> list[list[_Step]]:
    """Each token at most once a round, its messages in their order."""
    rounds: list[list[_Step]] = []
    seen: dict[str, int] = {}
    for step in steps:
        number = seen.get(step.ref, 0)
        seen[step.ref] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(step)
    return rounds
