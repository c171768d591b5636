"""OCPI real-time authorization: the request, and any answer to it, without a server."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import CARD, NOW, STATION, card
from voltbus_auth.roaming.domain.ocpi import Unusable, answer_in, body_of, can_be_asked, path_of
from voltbus_backbone.contract.providers import (
    Allowed,
    Keep,
    ProviderAuthorize,
    ProviderAuthorizeAnswer,
)
from voltbus_backbone.contract.values import IdToken, Protocol

QUESTION = ProviderAuthorize(
    station_id=STATION,
    protocol=Protocol.OCPP201,
    id_token=card(),
    at=NOW,
    location_id="uppsala",
    evse_ids=(1, 2),
)
TOKEN = {"uid": CARD, "type": "RFID", "valid": True, "whitelist": "ALLOWED"}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
infos = st.fixed_dictionaries(
    {"allowed": st.sampled_from([*Allowed, "PERHAPS", None])},
    optional={
        "token": json_values | st.just(TOKEN),
        "location": json_values
        | st.fixed_dictionaries(
            {"location_id": st.just("uppsala")},
            optional={"evse_uids": json_values | st.lists(st.sampled_from(["CS-1/1", "x/2"]))},
        ),
        "info": json_values,
        "authorization_reference": json_values,
    },
)


def read(data: Any, code: int = 1000, status: int = 200) -> ProviderAuthorizeAnswer:
    body = json.dumps({"status_code": code, "data": data, "timestamp": "2026-01-01T00:00:00Z"})
    return answer_in(status, body.encode(), QUESTION)


def test_the_request() -> None:
    """LocationReferences to /{uid}/authorize; EVSEs are named as in an agreement's scope."""
    assert path_of(QUESTION) == f"/{CARD}/authorize?type=RFID"
    assert json.loads(body_of(QUESTION)) == {
        "location_id": "uppsala",
        "evse_uids": [f"{STATION}/1", f"{STATION}/2"],
    }


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (IdToken(value="a/b?c#d e", type=""), "/a%2Fb%3Fc%23d%20e/authorize?type=RFID"),
        (IdToken(value="NLTNMC00122045K", type="eMAID"), "/NLTNMC00122045K/authorize?type=OTHER"),
    ],
)
def test_any_token_stays_within_its_segment(token: IdToken, expected: str) -> None:
    """A token's value cannot lead to another resource of the server."""
    assert can_be_asked(msgspec.structs.replace(QUESTION, id_token=token))
    question = ProviderAuthorize(
        station_id=STATION,
        protocol=Protocol.OCPP16,
        id_token=token,
        at=NOW,
        location_id=STATION,
    )
    assert path_of(question) == expected


@pytest.mark.parametrize("value", ["", ".", "..", "é", "a\nb", "A" * 37])
def test_what_cannot_be_asked(value: str) -> None:
    """No OCPI uid: nobody can know it, and it must not bend the address."""
    assert not can_be_asked(msgspec.structs.replace(QUESTION, id_token=card(value)))


def test_a_full_answer() -> None:
    """All that is used of AuthorizationInfo."""
    answer = read(
        {
            "allowed": "ALLOWED",
            "token": {**TOKEN, "whitelist": "NEVER", "group_id": "DE-1", "language": "de"},
            "location": {"location_id": "uppsala", "evse_uids": ["cs-1/2", "CS-9/1"]},
            "authorization_reference": "ref-1",
            "info": {"language": "de", "text": "Gute Fahrt"},
        }
    )
    assert answer == ProviderAuthorizeAnswer(
        allowed=Allowed.ALLOWED,
        keep=Keep.NEVER,
        evse_ids=(2,),
        group_id="DE-1",
        language="de",
        message="Gute Fahrt",
        authorization_reference="ref-1",
    )


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        (read({"allowed": "ALLOWED"}), Allowed.ALLOWED),
        (read({"allowed": "NO_CREDIT", "token": TOKEN}), Allowed.NO_CREDIT),
        (read({"allowed": "ALLOWED", "token": {**TOKEN, "valid": False}}), Allowed.BLOCKED),
        (read(None, code=2004), Allowed.UNKNOWN),
        (read(None, status=404), Allowed.UNKNOWN),
        (answer_in(404, b"<html>", QUESTION), Allowed.UNKNOWN),
        (
            read({"allowed": "ALLOWED", "location": {"evse_uids": ["CS-9/1"]}}),
            Allowed.NOT_ALLOWED,
        ),
    ],
)
def test_what_it_comes_to(answer: ProviderAuthorizeAnswer, allowed: Allowed) -> None:
    """A token that is not valid is blocked; 404 and 2004 are unknown; elsewhere is not here."""
    assert answer.allowed is allowed


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (302, b""),
        (401, b'{"status_code": 2001}'),
        (200, b""),
        (200, b"{"),
        (200, b"[" * 100_000),
        (200, b'{"status_code": 2002}'),
        (200, b'{"status_code": 3000, "data": {"allowed": "ALLOWED"}}'),
        (200, b'{"status_code": "1000", "data": {"allowed": "ALLOWED"}}'),
        (200, b'{"status_code": 1000}'),
        (200, b'{"status_code": 1000, "data": {"allowed": "allowed"}}'),
        (200, b'\xff\xfe{"status_code": 1000}'),
    ],
)
def test_what_decides_nothing(status: int, body: bytes) -> None:
    """An answer that cannot be believed is silence, never a yes or a no."""
    with pytest.raises(Unusable):
        answer_in(status, body, QUESTION)


@given(infos | json_values, st.sampled_from((1000, 1001, 2004, 3001)))
def test_any_json(data: Any, code: int) -> None:
    """Whatever comes, it is an answer or Unusable, and a yes only where it says ALLOWED."""
    with suppress(Unusable):
        answer = read(data, code)
        assert answer.allowed is not Allowed.ALLOWED or data["allowed"] == "ALLOWED"


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_bytes(body: bytes, status: int) -> None:
    """Bytes of any kind raise nothing but Unusable."""
    try:
        answer_in(status, body, QUESTION)
    except Unusable:
        assert status != 404
