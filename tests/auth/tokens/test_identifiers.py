"""References of tokens, and the passwords of stations (ocpp-rules A5, A6, B, design 8)."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import CARD, KEY, STATION, card
from voltbus_auth.credentials.domain import credentials
from voltbus_auth.credentials.domain.credentials import Credentials
from voltbus_auth.tokens.domain.identifiers import TokenKey, masked, read_key
from voltbus_auth.tokens.domain.token import TYPES
from voltbus_backbone.contract.auth import PasswordVerifier

SPELLINGS = ("NLTNMC00122045K", "NL-TNM-C00122045-K", "nl-tnmc00122045-k", "NL-TNM-C00122045K")


def test_equal_whatever_the_case() -> None:
    """C01.FR.25: type and value are compared case-insensitively, and both count."""
    assert KEY.ref("ISO14443", "04a1") == KEY.ref("iso14443", "04A1")
    assert KEY.ref("ISO14443", "04A1") != KEY.ref("ISO15693", "04A1")
    assert KEY.ref("ISO14443", "04A1") != KEY.ref("ISO14443", "04A11")


@given(
    st.sampled_from(["04A1", "04 A1", "NL-TNM-C00122045-K"]),
    st.sampled_from(["", *TYPES]),
    st.text(" \t\r\n\0\u00a0\ufeff", max_size=4),
    st.text(" \t\r\n\0\u00a0\ufeff", max_size=4),
)
def test_equal_whatever_blanks_a_reader_puts_around_it(
    value: str, kind: str, before: str, after: str
) -> None:
    """Readers pad short UIDs, and C strings end with NUL; what is between is the token's own."""
    padded = before + value + after
    assert KEY.all_of(kind, padded) == KEY.all_of(kind, value)
    assert KEY.presented(card(padded, kind)) == KEY.presented(card(value, kind))
    hyphened = KEY.contracts([card(padded, kind)]).values()
    assert list(hyphened) == list(KEY.contracts([card(value, kind)]).values())


def test_type_and_value_do_not_run_together() -> None:
    """No type and value give the reference of another pair."""
    assert KEY.ref("ab", "c") != KEY.ref("a", "bc")


def test_emaid_with_and_without_hyphens() -> None:
    """An eMAID is the same contract however it is written; 1.6 may present either."""
    written, bare = "NL-TNM-C00122045-K", "NLTNMC00122045K"
    assert KEY.ref("eMAID", written) == KEY.ref("eMAID", bare)
    refs = KEY.all_of("eMAID", written)
    assert KEY.presented(card(bare, "")) in refs
    assert KEY.presented(card(written, "")) in refs
    assert refs[0] == KEY.ref("eMAID", bare)


@pytest.mark.parametrize("registered", SPELLINGS)
@pytest.mark.parametrize("presented", SPELLINGS)
def test_emaid_presented_without_type(registered: str, presented: str) -> None:
    """1.6 has no types: whatever hyphens a contract was registered with, any others find it."""
    token = card(presented, "")
    found_under = {KEY.presented(token), *KEY.contracts([token]).values()}
    assert found_under & set(KEY.all_of("eMAID", registered))


def test_left_out_check_digit_without_type() -> None:
    """Registered without check digit: with and without hyphens, as its stations present it."""
    refs = KEY.all_of("eMAID", "NL-TNM-C00122045")
    for presented in ("NL-TNM-C00122045", "NLTNMC00122045", "NLTNMC00122045K"):
        assert KEY.presented(card(presented, "")) in refs


def test_what_emaids_are_stored_under_has_only_grown() -> None:
    """Tokens that were registered before are found as before: their references are still made."""
    written, kind = "NL-TNM-C00122045-K", "eMAID"
    before = [KEY.ref(kind, written), KEY.ref("", written), KEY.ref("", "NLTNMC00122045K")]
    assert KEY.all_of(kind, written)[:3] == before


@given(
    st.one_of(
        st.text("ABCDEF0123456789-", max_size=20),
        st.from_regex(r"[A-Z]{2}-?[A-Z0-9]{3}-?[A-Z0-9]{9}(-?[A-Z0-9])?", fullmatch=True),
    ),
    st.sampled_from([kind for kind in TYPES if kind != "eMAID"]),
)
def test_hyphens_make_no_two_tokens_one(value: str, kind: str) -> None:
    """Only an eMAID is found by another spelling; a card or a code of that value is not (C01)."""
    respelled = set(KEY.contracts([card(value, "")]).values())
    assert not respelled & set(KEY.all_of(kind, value))
    assert not respelled & set(KEY.all_of(kind, value.replace("-", "")))


def test_a_type_is_believed() -> None:
    """2.x says what is presented: its hyphens count, unless it is an eMAID, which has one form."""
    assert KEY.contracts([card("NL-TNM-C00122045-K", kind) for kind in TYPES]) == {}


def test_another_key_gives_other_references() -> None:
    """A reference tells nothing without the key, and a key is named without being told."""
    other = TokenKey(b"x" * 32)
    assert other.ref("", CARD) != KEY.ref("", CARD)
    assert other.id != KEY.id
    assert "x" * 8 not in repr(other)


def test_key_files() -> None:
    """A key file holds bytes, or base64 text with a line's end; less than 32 bytes is no key."""
    raw = bytes(range(200, 240))
    assert read_key(raw) == raw
    assert read_key(base64.b64encode(raw) + b"\n") == raw
    with pytest.raises(ValueError, match="at least 32 bytes"):
        read_key(b"short")
    with pytest.raises(ValueError, match="at least 32 bytes"):
        TokenKey(b"short")


def test_masks() -> None:
    """An operator sees the end of a token, and nothing of a key code (C04.FR.04)."""
    assert masked("ISO14443", "04A1B2C3") == "…C3"
    assert masked("eMAID", "NLTNMC00122045K") == "…045K"
    assert masked("KeyCode", "12345678") == "…"
    assert masked("ISO14443", "04A") == "…"


def test_generated_password() -> None:
    """40 hex digits of 160 random bits: fits 1.6 (20 bytes as hex) and 2.x (16-40 characters)."""
    password = credentials.generate(bytes)
    assert len(bytes.fromhex(password)) == 20
    assert credentials.problems(password) == []


def test_fast_verifier() -> None:
    """A generated password is kept as a salted SHA-256 (A6, design 8)."""
    made = credentials.fast_verifier("pass", lambda size: b"s" * size)
    assert made.algorithm == "sha256"
    assert made.digest == hashlib.sha256(bytes.fromhex(made.salt) + b"pass").hexdigest()


def test_slow_verifier() -> None:
    """A chosen password is kept as scrypt."""
    made = credentials.slow_verifier("a chosen password", lambda size: b"s" * size)
    digest = hashlib.scrypt(
        b"a chosen password", salt=bytes.fromhex(made.salt), n=made.n, r=made.r, p=made.p, dklen=32
    )
    assert (made.algorithm, made.digest) == ("scrypt", digest.hex())


@pytest.mark.parametrize("password", ["short", "x" * 65, "sixteen\x00characters"])
def test_unusable_passwords(password: str) -> None:
    """A5: 16 to 64 characters, none of them a control character."""
    assert credentials.problems(password)


@pytest.mark.parametrize(
    ("minimum", "presented", "allowed"), [(1, 1, True), (2, 1, False), (2, 3, True), (1, 0, False)]
)
def test_minimum_profile(minimum: int, presented: int, *, allowed: bool) -> None:
    """A00.FR.002: a listener below the station's profile is refused."""
    verifier = PasswordVerifier(algorithm="sha256", salt="00", digest="00")
    known = Credentials(STATION, minimum, (verifier,))
    answer = credentials.answer(known, registered=True, security_profile=presented)
    assert (answer.known, answer.allowed) == (True, allowed)


def test_nobody_and_somebody_without_a_password() -> None:
    """A1: who is unknown is not known; a registered station has no way in without credentials."""
    nobody = credentials.answer(None, registered=False, security_profile=1)
    assert (nobody.known, nobody.allowed) == (False, False)
    registered = credentials.answer(None, registered=True, security_profile=1)
    assert (registered.known, registered.allowed) == (True, False)
    development = credentials.answer(None, registered=True, security_profile=0)
    assert development.allowed
