"""The life cycle and its invariants, one test each (ocpp-rules D)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from agreements.agreement_examples import (
    APPROVED,
    DAY,
    IMPLIED,
    NOW,
    PARTIES,
    after,
    draft,
    terms,
)
from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.agreement import Agreement, Command, EventKind
from voltbus_agreements.domain.refusals import (
    IllegalTransition,
    Immutable,
    Incomplete,
    InvalidTerms,
    PeriodOver,
)
from voltbus_agreements.domain.terms import Kind, Terms
from voltbus_backbone.contract.agreements import AgreementStatus as Status
from voltbus_backbone.contract.agreements import (
    AgreementToken,
    Limits,
    Party,
    Scope,
    StationTerms,
)
from voltbus_backbone.contract.values import ChargingSpeed, OpeningHours

# Rules D, sentence by sentence.
STEPS = {
    (Status.DRAFT, Command.SUBMIT): Status.PENDING_APPROVAL,
    (Status.DRAFT, Command.CANCEL): Status.CANCELLED,
    (Status.DRAFT, Command.ACTIVATE): Status.ACTIVE,
    (Status.PENDING_APPROVAL, Command.APPROVE): Status.ACTIVE,
    (Status.PENDING_APPROVAL, Command.REJECT): Status.REJECTED,
    (Status.REJECTED, Command.REOPEN): Status.DRAFT,
    (Status.SCHEDULED, Command.BEGIN): Status.ACTIVE,
    (Status.SCHEDULED, Command.CANCEL): Status.CANCELLED,
    (Status.ACTIVE, Command.SUSPEND): Status.SUSPENDED,
    (Status.SUSPENDED, Command.RESUME): Status.ACTIVE,
    (Status.ACTIVE, Command.TERMINATE): Status.TERMINATED,
    (Status.SUSPENDED, Command.TERMINATE): Status.TERMINATED,
    (Status.ACTIVE, Command.EXPIRE): Status.EXPIRED,
    (Status.SUSPENDED, Command.EXPIRE): Status.EXPIRED,
}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("command", Command)
def test_every_state_and_command(status: Status, command: Command) -> None:
    """The steps of rules D are allowed; anything else is refused and names what is allowed."""
    agreement = replace(draft(), status=status)
    target = STEPS.get((status, command))
    if target is None:
        with pytest.raises(IllegalTransition) as caught:
            lifecycle.act(agreement, command, now=NOW, policy=IMPLIED)
        assert caught.value.status == status
        assert f"that is {status}" in caught.value.detail
        assert caught.value.allowed == lifecycle.list_allowed(status, IMPLIED)
    else:
        change = lifecycle.act(agreement, command, now=NOW, policy=IMPLIED)
        assert (change.agreement.status, change.agreement.revision) == (target, 2)


@pytest.mark.parametrize("command", [Command.ACTIVATE, Command.APPROVE])
def test_activation_ahead_of_time_schedules(command: Command) -> None:
    """With valid_from in the future both ways of activation lead to scheduled."""
    agreement = draft(valid_from=NOW + DAY)
    if command is Command.APPROVE:
        agreement = after(agreement, Command.SUBMIT)
    change = lifecycle.act(agreement, command, now=NOW, policy=IMPLIED)
    assert change.agreement.status is Status.SCHEDULED
    assert change.event is EventKind.UPDATED
    assert change.agreement.activated_at is None


def test_approval_can_be_demanded() -> None:
    """Under the policy a draft is submitted and approved; activate alone is refused."""
    with pytest.raises(IllegalTransition, match="submit"):
        lifecycle.act(draft(), Command.ACTIVATE, now=NOW, policy=APPROVED)
    submitted = lifecycle.act(draft(), Command.SUBMIT, now=NOW, policy=APPROVED).agreement
    approved = lifecycle.act(submitted, Command.APPROVE, now=NOW, policy=APPROVED)
    assert approved.agreement.status is Status.ACTIVE
    assert approved.event is EventKind.ACTIVATED


@pytest.mark.parametrize(
    ("commands", "event"),
    [
        ([Command.SUBMIT], EventKind.UPDATED),
        ([Command.ACTIVATE], EventKind.ACTIVATED),
        ([Command.ACTIVATE, Command.SUSPEND], EventKind.SUSPENDED),
        ([Command.ACTIVATE, Command.SUSPEND, Command.RESUME], EventKind.RESUMED),
        ([Command.ACTIVATE, Command.TERMINATE], EventKind.TERMINATED),
        ([Command.ACTIVATE, Command.EXPIRE], EventKind.EXPIRED),
        ([Command.CANCEL], EventKind.UPDATED),
    ],
)
def test_what_is_told(commands: list[Command], event: EventKind) -> None:
    """Each change is told as one of the events of rules D."""
    agreement = after(draft(), *commands[:-1])
    assert lifecycle.act(agreement, commands[-1], now=NOW, policy=IMPLIED).event is event


def test_the_period_must_not_be_empty() -> None:
    """valid_to must be later than valid_from: the period is half-open."""
    with pytest.raises(InvalidTerms) as caught:
        draft(valid_from=NOW, valid_to=NOW)
    assert [error.field for error in caught.value.errors] == ["valid_to"]


def test_the_period_is_kept_in_utc() -> None:
    """Offsets are folded to UTC and to the milliseconds that MongoDB keeps."""
    stockholm = timezone(timedelta(hours=1))
    local = (NOW + timedelta(microseconds=1999)).astimezone(stockholm)
    kept = draft(valid_from=local).terms.valid_from
    assert kept == NOW + timedelta(milliseconds=1)
    assert kept.utcoffset() == timedelta(0)


def test_an_agreement_ends_at_its_end_and_not_before() -> None:
    """Half-open: at valid_to it is over; an instant earlier it is not."""
    end = NOW + DAY
    running = after(draft(valid_to=end), Command.ACTIVATE)
    assert lifecycle.choose_due_command(running, end - timedelta(milliseconds=1)) is None
    assert lifecycle.choose_due_command(running, end) is Command.EXPIRE


def test_an_agreement_begins_at_its_beginning() -> None:
    """Half-open: valid_from itself belongs to the period."""
    begin = NOW + DAY
    scheduled = after(draft(valid_from=begin), Command.ACTIVATE)
    assert lifecycle.choose_due_command(scheduled, begin - timedelta(milliseconds=1)) is None
    assert lifecycle.choose_due_command(scheduled, begin) is Command.BEGIN


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"parties": PARTIES[1:]}, ["parties"]),
        ({"parties": PARTIES[:1]}, ["parties"]),
        ({"parties": ()}, ["parties", "parties"]),
        ({"tokens": ()}, ["tokens"]),
        ({"tokens": (), "scope": Scope(evse_kinds=("DC",))}, ["tokens"]),
    ],
)
def test_activation_needs_parties_and_something_to_hold_for(
    fields: dict[str, Any], missing: list[str]
) -> None:
    """Activation needs a provider, a customer and at least one token or station."""
    with pytest.raises(Incomplete) as caught:
        lifecycle.act(draft(**fields), Command.ACTIVATE, now=NOW, policy=IMPLIED)
    assert [error.field for error in caught.value.errors] == missing


@pytest.mark.parametrize("scope", [Scope(stations=("S1",)), Scope(evses=("S1/1",))])
def test_a_station_is_enough_for_activation(scope: Scope) -> None:
    """A site host's agreement has stations and no tokens."""
    site = draft(kind=Kind.SITE_HOST, tokens=(), scope=scope)
    assert after(site, Command.ACTIVATE).status is Status.ACTIVE


def test_nothing_begins_after_its_end() -> None:
    """Activation and resumption are refused once valid_to has passed."""
    end = NOW + DAY
    suspended = after(draft(valid_to=end), Command.ACTIVATE, Command.SUSPEND)
    for agreement, command in (
        (draft(valid_to=end), Command.ACTIVATE),
        (suspended, Command.RESUME),
    ):
        with pytest.raises(PeriodOver):
            lifecycle.act(agreement, command, now=end, policy=IMPLIED)


FIXED = [
    ("parties", (*PARTIES, Party(id="operator-1", role="operator"))),
    ("kind", Kind.ROAMING),
    ("contract_id", "NL-TNM-C00122045-K"),
]


@pytest.mark.parametrize(("name", "value"), FIXED)
@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.ACTIVE, Status.SUSPENDED])
def test_what_is_fixed_after_activation(name: str, value: object, status: Status) -> None:
    """After activation parties, kind and contractId do not change."""
    agreement = replace(draft(), status=status)
    with pytest.raises(Immutable) as caught:
        lifecycle.amend(agreement, terms(**{name: value}), now=NOW, policy=IMPLIED)
    assert [error.field for error in caught.value.errors] == [name]


@pytest.mark.parametrize(("name", "value"), FIXED)
def test_a_draft_may_change_in_everything(name: str, value: object) -> None:
    """Before activation nothing is fixed, and nothing is superseded."""
    change = lifecycle.amend(draft(), terms(**{name: value}), now=NOW, policy=IMPLIED)
    assert change is not None
    assert change.agreement.supersedes is None


def test_term_changes_supersede() -> None:
    """After activation a change of terms is a revision that names the one it supersedes."""
    active = after(draft(), Command.ACTIVATE)
    change = lifecycle.amend(active, terms(tariff="night"), now=NOW, policy=IMPLIED)
    assert change is not None
    assert (change.agreement.revision, change.agreement.supersedes) == (3, "agr_1:2")
    assert change.event is EventKind.UPDATED
    later = after(change.agreement, Command.SUSPEND)
    assert later.supersedes == "agr_1:2"


def test_the_same_terms_are_no_change() -> None:
    """An amendment without effect makes no revision and no event."""
    assert lifecycle.amend(draft(), terms(), now=NOW, policy=IMPLIED) is None


@pytest.mark.parametrize(
    "new",
    [
        terms(valid_from=NOW - 2 * DAY),
        terms(valid_to=NOW),
        terms(tokens=()),
    ],
)
def test_a_running_agreement_keeps_making_sense(new: Terms) -> None:
    """While it runs, its beginning stays, its end stays ahead, and a token or station stays."""
    active = after(draft(), Command.ACTIVATE)
    with pytest.raises((Immutable, InvalidTerms, Incomplete)):
        lifecycle.amend(active, new, now=NOW, policy=IMPLIED)


def test_a_scheduled_agreement_may_be_moved() -> None:
    """Until it has begun, its beginning may change."""
    scheduled = after(draft(valid_from=NOW + DAY), Command.ACTIVATE)
    change = lifecycle.amend(scheduled, terms(valid_from=NOW + 2 * DAY), now=NOW, policy=IMPLIED)
    assert change is not None
    assert change.agreement.status is Status.SCHEDULED


@pytest.mark.parametrize("status", Status)
def test_deletion(status: Status) -> None:
    """Only drafts, rejected and cancelled agreements can be deleted (409 otherwise)."""
    agreement = replace(draft(), status=status)
    if status in {Status.DRAFT, Status.REJECTED, Status.CANCELLED}:
        change = lifecycle.delete(agreement, now=NOW, policy=IMPLIED)
        assert (change.event, change.agreement.revision) == (EventKind.DELETED, 2)
    else:
        with pytest.raises(IllegalTransition):
            lifecycle.delete(agreement, now=NOW, policy=IMPLIED)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"contract_id": "NL-TNM-C00122045-X"}, "contract_id"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"tokens": (AgreementToken(ref="a"), AgreementToken(ref="a"))}, "tokens"),
        ({"parties": (PARTIES[0], PARTIES[0])}, "parties"),
        ({"scope": Scope(evses=("S1",))}, "scope.evses"),
        ({"schedule": OpeningHours(timezone="UTC", weekly={"day": ()})}, "schedule.weekly"),
        (
            {"station_terms": StationTerms(opening_hours=OpeningHours(timezone="X", weekly={}))},
            "station_terms.opening_hours.timezone",
        ),
        (
            {"station_terms": StationTerms(charging_speed=ChargingSpeed(limit=-1))},
            "station_terms.charging_speed",
        ),
    ],
)
def test_contradictory_terms_are_refused_by_field(fields: dict[str, Any], where: str) -> None:
    """Every rule that holds in all states names the field that breaks it."""
    with pytest.raises(InvalidTerms) as caught:
        draft(**fields)
    assert [error.field for error in caught.value.errors] == [where]


def test_a_cap_exhausts_and_a_higher_cap_restores() -> None:
    """A cap that is reached marks the agreement; raising it lifts the mark."""
    active = after(draft(limits=Limits(energy_cap_wh=1000)), Command.ACTIVATE)
    assert lifecycle.update_exhausted(active, used_wh=999, now=NOW) is None
    spent = lifecycle.update_exhausted(active, used_wh=1000, now=NOW)
    assert spent is not None
    assert spent.agreement.exhausted
    assert spent.event is EventKind.UPDATED
    raised = lifecycle.amend(
        spent.agreement,
        terms(limits=Limits(energy_cap_wh=2000)),
        now=NOW,
        policy=IMPLIED,
        used_wh=1000,
    )
    assert raised is not None
    assert not raised.agreement.exhausted


def test_the_snapshot_says_everything() -> None:
    """Others see every term and the state, under the contract's names."""
    agreement: Agreement = after(draft(tariff="day"), Command.ACTIVATE)
    snapshot = agreement.snapshot()
    assert (snapshot.kind, snapshot.tariff, snapshot.status) == ("driver", "day", Status.ACTIVE)
    assert (snapshot.tokens, snapshot.revision) == (agreement.terms.tokens, 2)
