"""`/v1/roots` on real MongoDB: which authorities are trusted, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from auth.auth_examples import NOW
from auth.plug_and_charge.pki import Made, Pki, pem
from voltbus_auth.plug_and_charge.api import roots_router
from voltbus_auth.plug_and_charge.handlers.trust import Trust

if TYPE_CHECKING:
    import httpx

    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack

PKI = Pki(NOW)
PROBLEM = "application/problem+json"


class Roots:
    """The routes, and what the service holds in memory."""

    def __init__(self, client: httpx.AsyncClient, trust: Trust) -> None:
        self.client = client
        self.trust = trust

    async def add(self, certificate: str, **fields: Any) -> httpx.Response:
        body = {"certificate": certificate, "type": "MO", **fields}
        return await self.client.post("/v1/roots", json=body)


@pytest_asyncio.fixture(loop_scope="session")
async def roots(served: Served, clock: Clock) -> Roots:
    trust = Trust(served.store.root, every_s=60.0)
    await trust.refresh()
    transport: Any = served.client._transport
    transport.app.include_router(roots_router(served.store.root, trust, clock))
    return Roots(served.client, trust)


async def test_a_root_is_added_shown_listed_and_removed(roots: Roots) -> None:
    """201 with its address; in memory at once; 204, then 404 and out of memory."""
    added = await roots.add(pem(PKI.root.certificate), responder_url="http://ocsp.example")
    assert added.status_code == 201
    place = added.headers["Location"]
    body = added.json()
    assert place == f"/v1/roots/{body['id']}"
    assert body["serial_number"] == f"{PKI.root.serial:x}"
    assert "CN=MO Root" in body["subject"]
    assert [one.certificate for one in roots.trust.roots] == [PKI.root.certificate]
    assert roots.trust.roots[0].responder_url == "http://ocsp.example"
    assert (await roots.client.get(place)).json() == body
    listed = (await roots.client.get("/v1/roots", params={"type": "MO"})).json()
    assert listed == {"data": [body], "has_more": False}
    assert (await roots.client.get("/v1/roots", params={"type": "V2G"})).json()["data"] == []
    assert (await roots.client.delete(place)).status_code == 204
    assert roots.trust.roots == ()
    assert (await roots.client.delete(place)).status_code == 404
    assert (await roots.client.get(place)).status_code == 404


async def test_a_root_twice(roots: Roots) -> None:
    """409 that says where it is."""
    first = await roots.add(pem(PKI.root.certificate))
    again = await roots.add(pem(PKI.root.certificate), type="V2G")
    assert again.status_code == 409
    assert again.headers["Location"] == first.headers["Location"]


async def test_paging(roots: Roots) -> None:
    """The newest first, then by fingerprint; both ways, exclusive cursors (ADR 15)."""
    made = [PKI.root, PKI.sub1, PKI.sub2]
    added = [(await roots.add(pem(authority.certificate))).json() for authority in made]
    newest_first = sorted(added, key=lambda root: (root["added_at"], root["id"]), reverse=True)
    ids = [root["id"] for root in newest_first]

    async def page(**params: Any) -> tuple[list[str], bool]:
        body = (await roots.client.get("/v1/roots", params=params)).json()
        return [one["id"] for one in body["data"]], body["has_more"]

    assert await page(limit=2) == (ids[:2], True)
    assert await page(limit=2, starting_after=ids[1]) == (ids[2:], False)
    assert await page(limit=2, ending_before=ids[2]) == (ids[:2], False)
    assert await page(limit=1, ending_before=ids[2]) == (ids[1:2], True)


def _weak() -> Made:
    return PKI.authority("Weak", None, key=rsa.generate_private_key(65537, 2048))


def _with_key() -> str:
    key = PKI.root.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem(PKI.root.certificate) + key.decode()


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (lambda: "no certificate", "give one certificate as PEM text"),
        (lambda: pem(PKI.root.certificate, PKI.sub1.certificate), "nothing else"),
        (_with_key, "nothing else"),
        (lambda: pem(PKI.contract().certificate), "no authority's"),
        (lambda: pem(_weak().certificate), "ISO 15118 does not have"),
        (
            lambda: pem(PKI.authority("Old", None, ends=NOW - timedelta(days=1)).certificate),
            "has expired",
        ),
    ],
    ids=["no PEM", "two", "a private key", "a leaf", "RSA", "expired"],
)
async def test_what_is_no_root(roots: Roots, certificate: Any, why: str) -> None:
    """422 with the field and the reason, without what was sent."""
    answer = await roots.add(certificate())
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    (error,) = answer.json()["errors"]
    assert error["field"] == "certificate"
    assert why in error["message"]
    assert "BEGIN" not in answer.text


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"type": "CSMS"}, "type"),
        ({"responder_url": "ldap://x"}, "responder_url"),
        ({"name": "mine"}, "body"),
    ],
)
async def test_other_fields(roots: Roots, fields: dict[str, Any], where: str) -> None:
    """An unknown type, a responder that is no web address, a field that is not there."""
    answer = await roots.add(pem(PKI.root.certificate), **fields)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [where]


async def test_scopes(roots: Roots, served: Served) -> None:
    """Reading and writing need their scopes, as tokens do."""
    headers = served.as_operator("tokens:read")
    body = {"certificate": pem(PKI.root.certificate), "type": "MO"}
    answer = await roots.client.post("/v1/roots", json=body, headers=headers)
    assert answer.status_code == 403
    assert (await roots.client.get("/v1/roots", headers=headers)).status_code == 200
