"""Whether a token may be on local lists: a right like its others (OCPI WhitelistType)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import CARD, REF

if TYPE_CHECKING:
    from auth.conftest import Served

pytestmark = pytest.mark.stack


async def registered(served: Served, **fields: Any) -> dict[str, Any]:
    """The token as it is shown after its registration."""
    answer = await served.client.post("/v1/tokens", json={"id_token": CARD, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_allowed_unless_said_otherwise(served: Served) -> None:
    """The default is ALLOWED and takes no room in the store; so tokens of before have it too."""
    assert (await registered(served))["whitelist"] == "ALLOWED"
    document = await served.database["tokens"].find_one({"_id": REF})
    assert document is not None
    assert "whitelist" not in document


async def test_changed_and_taken_back(served: Served) -> None:
    """NEVER is stored; null in a merge patch (RFC 7396) is the default again."""
    made = await registered(served, whitelist="NEVER")
    assert made["whitelist"] == "NEVER"
    path = f"/v1/tokens/{REF}"
    shown = await served.client.get(path)
    assert shown.json()["whitelist"] == "NEVER"
    headers = {"If-Match": shown.headers["ETag"]}
    changed = await served.client.patch(path, json={"whitelist": None}, headers=headers)
    assert changed.json()["whitelist"] == "ALLOWED"


async def test_another_word_is_refused(served: Served) -> None:
    """OCPI's four words and no other."""
    answer = await served.client.post(
        "/v1/tokens", json={"id_token": CARD, "whitelist": "SOMETIMES"}
    )
    assert answer.status_code == 422


async def test_it_is_imported_and_exported(served: Served) -> None:
    """A file carries it both ways, as it does the other rights."""
    lines = json.dumps({"id_token": CARD, "whitelist": "ALWAYS"})
    answer = await served.client.post(
        "/v1/tokens/import", content=lines, headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.json()["created"] == 1
    exported = await served.client.get("/v1/tokens/export")
    assert json.loads(exported.text)["whitelist"] == "ALWAYS"
