"""What is asked of OCSP responders, and what is believed of their answers (RFC 6960, C07.FR.05)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.auth_examples import NOW
from auth.plug_and_charge.pki import HOUR, Made, Pki, Status, ocsp_answer
from voltbus_auth.plug_and_charge.domain.chain import Root, find_contract_path, read_chain
from voltbus_auth.plug_and_charge.domain.revocation import (
    Check,
    Responder,
    Told,
    Unbelievable,
    checks_of_hashes,
    checks_of_path,
    read_answer,
    request_of,
)
from voltbus_backbone.contract.auth import OcspHash, Revocation

PKI = Pki(NOW)
LEAF = PKI.contract()
ROOTS = [Root(PKI.root.certificate, "MO")]
DAY = timedelta(days=1)


def checks(leaf: Made = LEAF, *hashed: OcspHash, roots: list[Root] | None = None) -> list[Check]:
    trusted = roots if roots is not None else ROOTS
    path = find_contract_path(read_chain(leaf.chain()), trusted, NOW)
    return checks_of_path(path, hashed, trusted)


def by_hash(leaf: Made = LEAF) -> Check:
    (found,) = checks_of_hashes([leaf.hashed()], ROOTS)
    return found


def told(der: bytes, check: Check | None = None) -> Told:
    return read_answer(der, check or checks()[0], ROOTS, NOW)


def unbelievable(der: bytes, check: Check | None = None) -> str:
    with pytest.raises(Unbelievable) as caught:
        told(der, check)
    return caught.value.reason


def test_every_certificate_below_the_root_is_asked_about() -> None:
    """Leaf and sub-authorities, each with its issuer and the responder that it names."""
    found = checks()
    assert [check.id.serial for check in found] == [
        LEAF.serial,
        PKI.sub2.serial,
        PKI.sub1.serial,
    ]
    assert {check.responders for check in found} == {
        (Responder("http://ocsp.example", vouched=True),)
    }


def test_the_request_names_the_certificate() -> None:
    """What goes out is the CertID that a responder looks up, in the algorithm of the check."""
    request = ocsp.load_der_ocsp_request(request_of(checks()[0]))
    wanted = LEAF.hashed()
    assert request.serial_number == LEAF.serial
    assert request.issuer_name_hash.hex() == wanted.issuer_name_hash
    assert request.issuer_key_hash.hex() == wanted.issuer_key_hash
    other = LEAF.hashed("SHA512")
    (check,) = checks_of_hashes([other], ROOTS)
    again = ocsp.load_der_ocsp_request(request_of(check))
    assert again.issuer_name_hash.hex() == other.issuer_name_hash


def test_an_operators_word_on_the_responder_counts() -> None:
    """The responder that an operator gave an authority replaces what certificates name."""
    own = [Root(PKI.sub2.certificate, "MO", "http://inside.example")]
    assert checks(roots=own)[0].responders == (Responder("http://inside.example", vouched=True),)
    (check,) = checks_of_hashes([LEAF.hashed()], own)
    assert check.responders == (Responder("http://inside.example", vouched=True),)


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_hash_data_gives_the_responder_where_the_certificate_names_none(algorithm: str) -> None:
    """A station's word is used, and marked as a station's."""
    silent = PKI.contract(responder_url="")
    named = silent.hashed(algorithm, responder_url="http://said.example")
    first = checks(silent, named)[0]
    assert first.responders == (Responder("http://said.example", vouched=False),)
    assert len(checks(silent, named)) == 3


def test_hash_data_of_another_certificate_is_asked_about_too() -> None:
    """What a station names beside the chain must not be revoked either."""
    other = PKI.contract("NLTNM000122045U")
    found = checks(LEAF, other.hashed())
    assert [check.id.serial for check in found][3:] == [other.serial]
    assert found[3].issuer == PKI.sub2.certificate


def test_further_responders() -> None:
    """2.1 may name several: they are asked in their order."""
    named = LEAF.hashed(responder_url="http://a", further_urls=("http://b", "http://c"))
    (check,) = checks_of_hashes([named], ROOTS)
    assert [one.url for one in check.responders] == ["http://a", "http://b", "http://c"]


@pytest.mark.parametrize(
    "change",
    [
        {"hash_algorithm": "MD5"},
        {"issuer_name_hash": "xyz"},
        {"issuer_key_hash": "aa"},
        {"serial_number": ""},
        {"serial_number": "0"},
        {"serial_number": "12 years"},
    ],
)
def test_hash_data_that_cannot_be_read(change: dict[str, Any]) -> None:
    """An error of its own, without the value."""
    wrong = msgspec.structs.replace(LEAF.hashed(), **change)
    with pytest.raises(ValueError, match=r"hash|hexadecimal"):
        checks_of_hashes([wrong], ROOTS)


def test_a_serial_number_is_hexadecimal_in_any_spelling() -> None:
    """Upper case, leading zeros, a prefix: the same number."""
    spelled = [f"{LEAF.serial:X}", f"000{LEAF.serial:x}", f"0x{LEAF.serial:x}"]
    hashed = [LEAF.hashed(serial_number=one) for one in spelled]
    assert {check.id.serial for check in checks_of_hashes(hashed, ROOTS)} == {LEAF.serial}


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (Status.GOOD, Revocation.GOOD),
        (Status.REVOKED, Revocation.REVOKED),
        (Status.UNKNOWN, Revocation.UNKNOWN),
    ],
)
def test_the_issuers_own_word(status: Status, means: Revocation) -> None:
    """Signed by the issuer itself; lasts until its next update."""
    found = told(ocsp_answer(LEAF, NOW, status=status))
    assert (found.status, found.next_update) == (means, NOW + HOUR)


def test_the_word_of_a_delegate() -> None:
    """A responder that the issuer certified for it (RFC 6960 §4.2.2.2)."""
    delegate = PKI.delegate(PKI.sub2)
    der = ocsp_answer(LEAF, NOW, signer=delegate, brings=(delegate,))
    assert told(der).status is Revocation.GOOD


def test_a_delegate_with_a_key_of_15118_20() -> None:
    """Ed448 signs answers too."""
    delegate = PKI.delegate(PKI.sub2, key=ed448.Ed448PrivateKey.generate())
    der = ocsp_answer(LEAF, NOW, signer=delegate, brings=(delegate,))
    assert told(der).status is Revocation.GOOD


def test_a_delegate_that_is_none() -> None:
    """Not for OCSP, of another issuer, expired, or not there: its word proves nothing."""
    wrong = (
        PKI.delegate(PKI.sub2, (ExtendedKeyUsageOID.CLIENT_AUTH,)),
        PKI.delegate(PKI.sub1),
        PKI.delegate(PKI.sub2, ends=NOW - DAY),
    )
    for delegate in wrong:
        der = ocsp_answer(LEAF, NOW, signer=delegate, brings=(delegate,))
        assert unbelievable(der) == "not signed by the issuer or its responder"
    absent = PKI.delegate(PKI.sub2)
    der = ocsp_answer(LEAF, NOW, signer=absent)
    assert unbelievable(der) == "not signed by the issuer or its responder"


def test_a_contract_answers_for_nobody() -> None:
    """A driver's own certificate, issued by the right authority, is no responder."""
    driver = PKI.contract("NLTNM000122045U")
    der = ocsp_answer(LEAF, NOW, signer=driver, brings=(driver,))
    assert unbelievable(der) == "not signed by the issuer or its responder"


def test_an_answer_about_another_certificate() -> None:
    """A good word about someone else is none about this one."""
    assert unbelievable(ocsp_answer(PKI.contract(), NOW)) == "about another certificate"


def test_an_answer_in_the_responders_own_algorithm() -> None:
    """Where we know the issuer, an answer by SHA-1 names the same certificate."""
    der = ocsp_answer(LEAF, NOW, algorithm=hashes.SHA1())  # noqa: S303 - names, signs nothing
    assert told(der).status is Revocation.GOOD
    assert unbelievable(der, by_hash()) == "about another certificate"


@pytest.mark.parametrize(
    ("said", "lasts", "why"),
    [
        (NOW - DAY, HOUR, "outdated"),
        (NOW - 2 * DAY, None, "outdated"),
        (NOW + HOUR, HOUR, "from the future"),
    ],
)
def test_an_answer_out_of_its_time(said: Any, lasts: Any, why: str) -> None:
    """A replayed old answer, one that never ends and is old, one from a wrong clock."""
    assert unbelievable(ocsp_answer(LEAF, NOW, this_update=said, lasts=lasts)) == why


def test_a_fresh_answer_without_an_end() -> None:
    """It holds now, and is not kept."""
    assert told(ocsp_answer(LEAF, NOW, lasts=None)).next_update is None


def test_clocks_may_differ_a_little() -> None:
    """A responder whose clock is a minute ahead is believed."""
    der = ocsp_answer(LEAF, NOW, this_update=NOW + timedelta(minutes=1))
    assert told(der).status is Revocation.GOOD


def test_by_hash_alone_the_answer_must_bring_its_issuer() -> None:
    """Without the chain, the issuer comes with the answer and must lead to a root."""
    assert by_hash().issuer is None
    chain = (PKI.sub2, PKI.sub1)
    assert told(ocsp_answer(LEAF, NOW, brings=chain), by_hash()).status is Revocation.GOOD
    delegate = PKI.delegate(PKI.sub2)
    der = ocsp_answer(LEAF, NOW, signer=delegate, brings=(delegate, *chain))
    assert told(der, by_hash()).status is Revocation.GOOD
    alone = ocsp_answer(LEAF, NOW, brings=(PKI.sub2,))
    assert unbelievable(alone, by_hash()) == "of an issuer that no root vouches for"
    assert unbelievable(ocsp_answer(LEAF, NOW), by_hash())


def test_by_hash_alone_a_foreign_issuer_proves_nothing() -> None:
    """A responder of one's own, with a PKI of one's own, is not the operator's."""
    foreign = Pki(NOW)
    leaf = foreign.contract()
    der = ocsp_answer(leaf, NOW, brings=(foreign.sub2, foreign.sub1, foreign.root))
    assert unbelievable(der, by_hash(leaf)) == "of an issuer that no root vouches for"


def test_by_hash_alone_with_a_known_issuer() -> None:
    """An operator who gave us the sub-authority needs no chain in the answer."""
    roots = [Root(PKI.sub2.certificate, "MO")]
    (check,) = checks_of_hashes([LEAF.hashed()], roots)
    assert check.issuer == PKI.sub2.certificate
    assert read_answer(ocsp_answer(LEAF, NOW), check, roots, NOW).status is Revocation.GOOD


@pytest.mark.parametrize("status", list(ocsp.OCSPResponseStatus)[1:])
def test_a_responder_that_will_not_say(status: ocsp.OCSPResponseStatus) -> None:
    """TryLater and the like are no answer."""
    der = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    text = der.public_bytes(serialization.Encoding.DER)
    assert unbelievable(text) == f"responder says {status.name.lower()}"


ANSWER = ocsp_answer(LEAF, NOW)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 255))
def test_a_damaged_answer_never_turns_bad_into_good(place: int, change: int) -> None:
    """One changed byte: unbelievable, or (in parts that nobody signed) the same word."""
    damaged = bytearray(ANSWER)
    damaged[place] ^= change
    try:
        found = told(bytes(damaged))
    except Unbelievable:
        return
    assert found.status is Revocation.GOOD


@given(st.binary(max_size=60))
def test_garbage_is_unbelievable(content: bytes) -> None:
    """Whatever a web server answers is no word on a certificate."""
    assert unbelievable(content)


def test_checks_are_values() -> None:
    """The same question twice is one key of the cache."""
    assert checks()[0] == replace(checks()[0])
    assert hash(checks()[0].id) == hash(checks()[0].id)
