"""From a presented certificate to a trusted root (C07.FR.05/06, ISO 15118-2 Annex F, RFC 5280)."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auth.auth_examples import NOW
from auth.plug_and_charge.pki import EMAID, Made, Pki, pem, subject, usage
from voltbus_auth.plug_and_charge.domain.chain import (
    Root,
    Untrusted,
    find_authority_path,
    find_contract_path,
    read_chain,
)
from voltbus_auth.plug_and_charge.domain.profile import verifies

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = timedelta(days=1)
NOT_CA = x509.BasicConstraints(ca=False, path_length=None)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(NOW)


def trusting(*made: Made) -> list[Root]:
    return [Root(one.certificate, "MO") for one in made]


def length(chain: str, roots: list[Root]) -> int:
    return len(find_contract_path(read_chain(chain), roots, NOW).certificates)


def reason(chain: str, roots: list[Root]) -> str:
    with pytest.raises(Untrusted) as caught:
        find_contract_path(read_chain(chain), roots, NOW)
    return caught.value.reason


def test_a_whole_chain(pki: Pki) -> None:
    """Leaf, two sub-authorities, root: ISO 15118's longest chain."""
    assert length(pki.contract().chain(), trusting(pki.root)) == 4


def test_the_order_above_the_leaf_does_not_matter(pki: Pki) -> None:
    """Stations send the sub-authorities in any order, some with the root."""
    leaf = pki.contract().certificate
    others = [pki.sub1.certificate, pki.root.certificate, pki.sub2.certificate]
    assert length(pem(leaf, *others), trusting(pki.root)) == 4


def test_a_trusted_sub_authority_ends_the_chain(pki: Pki) -> None:
    """An operator may trust a sub-authority alone; what is above it need not be there."""
    assert length(pki.contract().chain(), trusting(pki.sub2)) == 2
    assert length(pem(pki.contract().certificate), trusting(pki.sub2)) == 2


def test_roots_of_one_name(pki: Pki) -> None:
    """A root that was renewed under its name and a new key: the one whose key signed counts."""
    renewed = pki.authority("MO Root", None)
    assert length(pki.contract().chain(), trusting(renewed, pki.root)) == 4


def test_a_path_in_time_is_preferred(pki: Pki) -> None:
    """The same authority certified twice, once expired: the valid way is taken."""
    old = pki.authority("MO Sub-CA 2", pki.sub1, key=pki.sub2.key, ends=NOW - DAY)
    leaf = pki.contract()
    chain = pem(leaf.certificate, old.certificate) + leaf.chain()
    path = find_contract_path(read_chain(chain), trusting(pki.root), NOW)
    assert not path.has_expired(NOW)
    assert old.certificate not in path.certificates


def test_an_unknown_root(pki: Pki) -> None:
    """Nothing that the operator trusts: no way."""
    other = Pki(NOW)
    assert reason(pki.contract().chain(), trusting(other.root)) == (
        "the chain leads to no trusted root"
    )
    assert reason(pki.contract().chain(), []) == "the chain leads to no trusted root"


def test_a_missing_link(pki: Pki) -> None:
    """A leaf without the authorities between it and the root."""
    assert reason(pem(pki.contract().certificate), trusting(pki.root))


def test_a_forged_signature(pki: Pki) -> None:
    """The right names, signed with another key."""
    forged = pki.contract(signed_with=ec.generate_private_key(ec.SECP256R1()))
    assert reason(forged.chain(), trusting(pki.root)) == "the chain leads to no trusted root"


def test_a_contract_does_not_issue(pki: Pki) -> None:
    """A driver's certificate that signed another one: its holder made it himself."""
    mine = pki.contract()
    made = pki.contract("NLTNM000122045U", issuer=mine)
    assert reason(made.chain(), trusting(pki.root)) == (
        "a certificate that issued another is no authority's"
    )


def test_the_path_length(pki: Pki) -> None:
    """An authority of path length 0 has none below it (RFC 5280 §4.2.1.9)."""
    below = pki.authority("One too many", pki.sub2)
    assert reason(pki.contract(issuer=below).chain(), trusting(pki.sub1)) == (
        "an authority has more authorities below it than it may"
    )


def test_a_chain_has_an_end(pki: Pki) -> None:
    """More links than any PKI of ISO 15118 has are not followed."""
    made = pki.authority("CA 0", pki.root)
    for number in range(1, 4):
        made = pki.authority(f"CA {number}", made)
    assert reason(pki.contract(issuer=made).chain(), trusting(pki.root))


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([(NOT_CA, True), (usage("key_agreement"), True)], "the contract's key may not sign"),
        ([(NOT_CA, True)], "the contract's key may not sign"),
        (
            [
                (usage("digital_signature"), True),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            ],
            "the certificate is for another use than a contract",
        ),
        (
            [
                (usage("digital_signature"), True),
                (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
            ],
            "a critical extension is unknown",
        ),
    ],
    ids=["key agreement only", "no key usage", "wrong extended usage", "critical"],
)
def test_a_leaf_that_is_no_contract(pki: Pki, extensions: list[tuple[Any, bool]], why: str) -> None:
    """Usages by ISO 15118-2's profile; what is critical and unknown is refused (RFC 5280 §4.2)."""
    assert reason(pki.contract(extensions=extensions).chain(), trusting(pki.root)) == why


@pytest.mark.parametrize("purpose", ["CLIENT_AUTH", "ANY_EXTENDED_KEY_USAGE"])
def test_a_fitting_extended_usage(pki: Pki, purpose: str) -> None:
    """A contract certificate that is marked as a client's is one all the same."""
    extensions = [
        (usage("digital_signature"), True),
        (x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, purpose)]), False),
    ]
    assert length(pki.contract(extensions=extensions).chain(), trusting(pki.root)) == 4


def test_an_authority_is_no_contract(pki: Pki) -> None:
    """A sub-authority's own certificate charges nothing, whatever its name."""
    made = pki.authority(EMAID, pki.sub1)
    assert reason(made.chain(), trusting(pki.root)) == (
        "the contract's certificate is an authority's"
    )


@pytest.mark.parametrize("branch", ["CPO", "OEM", "CPS"])
def test_another_branch_of_the_same_root(pki: Pki, branch: str) -> None:
    """A V2G root vouches for stations and cars too: their certificates are no contracts."""
    made = pki.contract(name=subject(EMAID, branch))
    assert reason(made.chain(), trusting(pki.root)) == (
        "the certificate is of another branch than the contracts'"
    )
    assert length(pki.contract(name=subject(EMAID)).chain(), trusting(pki.root)) == 4


@pytest.mark.parametrize(
    "extensions",
    [
        [(x509.BasicConstraints(ca=True, path_length=None), True), (usage("crl_sign"), True)],
        [(usage("key_cert_sign"), True)],
        [(NOT_CA, True), (usage("key_cert_sign"), True)],
    ],
    ids=["may not sign", "no constraints", "no authority"],
)
def test_an_authority_that_is_none(pki: Pki, extensions: list[tuple[Any, bool]]) -> None:
    """Who issues must be an authority and may sign certificates."""
    made = pki.authority("Would-be", pki.sub1, extensions=extensions)
    assert reason(pki.contract(issuer=made).chain(), trusting(pki.root))


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP521R1()),
        ed448.Ed448PrivateKey.generate,
    ],
    ids=["P-521", "Ed448"],
)
def test_keys_of_15118_20(key: Callable[[], Any]) -> None:
    """ISO 15118-20's keys for authority and contract alike."""
    pki = Pki(NOW)
    sub = pki.authority("Sub-CA", pki.root, key=key())
    assert length(pki.contract(issuer=sub, key=key()).chain(), trusting(pki.root)) == 3


@pytest.mark.parametrize(
    "key",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: ec.generate_private_key(ec.SECP224R1()),
    ],
    ids=["RSA", "secp256k1", "P-224"],
)
def test_keys_that_15118_does_not_have(pki: Pki, key: Callable[[], Any]) -> None:
    """Refused for a contract and for an authority."""
    weak = key()
    assert reason(pki.contract(key=weak).chain(), trusting(pki.root))
    sub = pki.authority("Weak", pki.sub1, key=weak)
    assert reason(pki.contract(issuer=sub).chain(), trusting(pki.root))


def test_a_weak_signature() -> None:
    """SHA-1 signs nothing here, however right the signature."""
    key = ec.generate_private_key(ec.SECP256R1())
    for algorithm, holds in ((hashes.SHA1(), False), (hashes.SHA256(), True)):  # noqa: S303 - refused
        signature = key.sign(b"signed", ec.ECDSA(algorithm))
        assert verifies(key.public_key(), signature, b"signed", algorithm) is holds


def test_time_is_told_apart_from_trust(pki: Pki) -> None:
    """An expired or early path is found, so that C07.FR.15 can be told from FR.17."""
    late = pki.contract(ends=NOW - DAY)
    path = find_contract_path(read_chain(late.chain()), trusting(pki.root), NOW)
    assert (path.has_begun(NOW), path.has_expired(NOW)) == (True, True)
    early = pki.contract(begins=NOW + DAY)
    path = find_contract_path(read_chain(early.chain()), trusting(pki.root), NOW)
    assert (path.has_begun(NOW), path.has_expired(NOW)) == (False, False)
    soon = pki.contract(ends=NOW)
    assert not find_contract_path(read_chain(soon.chain()), trusting(pki.root), NOW).has_expired(
        NOW
    )


def test_an_authoritys_own_path(pki: Pki) -> None:
    """An authority leads to a root as well, a root to itself, a contract's certificate not."""
    sub = [pki.sub2.certificate, pki.sub1.certificate]
    assert len(find_authority_path(sub, trusting(pki.root), NOW).certificates) == 3
    own = find_authority_path([pki.root.certificate], trusting(pki.root), NOW)
    assert own.certificates == (pki.root.certificate,)
    with pytest.raises(Untrusted):
        find_authority_path(read_chain(pki.contract().chain()), trusting(pki.root), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----",
        "\ud800",
    ],
)
def test_what_is_no_chain(text: str) -> None:
    """Anything a station may send is refused, never an error of ours."""
    with pytest.raises(Untrusted, match="cannot be read"):
        read_chain(text)


def test_a_heap_of_certificates(pki: Pki) -> None:
    """More certificates than a chain needs are not looked at."""
    with pytest.raises(Untrusted, match="too long"):
        read_chain(pem(*[pki.contract().certificate] * 11))


PKI = Pki(NOW)
LEAF = PKI.contract().certificate
DER = LEAF.public_bytes(serialization.Encoding.DER)
# How many bits of the signature's last byte do not count: where these are 0 anyway, saying so
# changes nothing that is signed, nor the signature.
UNUSED_BITS = len(DER) - len(LEAF.signature) - 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_damaged_certificate_is_never_believed(place: int, change: int) -> None:
    """One changed byte anywhere in the leaf: refused, and by no other error than ours."""
    assume(place != UNUSED_BITS)
    damaged = bytearray(DER)
    damaged[place] ^= change
    body = base64.encodebytes(bytes(damaged)).decode()
    leaf = f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"
    chain = leaf + pem(PKI.sub2.certificate, PKI.sub1.certificate)
    with pytest.raises(Untrusted):
        find_contract_path(read_chain(chain), trusting(PKI.root), NOW)
