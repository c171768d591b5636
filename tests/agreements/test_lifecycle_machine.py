"""The life cycle as a state machine: whatever is tried in whatever order, rules D hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agreements.agreement_examples import NOW, PARTIES, terms
from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.agreement import Agreement, Change, Command, Policy
from voltbus_agreements.domain.refusals import Refusal
from voltbus_agreements.domain.terms import Kind
from voltbus_backbone.contract.agreements import AgreementStatus as Status
from voltbus_backbone.contract.agreements import Limits

D, P, R = Status.DRAFT, Status.PENDING_APPROVAL, Status.REJECTED
S, A, U = Status.SCHEDULED, Status.ACTIVE, Status.SUSPENDED
T, E, C = Status.TERMINATED, Status.EXPIRED, Status.CANCELLED
# Rules D; from a draft also at once to where its approval would lead.
ARROWS = {(D, P), (D, C), (D, S), (D, A), (P, S), (P, A), (P, R), (R, D), (S, A), (S, C)} | {
    (A, U),
    (U, A),
    (A, T),
    (U, T),
    (A, E),
    (U, E),
}
hours = st.integers(-48, 96).map(lambda count: NOW + timedelta(hours=count))


class LifeCycle(RuleBasedStateMachine):
    """One agreement; time moves, people command, energy is used."""

    agreement: Agreement
    policy: Policy

    @initialize(begin=hours, end=st.none() | hours, demanded=st.booleans())
    def make(self, begin: object, end: object, demanded: bool) -> None:  # noqa: FBT001 - drawn
        self.now = NOW
        self.used_wh = 0
        self.policy = Policy(approval_required=demanded)
        try:
            new = terms(valid_from=begin, valid_to=end, limits=Limits(energy_cap_wh=500))
            change = lifecycle.create("agr_1", new, now=NOW)
        except Refusal:
            change = lifecycle.create("agr_1", terms(), now=NOW)
        self.agreement = change.agreement

    @rule(command=st.sampled_from(sorted(set(Command) - lifecycle.BY_CLOCK)))
    def command(self, command: Command) -> None:
        """An operator asks for something."""
        try:
            change = lifecycle.act(
                self.agreement, command, now=self.now, policy=self.policy, used_wh=self.used_wh
            )
        except Refusal:
            return
        assert command in lifecycle.list_allowed(self.agreement.status, self.policy)
        self._take(change)

    @rule(
        end=st.none() | hours,
        cap=st.none() | st.integers(0, 2000),
        kind=st.sampled_from(Kind),
        parties=st.sampled_from([PARTIES, PARTIES[:1]]),
    )
    def amend(self, end: object, cap: int | None, kind: Kind, parties: object) -> None:
        """An operator writes other terms."""
        before = self.agreement
        new = replace(
            before.terms,
            valid_to=end,  # type: ignore[arg-type] # drawn from times and None
            limits=Limits(energy_cap_wh=cap),
            kind=kind,
            parties=parties,  # type: ignore[arg-type] # drawn from tuples of parties
        )
        try:
            change = lifecycle.amend(
                before, new, now=self.now, policy=self.policy, used_wh=self.used_wh
            )
        except Refusal:
            return
        if change is not None:
            self._take(change)
            if before.status in {S, A, U}:
                after = change.agreement
                assert after.supersedes == f"{before.id}:{before.revision}"
                assert (after.terms.kind, after.terms.parties) == (
                    before.terms.kind,
                    before.terms.parties,
                )

    @rule(energy_wh=st.integers(-400, 600))
    def use(self, energy_wh: int) -> None:
        """A transaction is counted or corrected."""
        self.used_wh = max(self.used_wh + energy_wh, 0)
        change = lifecycle.update_exhausted(self.agreement, used_wh=self.used_wh, now=self.now)
        if change is not None:
            self._take(change)

    @rule(passed=st.integers(1, 40))
    def wait(self, passed: int) -> None:
        """Time passes, and the clock does what is due."""
        self.now += timedelta(hours=passed)
        while (command := lifecycle.choose_due_command(self.agreement, self.now)) is not None:
            self._take(
                lifecycle.act(
                    self.agreement,
                    command,
                    now=self.now,
                    policy=self.policy,
                    used_wh=self.used_wh,
                )
            )
        terms_now = self.agreement.terms
        if self.agreement.status is S:
            assert terms_now.valid_from > self.now
        if self.agreement.status in {A, U}:
            assert terms_now.valid_to is None or terms_now.valid_to > self.now

    @invariant()
    def a_live_agreement_is_complete(self) -> None:
        """Whatever holds tokens has parties and a period that is not empty."""
        if getattr(self, "agreement", None) is None or self.agreement.status not in {S, A, U}:
            return
        found = self.agreement.terms
        assert {party.role for party in found.parties} >= {"provider", "customer"}
        assert found.valid_to is None or found.valid_to > found.valid_from
        cap = found.limits.energy_cap_wh
        assert self.agreement.exhausted == (cap is not None and self.used_wh >= cap)

    def _take(self, change: Change) -> None:
        before, after = self.agreement, change.agreement
        assert after.revision == before.revision + 1
        assert after.id == before.id
        assert after.created_at == before.created_at
        assert after.status is before.status or (before.status, after.status) in ARROWS
        if self.policy.approval_required:
            assert (before.status, after.status) not in {(D, S), (D, A)}
        self.agreement = after


TestLifeCycle = LifeCycle.TestCase
TestLifeCycle.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
