"""Stations' credentials over REST, on real MongoDB (ocpp-rules A5, A6)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import STATION
from auth.rest_answers import problem

if TYPE_CHECKING:
    from auth.conftest import Served
    from voltbus_backbone.contract.auth import PasswordVerifier

pytestmark = pytest.mark.stack

CREDENTIALS = f"/v1/stations/{STATION}/credentials"


async def test_password_is_shown_once(served: Served) -> None:
    """PUT makes a password of 160 bits and shows it once; afterwards only its verifier exists."""
    answer = await served.client.put(CREDENTIALS, json={"security_profile": 1})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    password = answer.json()["password"]
    assert len(bytes.fromhex(password)) == 20
    known = (await served.store.credentials({STATION}))[STATION]
    (verifier,) = known.verifiers
    salt = bytes.fromhex(verifier.salt)
    assert verifier.digest == hashlib.sha256(salt + password.encode()).hexdigest()
    shown = await served.client.get(CREDENTIALS)
    assert shown.json()["password"] is None
    documents = await served.database["credentials"].find().to_list(None)
    assert password not in str(documents)


async def test_chosen_password(served: Served) -> None:
    """A password that the operator chose is kept as scrypt; one that cannot work is refused."""
    body = {"security_profile": 2, "password": "correct horse battery"}
    answer = await served.client.put(CREDENTIALS, json=body)
    assert answer.json()["password"] == "correct horse battery"
    known = (await served.store.credentials({STATION}))[STATION]
    assert (known.verifiers[0].algorithm, known.minimum_profile) == ("scrypt", 2)
    refused = await served.client.put(CREDENTIALS, json={"password": "hunter2"})
    found = problem(refused, 422, "invalid-request")
    assert found["errors"][0]["field"] == "password"
    assert "hunter2" not in refused.text


async def test_rotation(served: Served) -> None:
    """A7: both passwords are valid until the operator says that the new one is in use."""
    await served.client.put(CREDENTIALS, json={})
    answer = await served.client.put(CREDENTIALS, json={"keep_previous": True})
    assert answer.json()["passwords"] == 2
    answer = await served.client.delete(f"{CREDENTIALS}/previous")
    assert answer.json()["passwords"] == 1
    answer = await served.client.put(CREDENTIALS, json={})
    assert answer.json()["passwords"] == 1


async def test_a_rotation_that_begins_again_keeps_what_the_station_has(served: Served) -> None:
    """A7: a PUT that is repeated, its answer lost, must not drop the station's password."""
    first = (await served.client.put(CREDENTIALS, json={})).json()["password"]
    for count in (2, 3, 4):
        answer = await served.client.put(CREDENTIALS, json={"keep_previous": True})
        assert answer.json()["passwords"] == count
        known = (await served.store.credentials({STATION}))[STATION]
        assert any(fits(first, verifier) for verifier in known.verifiers)
    too_many = await served.client.put(CREDENTIALS, json={"keep_previous": True})
    problem(too_many, 409, "too-many-passwords")
    answer = await served.client.delete(f"{CREDENTIALS}/previous")
    assert answer.json()["passwords"] == 1


def fits(password: str, verifier: PasswordVerifier) -> bool:
    """Whether a generated password is the verifier's."""
    salted = bytes.fromhex(verifier.salt) + password.encode()
    digest = hashlib.sha256(salted).hexdigest()
    return bool(digest == verifier.digest)


async def test_shutting_a_station_out(served: Served) -> None:
    """DELETE removes the credentials; twice is 404."""
    await served.client.put(CREDENTIALS, json={"security_profile": 3})
    assert (await served.client.delete(CREDENTIALS)).status_code == 204
    problem(await served.client.delete(CREDENTIALS), 404, "not-found")
    problem(await served.client.get(CREDENTIALS), 404, "not-found")


@pytest.mark.parametrize(
    "body",
    [{"security_profile": 0}, {"security_profile": 4}, {"secret": 1}, {"password": 12}, []],
)
async def test_bad_credentials(served: Served, body: Any) -> None:
    """Invalid bodies get a problem with field errors."""
    assert problem(await served.client.put(CREDENTIALS, json=body), 422, "invalid-request")[
        "errors"
    ]
