"""What a station's list should say: the decision about each token, without what the clock moves.

Opening hours and the schedules of agreements cannot be written on a list, so they are left aside:
a token that may charge at some time is listed, with the end of its validity. What a list would get
wrong is left out: prepaid tokens, whose credit is asked for each time (OCPP 2.1 C17), and in 1.6
tokens that may use only some of the EVSEs.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from voltbus_auth.decisions.domain.decision import decide
from voltbus_auth.decisions.domain.verdict import Question, Rule
from voltbus_auth.local_lists.domain import wire
from voltbus_auth.local_lists.domain.plans import Blocked
from voltbus_auth.tokens.domain.token import Whitelist, likeliest
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Policy, Verdict
    from voltbus_auth.local_lists.domain.plans import Wanted
    from voltbus_auth.projections.domain.coverage import Coverage
    from voltbus_auth.projections.domain.places import Place
    from voltbus_auth.tokens.domain.token import Token

DIGEST_BYTES = 8
# Longer than any token is valid: an acceptance that ends then has no end of its own.
_FOR_EVER = timedelta(days=36_500)

_REASONS = {
    Rule.BLOCKED: "blocked",
    Rule.EXPIRED: "expired",
    Rule.NO_AGREEMENT: "no_agreement",
    Rule.EVSE_KIND: "elsewhere",
    Rule.LOCATION: "elsewhere",
    Rule.TIME: "not_yet",
    Rule.CREDIT: "no_credit",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that may belong on a list.

    ``tag_ref`` is the reference of its value without a type, ``length`` how many characters that
    has (None: not known). Without ``readable`` there is no value to send. ``rivals`` are all other
    stored tokens of that value, wanted or not: in 1.6 a tag may mean one of them instead.
    """

    token: Token
    tag_ref: str
    readable: bool = True
    length: int | None = None
    coverages: Sequence[Coverage] = ()
    rivals: Sequence[Token] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list without the token's value: OCPP's info, and a digest to compare it by."""

    ref: str
    info: dict[str, Any]
    digest: bytes
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Desired:
    """What a station should hold, the most wanted first. ``left_out`` counts by reason.

    ``next_change``: when it will be something else by the clock alone.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    next_change: datetime | None = None


class Compilation:
    """Gathers a station's list from its candidates, some at a time."""

    def __init__(
        self, wanted: Wanted, place: Place, protocol: Protocol, at: datetime, policy: Policy
    ) -> None:
        self._wanted = wanted
        self._place = replace(place, hours=None)
        self._protocol = protocol
        self._at = at
        self._policy = replace(policy, cache=_FOR_EVER)
        self._found: list[tuple[Candidate, Entry]] = []
        self._meant: dict[str, Token] = {}
        self._left_out: Counter[str] = Counter()
        self._changes: list[datetime] = []
        self._timeless: dict[str, Coverage] = {}

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Decide about these."""
        for candidate in candidates:
            if self._protocol is Protocol.OCPP16:
                self._weigh(candidate)
            coverages = [self._without_schedule(one) for one in candidate.coverages]
            covered = any(self._covers(one) for one in coverages)
            rank = self._wanted.rank(candidate.token, covered=covered)
            if rank is None:
                continue
            self._changes.extend(changes(candidate.token, coverages, self._at))
            entry = self._entry(candidate, coverages, rank)
            if isinstance(entry, str):
                self._left_out[entry] += 1
            else:
                self._found.append((candidate, entry))

    def done(self, most: int) -> Desired:
        """The list, cut to what the station holds."""
        found = self._found
        if self._protocol is Protocol.OCPP16:
            found = [one for one in found if self._meant[one[0].tag_ref].ref == one[1].ref]
            if len(found) < len(self._found):
                self._left_out["same_tag"] = len(self._found) - len(found)
        entries = sorted((entry for _, entry in found), key=lambda one: (one.rank, one.ref))
        if len(entries) > most:
            self._left_out["over_limit"] = len(entries) - most
        return Desired(
            entries={entry.ref: entry for entry in entries[:most]},
            left_out=dict(self._left_out),
            next_change=min(self._changes, default=None),
        )

    def _weigh(self, candidate: Candidate) -> None:
        """1.6 has no types: of all tokens with a value, Authorize means the likeliest.

        That may be one which is refused, or which no plan wants; then the tag has no line at all.
        """
        meant = self._meant.get(candidate.tag_ref, candidate.token)
        same = (meant, candidate.token, *candidate.rivals)
        self._meant[candidate.tag_ref] = likeliest(same) or meant

    def _entry(self, candidate: Candidate, coverages: Sequence[Coverage], rank: int) -> Entry | str:
        """The token's line, or why it has none."""
        token = candidate.token
        if token.whitelist is Whitelist.NEVER:
            return "never"
        if not candidate.readable:
            return "unreadable"
        if not wire.fits(token.type, candidate.length, self._protocol):
            return "does_not_fit"
        question = Question(type=token.type, at=self._at)
        verdict = decide(token, coverages, self._place, question, self._policy)
        if verdict.rule is Rule.BLOCKED and self._wanted.blocked is Blocked.LIST:
            return _line(token.ref, wire.blocked_info(), rank)
        if verdict.rule is not Rule.ACCEPTED:
            return _REASONS.get(verdict.rule, str(verdict.rule))
        return self._accepted(token, verdict, rank)

    def _accepted(self, token: Token, verdict: Verdict, rank: int) -> Entry | str:
        decision = verdict.decision
        expiry = decision.cache_expiry
        if expiry is not None and expiry <= self._at:
            return "prepaid"
        if decision.evse_ids and self._protocol is Protocol.OCPP16:
            return "some_evses"
        if expiry is not None and expiry >= self._at + _FOR_EVER:
            expiry = None
        return _line(token.ref, wire.info(decision, expiry, self._protocol), rank)

    def _covers(self, coverage: Coverage) -> bool:
        if not (coverage.in_force(self._at) or coverage.blocks()):
            return False
        evses = coverage.evses_at(self._place)
        return evses is None or bool(evses)

    def _without_schedule(self, coverage: Coverage) -> Coverage:
        if coverage.schedule is None:
            return coverage
        known = self._timeless.get(coverage.terms.id)
        if known is None:
            known = self._timeless[coverage.terms.id] = replace(coverage, schedule=None)
        return known


def changes(token: Token, coverages: Iterable[Coverage], at: datetime) -> list[datetime]:
    """When the clock alone may change what is decided about the token."""
    times = [token.valid_from, token.expires_at]
    for coverage in coverages:
        times += [coverage.terms.valid_from, coverage.terms.valid_to]
    return [time for time in times if time is not None and time > at]


def _line(ref: str, info: dict[str, Any], rank: int) -> Entry:
    text = json.dumps(info, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
    return Entry(ref, info, digest, rank)
