"""The decision: its rules, their order, and what an acceptance says (ocpp-rules B and D)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import (
    DAY,
    HOUR,
    NOW,
    OFFICE_HOURS,
    POLICY,
    REF,
    STATION,
    coverage,
    place,
    token,
)
from voltbus_auth.decisions.domain.decision import decide
from voltbus_auth.decisions.domain.verdict import Policy, Question, Rule, Verdict
from voltbus_auth.tokens.domain.token import TokenStatus
from voltbus_backbone.contract.agreements import AgreementStatus, Limits, Scope
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken, OpeningHours

S = AuthorizationStatus
CLOSED = OpeningHours(timezone="UTC", weekly={})


def asked(**fields: Any) -> Question:
    return Question(**{"type": "ISO14443", "at": NOW, **fields})


def judged(
    *,
    token_fields: dict[str, Any] | None = None,
    agreements: tuple[dict[str, Any], ...] = (),
    station: dict[str, Any] | None = None,
    question: dict[str, Any] | None = None,
    policy: Policy = POLICY,
    full: frozenset[str] = frozenset(),
) -> Verdict:
    return decide(
        token(**(token_fields or {})),
        [coverage(**fields) for fields in agreements],
        place(**(station or {})),
        asked(**(question or {})),
        policy,
        full=full,
    )


def test_unknown() -> None:
    """A token that nobody registered is Unknown."""
    verdict = decide(None, [], place(), asked(), POLICY)
    assert (verdict.decision.status, verdict.rule) == (S.UNKNOWN, Rule.UNKNOWN)


def test_accepted_without_agreement() -> None:
    """By default a registered token charges without an agreement."""
    verdict = judged()
    assert verdict.decision.status is S.ACCEPTED
    assert verdict.agreement_id is None


def test_agreement_required() -> None:
    """With the policy switch on, a token without an agreement in force is Invalid."""
    policy = Policy(cache=DAY, require_agreement=True)
    assert judged(policy=policy).decision.status is S.INVALID
    assert judged(policy=policy, agreements=({},)).decision.status is S.ACCEPTED


def test_no_authorization() -> None:
    """C02: a station that charges without authorization is answered Accepted."""
    verdict = decide(None, [], place(), asked(type="NoAuthorization"), POLICY)
    assert verdict.decision.status is S.ACCEPTED


@pytest.mark.parametrize("status", [AgreementStatus.SUSPENDED, AgreementStatus.TERMINATED])
def test_agreement_not_in_force_blocks(status: AgreementStatus) -> None:
    """A token whose only agreement is suspended or terminated is Blocked."""
    assert judged(agreements=({"status": status},)).decision.status is S.BLOCKED


def test_agreement_expired() -> None:
    """A token whose only agreement has expired is Expired, even before its service says so."""
    assert judged(agreements=({"status": AgreementStatus.EXPIRED},)).decision.status is S.EXPIRED
    late = {"valid_to": NOW}
    assert judged(agreements=(late,)).decision.status is S.EXPIRED


@pytest.mark.parametrize(
    "status", [AgreementStatus.DRAFT, AgreementStatus.SCHEDULED, AgreementStatus.CANCELLED]
)
def test_agreement_that_never_held_changes_nothing(status: AgreementStatus) -> None:
    """A draft, scheduled or cancelled agreement neither allows nor forbids."""
    assert judged(agreements=({"status": status},)).decision.status is S.ACCEPTED


def test_another_agreement_in_force_speaks() -> None:
    """One suspended agreement beside one in force does not block."""
    verdict = judged(
        agreements=({"status": AgreementStatus.SUSPENDED}, {"id": "agr-2", "tariff": "t"})
    )
    assert verdict.decision.status is S.ACCEPTED
    assert verdict.agreement_id == "agr-2"


def test_agreement_that_gets_furthest_speaks() -> None:
    """Of two agreements in force, the one that accepts decides, whichever comes first."""
    narrow = {"id": "agr-1", "scope": Scope(stations=("CS-2",))}
    wide = {"id": "agr-2"}
    for pair in ((narrow, wide), (wide, narrow)):
        verdict = judged(agreements=pair)
        assert (verdict.decision.status, verdict.agreement_id) == (S.ACCEPTED, "agr-2")


def test_evse_kind() -> None:
    """C01.FR.18: no EVSE of an allowed kind is NotAllowedTypeEVSE."""
    station = {"evse_kinds": {"1": "AC", "2": "AC"}}
    fast = {"scope": Scope(evse_kinds=("DC",))}
    assert judged(station=station, agreements=(fast,)).rule is Rule.EVSE_KIND
    verdict = judged(station=station, token_fields={"evse_kinds": ("DC",)})
    assert verdict.decision.status is S.NOT_ALLOWED_TYPE_EVSE


def test_evse_subset() -> None:
    """C01.FR.20: some EVSEs may be used, and the answer lists them."""
    station = {"evse_kinds": {"1": "AC", "2": "DC", "3": "DC"}}
    verdict = judged(station=station, token_fields={"evse_kinds": ("DC",)})
    assert verdict.decision.evse_ids == (2, 3)
    named = {"scope": Scope(evses=(f"{STATION}/1", f"{STATION}/2"))}
    assert judged(station=station, agreements=(named,)).decision.evse_ids == (1, 2)


def test_all_evses_means_no_list() -> None:
    """C01.FR.19: when every EVSE may be used, none is listed."""
    station = {"evse_kinds": {"1": "DC", "2": "DC"}}
    assert judged(station=station, token_fields={"evse_kinds": ("DC",)}).decision.evse_ids == ()
    every = {"scope": Scope(evses=(f"{STATION}/1", f"{STATION}/2"))}
    assert judged(station=station, agreements=(every,)).decision.evse_ids == ()


def test_start_on_the_wrong_evse() -> None:
    """A start on an EVSE of another kind, or outside the agreement, is refused."""
    station = {"evse_kinds": {"1": "AC", "2": "DC"}}
    kinds = {"evse_kinds": ("DC",)}
    wrong = judged(station=station, token_fields=kinds, question={"evse_id": 1})
    assert wrong.decision.status is S.NOT_ALLOWED_TYPE_EVSE
    named = {"scope": Scope(evses=(f"{STATION}/2",))}
    wrong = judged(agreements=(named,), question={"evse_id": 1})
    assert wrong.decision.status is S.NOT_AT_THIS_LOCATION


def test_evse_of_unknown_kind_is_not_refused_for_it() -> None:
    """Nobody told what kind EVSE 7 is: its kind refuses nobody."""
    station = {"evse_kinds": {"1": "AC"}}
    verdict = judged(station=station, token_fields={"evse_kinds": ("DC",)}, question={"evse_id": 7})
    assert verdict.decision.status is S.ACCEPTED


@pytest.mark.parametrize(
    ("scope", "accepted"),
    [
        (Scope(), True),
        (Scope(stations=(STATION,)), True),
        (Scope(locations=("site-1",)), True),
        (Scope(groups=("group-1",)), True),
        (Scope(stations=("CS-9",), groups=("group-1",)), True),
        (Scope(stations=("CS-9",)), False),
        (Scope(locations=("site-9",)), False),
        (Scope(evses=("CS-9/1",)), False),
    ],
)
def test_location(scope: Scope, *, accepted: bool) -> None:
    """C01.FR.22: a station outside every place of the scope is NotAtThisLocation."""
    verdict = judged(
        station={"site_id": "site-1", "group_id": "group-1"}, agreements=({"scope": scope},)
    )
    expected = S.ACCEPTED if accepted else S.NOT_AT_THIS_LOCATION
    assert verdict.decision.status is expected


def test_token_limited_to_sites() -> None:
    """A token with allowed sites charges there only."""
    here = {"site_id": "site-1"}
    assert judged(token_fields={"sites": ("site-1",)}, station=here).rule is Rule.ACCEPTED
    assert judged(token_fields={"sites": ("site-2",)}, station=here).rule is Rule.LOCATION


def test_payment_methods() -> None:
    """A station that takes no RFID refuses a card, and takes the app."""
    station = {"payment_methods": ("app",)}
    assert judged(station=station).decision.status is S.NOT_AT_THIS_LOCATION
    assert judged(station=station, token_fields={"type": "Central"}).rule is Rule.ACCEPTED


def test_site_closed() -> None:
    """A closed site is NotAtThisTime."""
    assert judged(station={"opening_hours": CLOSED}).decision.status is S.NOT_AT_THIS_TIME
    assert judged(station={"opening_hours": OFFICE_HOURS}).decision.status is S.ACCEPTED


def test_agreement_schedule() -> None:
    """An agreement's own schedule closes it, though the site is open."""
    assert judged(agreements=({"schedule": CLOSED},)).decision.status is S.NOT_AT_THIS_TIME


def test_not_valid_yet() -> None:
    """A token before its first day is NotAtThisTime."""
    assert judged(token_fields={"valid_from": NOW + HOUR}).rule is Rule.TIME
    assert judged(token_fields={"valid_from": NOW}).rule is Rule.ACCEPTED


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        # Sunday 29 March 2026: Stockholm's clocks jump from 02:00 to 03:00.
        (datetime(2026, 3, 29, 3, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 29, 4, 0, tzinfo=UTC), True),  # 06:00 summer time
        (datetime(2026, 3, 28, 4, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 28, 5, 0, tzinfo=UTC), True),  # 06:00 winter time
        # Sunday 25 October 2026: they go back from 03:00 to 02:00.
        (datetime(2026, 10, 25, 4, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 25, 5, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 24, 4, 0, tzinfo=UTC), True),
    ],
)
def test_daylight_saving(at: datetime, *, is_open: bool) -> None:
    """Opening at 06:00 local time holds on both days on which the clocks change (rules C)."""
    hours = OpeningHours(
        timezone="Europe/Stockholm",
        weekly=dict.fromkeys(("sat", "sun"), (("06:00", "22:00"),)),
    )
    verdict = decide(token(), [], place(opening_hours=hours), asked(at=at), POLICY)
    assert (verdict.decision.status is S.ACCEPTED) == is_open


def test_no_credit() -> None:
    """An agreement whose cap is used up is NoCredit."""
    assert judged(agreements=({"exhausted": True},)).decision.status is S.NO_CREDIT


def test_prepaid() -> None:
    """C17: with credit Accepted, up to it, not to be cached; without credit NoCredit."""
    accepted = judged(token_fields={"credit": 12.5}).decision
    assert (accepted.status, accepted.max_cost, accepted.cache_expiry) == (S.ACCEPTED, 12.5, NOW)
    assert judged(token_fields={"credit": 0.0}).decision.status is S.NO_CREDIT
    prepaid = judged(agreements=({"limits": Limits(prepaid=True)},)).decision
    assert prepaid.cache_expiry == NOW


def test_concurrent_only_when_starting() -> None:
    """ConcurrentTx is for starts: an Authorize is accepted though the limit is used up."""
    full = frozenset({f"token:{REF}"})
    fields = {"max_concurrent": 1}
    start = judged(token_fields=fields, question={"starting": True}, full=full)
    assert start.decision.status is S.CONCURRENT_TX
    assert judged(token_fields=fields, full=full).decision.status is S.ACCEPTED


def test_limits_of_token_and_agreement() -> None:
    """An accepted start names every limit that it must be counted against."""
    verdict = judged(
        token_fields={"max_concurrent": 2}, agreements=({"limits": Limits(max_concurrent=1)},)
    )
    assert [(limit.key, limit.most) for limit in verdict.limits] == [
        (f"token:{REF}", 2),
        ("agreement:agr-1", 1),
    ]


def test_cache_expiry() -> None:
    """CacheExpiry is the first of policy, token's end, agreement's end and closing time."""
    assert judged().decision.cache_expiry == NOW + DAY
    soon = NOW + HOUR
    assert judged(token_fields={"expires_at": soon}).decision.cache_expiry == soon
    assert judged(agreements=({"valid_to": soon},)).decision.cache_expiry == soon
    closing = datetime(2026, 3, 4, 18, tzinfo=UTC)
    assert judged(station={"opening_hours": OFFICE_HOURS}).decision.cache_expiry == closing


def test_what_an_acceptance_tells() -> None:
    """Group (type Central, C09.FR.13), priority and language come from token, then agreement."""
    agreement = {"group_id": "FLEET", "charging_priority": 3, "language": "sv"}
    decision = judged(agreements=(agreement,)).decision
    assert decision.group == IdToken(value="FLEET", type="Central")
    assert (decision.charging_priority, decision.language) == (3, "sv")
    own = {"group_id": "MINE", "charging_priority": 0, "language": "en", "personal_message": "Hi"}
    decision = judged(token_fields=own, agreements=(agreement,)).decision
    assert decision.group == IdToken(value="MINE", type="Central")
    assert (decision.charging_priority, decision.language) == (0, "en")
    assert decision.personal_message == "Hi"


# Each rule with something that breaks it, in the order in which they must be asked.
_BREAKS: list[tuple[Rule, dict[str, Any]]] = [
    (Rule.BLOCKED, {"token": {"status": TokenStatus.BLOCKED}}),
    (Rule.EXPIRED, {"token": {"expires_at": NOW}}),
    (Rule.EVSE_KIND, {"token": {"evse_kinds": ("DC",)}}),
    (Rule.LOCATION, {"token": {"sites": ("elsewhere",)}}),
    (Rule.TIME, {"station": {"opening_hours": CLOSED}}),
    (Rule.CREDIT, {"agreement": {"exhausted": True}}),
    (Rule.CONCURRENT, {"full": frozenset({f"token:{REF}"})}),
]


@given(st.sets(st.sampled_from(range(len(_BREAKS)))))
def test_the_first_broken_rule_decides(broken: set[int]) -> None:
    """Whatever else is wrong, the first rule in the order of rules D decides."""
    parts: dict[str, Any] = {
        "token": {"max_concurrent": 1},
        "station": {"site_id": "here", "evse_kinds": {"1": "AC"}},
        "agreement": {},
        "full": frozenset(),
    }
    for index in broken:
        for name, value in _BREAKS[index][1].items():
            parts[name] = value if name == "full" else {**parts[name], **value}
    verdict = judged(
        token_fields=parts["token"],
        station=parts["station"],
        agreements=(parts["agreement"],),
        question={"starting": True},
        full=parts["full"],
    )
    assert verdict.rule is (_BREAKS[min(broken)][0] if broken else Rule.ACCEPTED)


@given(
    at=st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    starting=st.booleans(),
    covered=st.booleans(),
)
def test_a_blocked_token_is_never_accepted(at: datetime, *, starting: bool, covered: bool) -> None:
    """Blocked stays Blocked at any time, with or without an agreement."""
    verdict = judged(
        token_fields={"status": TokenStatus.BLOCKED},
        agreements=({},) if covered else (),
        question={"at": at, "starting": starting},
    )
    assert verdict.decision.status is S.BLOCKED


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.floats(0, 1, exclude_max=True),
)
def test_an_acceptance_holds_until_its_cache_expiry(at: datetime, share: float) -> None:
    """Between the decision and its cacheExpiry nothing changes by the clock alone."""

    def ask(moment: datetime) -> Verdict:
        return judged(
            token_fields={"expires_at": NOW + 90 * DAY},
            station={"opening_hours": OFFICE_HOURS},
            question={"at": moment},
        )

    first = ask(at)
    if first.decision.status is S.ACCEPTED:
        expiry = first.decision.cache_expiry
        assert expiry is not None
        assert at < expiry <= at + DAY
        moment = min(at + (expiry - at) * share, expiry - timedelta(microseconds=1))
        assert ask(moment).decision.status is S.ACCEPTED
