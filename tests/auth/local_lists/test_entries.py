"""What a station's list should say of each token."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.auth_examples import DAY, KEY, NOW, OFFICE_HOURS, POLICY, REF, coverage, place, token
from voltbus_auth.decisions.domain.decision import decide
from voltbus_auth.decisions.domain.verdict import Policy, Question, Rule
from voltbus_auth.local_lists.domain import wire
from voltbus_auth.local_lists.domain.entries import Candidate, Compilation, Desired
from voltbus_auth.local_lists.domain.plans import Blocked, Plan, Wanted, keys_of, merged
from voltbus_auth.tokens.domain.token import TokenStatus, Whitelist, likeliest
from voltbus_backbone.contract.agreements import AgreementStatus, Limits, Scope
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from voltbus_auth.tokens.domain.token import Token

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21
EXPLICIT = Wanted(tokens=frozenset({REF}))


def candidate(subject: Token | None = None, *coverages: Any, **fields: Any) -> Candidate:
    """A token with its value of eight characters."""
    return Candidate(
        **{
            "token": subject or token(),
            "tag_ref": "tag",
            "length": 8,
            "coverages": coverages,
            **fields,
        }
    )


def compiled(
    *candidates: Candidate,
    wanted: Wanted = EXPLICIT,
    protocol: Protocol = V201,
    most: int = 100,
    policy: Any = POLICY,
    **station: Any,
) -> Desired:
    """The list of the example station."""
    work = Compilation(wanted, place(**station), protocol, NOW, policy)
    work.add(candidates)
    return work.done(most)


def test_a_token_in_good_standing() -> None:
    """Accepted, with the end of its validity and its group, in each version's words."""
    subject = token(expires_at=NOW + DAY, group_id="FLEET")
    assert compiled(candidate(subject), protocol=V16).entries[REF].info == {
        "status": "Accepted",
        "expiryDate": "2026-03-05T12:00:00.000Z",
        "parentIdTag": "FLEET",
    }
    assert compiled(candidate(subject)).entries[REF].info == {
        "status": "Accepted",
        "cacheExpiryDateTime": "2026-03-05T12:00:00.000Z",
        "groupIdToken": {"idToken": "FLEET", "type": "Central"},
    }


def test_without_an_end_there_is_none() -> None:
    """The operator's cache policy is for answers; a list says how long the token is good for."""
    assert compiled(candidate()).entries[REF].info == {"status": "Accepted"}


def test_the_agreements_end_counts() -> None:
    """A list must not outlive the contract."""
    found = compiled(candidate(token(), coverage(valid_to=NOW + DAY)))
    assert found.entries[REF].info["cacheExpiryDateTime"] == "2026-03-05T12:00:00.000Z"
    assert found.next_change == NOW + DAY


@pytest.mark.parametrize(
    ("subject", "agreement", "reason"),
    [
        ({"whitelist": Whitelist.NEVER}, None, "never"),
        ({"whitelist": Whitelist.NEVER, "status": TokenStatus.BLOCKED}, None, "never"),
        ({"status": TokenStatus.BLOCKED}, None, "blocked"),
        ({"expires_at": NOW}, None, "expired"),
        ({"valid_from": NOW + DAY}, None, "not_yet"),
        ({"sites": ("elsewhere",)}, None, "elsewhere"),
        ({"credit": 12.5}, None, "prepaid"),
        ({"credit": 0.0}, None, "no_credit"),
        ({}, {"status": AgreementStatus.SUSPENDED}, "blocked"),
        ({}, {"status": AgreementStatus.EXPIRED}, "expired"),
        ({}, {"limits": Limits(prepaid=True)}, "prepaid"),
        ({}, {"exhausted": True}, "no_credit"),
        ({}, {"scope": Scope(stations=("CS-9",))}, "elsewhere"),
    ],
)
def test_what_is_left_out(
    subject: dict[str, Any], agreement: dict[str, Any] | None, reason: str
) -> None:
    """Whatever would be refused, and what a list would get wrong, with the reason counted."""
    coverages = [coverage(**agreement)] if agreement is not None else []
    found = compiled(candidate(token(**subject), *coverages))
    assert found.entries == {}
    assert found.left_out == {reason: 1}


def test_no_value_no_line() -> None:
    """Without a field key no readable value is kept: such a token cannot be listed."""
    assert compiled(candidate(readable=False)).left_out == {"unreadable": 1}


@pytest.mark.parametrize(
    ("kind", "length", "protocol", "fits"),
    [
        ("ISO14443", 20, V16, True),
        ("ISO14443", 21, V16, False),
        ("ISO14443", 36, V201, True),
        ("ISO14443", 37, V201, False),
        ("ISO14443", 255, V21, True),
        ("EVCCID", 8, V201, False),
        ("EVCCID", 8, V21, True),
        ("NoAuthorization", 8, V21, False),
        ("ISO14443", None, V16, True),
    ],
)
def test_what_a_version_can_write(
    kind: str, length: int | None, protocol: Protocol, *, fits: bool
) -> None:
    """IdToken is CiString20 in 1.6, 36 with a closed list of types in 2.0.1, 255 in 2.1."""
    assert wire.fits(kind, length, protocol) is fits


def test_blocked_tokens_may_be_listed() -> None:
    """For stations that let unknown tokens charge offline: there as Blocked, by choice."""
    wanted = Wanted(tokens=frozenset({REF}), blocked=Blocked.LIST)
    found = compiled(candidate(token(status=TokenStatus.BLOCKED)), wanted=wanted)
    assert found.entries[REF].info == {"status": "Blocked"}


def test_hours_are_left_aside() -> None:
    """A list knows no opening hours: a token that may charge at some time is on it."""
    sunday_closed = coverage(schedule=OFFICE_HOURS)
    night = NOW + timedelta(hours=10)
    work = Compilation(EXPLICIT, place(opening_hours=OFFICE_HOURS), V201, night, POLICY)
    work.add([candidate(token(), sunday_closed)])
    assert REF in work.done(10).entries


def test_some_of_the_evses() -> None:
    """2.x lists the EVSEs (C01.FR.20); 1.6 cannot, so the token stays out there."""
    kinds = {"1": "AC", "2": "DC"}
    subject = candidate(token(evse_kinds=("DC",)))
    found = compiled(subject, evse_kinds=kinds)
    assert found.entries[REF].info["evseId"] == [2]
    assert compiled(subject, protocol=V16, evse_kinds=kinds).left_out == {"some_evses": 1}


def test_one_line_for_each_tag_in_16() -> None:
    """1.6 has no types: of two tokens with one value, the one that Authorize would mean."""
    card = token()
    local = token(ref=KEY.ref("Local", "04A1B2C3D4"), type="Local")
    both = Wanted(tokens=frozenset({card.ref, local.ref}))
    found = compiled(candidate(local), candidate(card), wanted=both, protocol=V16)
    assert list(found.entries) == [card.ref]
    assert found.left_out == {"same_tag": 1}
    assert len(compiled(candidate(local), candidate(card), wanted=both).entries) == 2


@pytest.mark.parametrize(
    ("meant", "reason"),
    [
        ({"status": TokenStatus.BLOCKED}, "blocked"),
        ({"expires_at": NOW}, "expired"),
        ({"whitelist": Whitelist.NEVER}, "never"),
        ({"credit": 12.5}, "prepaid"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_refused_token_takes_the_tag_with_it_in_16(
    meant: dict[str, Any], reason: str, *, named: bool
) -> None:
    """1.6: no line for a tag whose likeliest token has none, wanted by the plan or not."""
    card = token(**meant)
    central = token(ref=KEY.ref("Central", "04A1B2C3D4"), type="Central")
    wanted = Wanted(tokens=frozenset({central.ref, card.ref} if named else {central.ref}))
    either = candidate(central, rivals=() if named else (card,))
    candidates = [either, candidate(card)] if named else [either]
    found = compiled(*candidates, wanted=wanted, protocol=V16)
    assert found.entries == {}
    assert found.left_out == {"same_tag": 1} | ({reason: 1} if named else {})
    assert list(compiled(*candidates, wanted=wanted).entries) == [central.ref]


def test_a_blocked_token_may_speak_for_its_tag_in_16() -> None:
    """1.6 with `"blocked": "list"`: the tag's one line says Blocked, as Authorize does."""
    card = token(status=TokenStatus.BLOCKED)
    central = token(ref=KEY.ref("Central", "04A1B2C3D4"), type="Central")
    wanted = Wanted(tokens=frozenset({card.ref, central.ref}), blocked=Blocked.LIST)
    found = compiled(candidate(central), candidate(card), wanted=wanted, protocol=V16)
    assert {ref: entry.info["status"] for ref, entry in found.entries.items()} == {REF: "Blocked"}


_MANY = [
    token(ref=f"{number:064x}", type=kind)
    for number, kind in enumerate(("ISO14443", "Central", "KeyCode", "MacAddress", "VIN"))
]


@settings(deadline=None)  # the machine may be busy
@given(
    blocked=st.sets(st.sampled_from(range(len(_MANY)))),
    named=st.sets(st.sampled_from(range(len(_MANY))), min_size=1),
    listed=st.sampled_from(Blocked),
)
def test_a_list_of_16_never_says_more_than_authorize(
    blocked: set[int], named: set[int], listed: Blocked
) -> None:
    """1.6: of any tokens with one value, at most one line, and that of the one that is meant."""
    stored = [
        replace(one, status=TokenStatus.BLOCKED if number in blocked else TokenStatus.ACCEPTED)
        for number, one in enumerate(_MANY)
    ]
    wanted = Wanted(tokens=frozenset(stored[number].ref for number in named), blocked=listed)
    candidates = [
        candidate(stored[number], rivals=[one for one in stored if one is not stored[number]])
        for number in sorted(named, reverse=True)
    ]
    found = compiled(*candidates, wanted=wanted, protocol=V16)
    meant = likeliest(stored)
    assert meant is not None
    question = Question(type="", at=NOW)
    status = decide(meant, (), place(), question, POLICY).decision.status
    has_line = 0 in named and (0 not in blocked or listed is Blocked.LIST)
    lines = {ref: entry.info["status"] for ref, entry in found.entries.items()}
    assert lines == ({meant.ref: status} if has_line else {})


def test_what_finds_no_room() -> None:
    """Tokens named one by one come before groups, those before agreements, then the rest."""
    named = [
        token(ref=f"{number:064x}", group_id="G" if number == 2 else None) for number in (1, 2, 3)
    ]
    always = token(ref=f"{4:064x}", whitelist=Whitelist.ALWAYS)
    wanted = Wanted(
        tokens=frozenset({named[0].ref}),
        token_groups=frozenset({"G"}),
        whitelist=frozenset({Whitelist.ALWAYS, Whitelist.ALLOWED}),
    )
    candidates = [candidate(one, tag_ref=one.ref) for one in (named[2], always, named[1], named[0])]
    found = compiled(*candidates, wanted=wanted, most=3)
    assert list(found.entries) == [named[0].ref, named[1].ref, always.ref]
    assert found.left_out == {"over_limit": 1}


@pytest.mark.parametrize(
    ("agreement", "listed"),
    [
        ({}, True),
        ({"scope": Scope(locations=("site-1",))}, True),
        ({"scope": Scope(evses=("CS-1/2",))}, True),
        ({"scope": Scope(locations=("site-2",))}, False),
        ({"status": AgreementStatus.TERMINATED}, False),
    ],
)
def test_whatever_agreements_cover(agreement: dict[str, Any], *, listed: bool) -> None:
    """Tokens whose agreements in force hold at this station, and only those."""
    wanted = Wanted(covered=True)
    subject = candidate(token(), coverage(**agreement))
    assert (REF in compiled(subject, wanted=wanted, site_id="site-1").entries) is listed
    assert compiled(candidate(), wanted=wanted).entries == {}


def test_plans_add_up_and_the_narrowest_decides() -> None:
    """Station before site before group."""
    keys = keys_of("CS-1", "S", "G")
    assert keys == ("station:CS-1", "site:S", "group:G")
    plans = [
        Plan(keys[0], tokens=("a",), blocked=Blocked.LIST),
        Plan(keys[2], token_groups=("g",), whitelist=(Whitelist.NEVER, Whitelist.ALWAYS)),
    ]
    assert merged(plans) == Wanted(
        tokens=frozenset({"a"}),
        token_groups=frozenset({"g"}),
        whitelist=frozenset({Whitelist.ALWAYS}),
        blocked=Blocked.LIST,
    )
    assert merged([]) is None


@settings(deadline=None)  # the machine may be busy
@given(
    status=st.sampled_from(TokenStatus),
    word=st.sampled_from(Whitelist),
    agreement=st.sampled_from(AgreementStatus),
    days=st.integers(-2, 2),
    required=st.booleans(),
)
def test_a_list_never_says_more_than_authorize(
    status: TokenStatus, word: Whitelist, agreement: AgreementStatus, days: int, *, required: bool
) -> None:
    """What is listed as Accepted would be accepted now, and is not NEVER."""
    subject = token(status=status, whitelist=word, expires_at=NOW + days * DAY if days else None)
    coverages = [coverage(status=agreement)]
    policy = Policy(cache=DAY, require_agreement=required)
    found = compiled(candidate(subject, *coverages), policy=policy)
    verdict = decide(subject, coverages, place(), Question(type=subject.type, at=NOW), policy)
    listed = REF in found.entries
    assert listed == (verdict.rule is Rule.ACCEPTED and word is not Whitelist.NEVER)


def test_messages_are_cut_to_bytes() -> None:
    """BytesPerMessage: as many lines as fit into it, and always one."""
    items = [wire.Item(f"{number:08d}", "ISO14443", {"status": "Accepted"}) for number in range(50)]
    count = wire.how_many(items, V201, 1000)
    payload = wire.send_local_list(V201, wire.LAST_VERSION, items[:count], full=False)
    assert 700 < wire._size(payload) <= 1000
    assert wire.how_many(items, V201, 10) == 1
    assert wire.how_many(items, V201, 100_000) == 50


def test_a_report_tells_how_many_entries_there_may_be() -> None:
    """LocalAuthListCtrlr.Entries.maxLimit of a NotifyReport, in whatever case it is written."""
    entry = {
        "component": {"name": "localauthlistctrlr"},
        "variable": {"name": "ENTRIES"},
        "variableAttribute": [{"value": "3"}],
        "variableCharacteristics": {"dataType": "integer", "maxLimit": 200.0},
    }
    other = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "Entries"}}
    assert wire.most_entries_reported({"reportData": [other, entry]}) == 200
    assert wire.most_entries_reported({"reportData": [other]}) is None
    assert wire.most_entries_reported({}) is None
