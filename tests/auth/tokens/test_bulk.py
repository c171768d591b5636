"""Import, export and search of tokens on real MongoDB (issue: bulk; privacy)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import CARD, KEY, REF

if TYPE_CHECKING:
    import httpx

    from auth.conftest import Served

pytestmark = pytest.mark.stack

NDJSON = "application/x-ndjson"
CSV = "text/csv"


def lines(*tokens: dict[str, Any]) -> str:
    return "".join(json.dumps(token) + "\n" for token in tokens)


async def imported(
    served: Served, content: str, kind: str = NDJSON, accept: str = "*/*", **params: Any
) -> httpx.Response:
    return await served.client.post(
        "/v1/tokens/import",
        content=content,
        params=params,
        headers={"Content-Type": kind, "Accept": accept},
    )


async def test_import_ndjson(served: Served) -> None:
    """Good lines are stored, bad ones named by number and field, without their values."""
    answer = await imported(
        served,
        lines(
            {"id_token": CARD, "group_id": "FLEET"},
            {"id_token": "04FF", "status": "lost"},
            {"id_token": CARD.lower()},
        )
        + "nonsense\n",
    )
    assert answer.status_code == 200
    report = answer.json()
    assert (report["done"], report["lines"], report["created"], report["failed"]) == (True, 4, 1, 3)
    assert [(one["line"], one["field"]) for one in report["errors"]] == [
        (2, "status"),
        (3, "id_token"),
        (4, "line"),
    ]
    assert "04FF" not in answer.text
    shown = (await served.client.get(f"/v1/tokens/{REF}")).json()
    assert shown["group_id"] == "FLEET"
    (event,) = await served.events("tokens.events")
    assert event.type == "voltbus.token.created.v1"


async def test_import_csv(served: Served) -> None:
    """CSV with a header does the same."""
    answer = await imported(served, f"id_token,type,max_concurrent\n{CARD},ISO14443,3\n", CSV)
    assert answer.json()["created"] == 1
    shown = (await served.client.get(f"/v1/tokens/{REF}")).json()
    assert shown["max_concurrent"] == 3


async def test_existing_tokens(served: Served) -> None:
    """A token that exists is an error, passed over or changed, as asked for."""
    body = lines({"id_token": CARD})
    await imported(served, body)
    assert (await imported(served, body)).json()["failed"] == 1
    changed = lines({"id_token": CARD, "status": "blocked"})
    assert (await imported(served, changed, existing="skip")).json()["skipped"] == 1
    assert (await imported(served, changed, existing="update")).json()["updated"] == 1
    assert (await imported(served, changed, existing="update")).json()["skipped"] == 1
    shown = (await served.client.get(f"/v1/tokens/{REF}")).json()
    assert (shown["status"], shown["revision"]) == ("blocked", 2)


async def test_all_or_nothing(served: Served) -> None:
    """One bad line, and nothing is imported; without it, all are in one transaction."""
    good = [{"id_token": f"{number:08X}"} for number in range(1500)]
    answer = await imported(served, lines(*good, {"id_token": ""}), all_or_nothing=True)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "line 1501: id_token"
    assert await served.database["tokens"].count_documents({}) == 0
    answer = await imported(served, lines(*good), all_or_nothing=True)
    assert answer.json()["created"] == 1500
    assert len(await served.events("tokens.events")) == 1500


async def test_progress(served: Served) -> None:
    """With NDJSON accepted, progress comes line by line, the last one done."""
    body = lines(*({"id_token": f"{number:08X}"} for number in range(2500)))
    answer = await imported(served, body, accept=NDJSON)
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["created"] for one in told] == [1000, 2000, 2500, 2500]
    assert [one["done"] for one in told] == [False, False, False, True]


async def test_bad_files(served: Served) -> None:
    """A line that is no text is an error by line; a file of an unknown kind is refused."""
    answer = await served.client.post(
        "/v1/tokens/import", content=b"\xff\xfe", headers={"Content-Type": NDJSON}
    )
    assert answer.json()["errors"] == [{"line": 1, "field": "line", "message": "is not UTF-8"}]
    answer = await imported(served, "x", "application/xml")
    assert answer.status_code == 415


async def test_a_rehearsal_stores_nothing(served: Served) -> None:
    """With dry_run the report is that of the import, and no token and no event is there."""
    body = lines({"id_token": CARD}, {"id_token": CARD}, {"id_token": "04FF"})
    report = (await imported(served, body, dry_run=True)).json()
    assert (report["created"], report["failed"]) == (2, 1)
    assert await served.database["tokens"].count_documents({}) == 0
    assert await served.events("tokens.events") == []


async def test_all_or_nothing_with_progress(served: Served) -> None:
    """When progress was asked for, a refusal is the last line: nothing created, errors by line."""
    good = [{"id_token": f"{number:08X}"} for number in range(1500)]
    body = lines(*good, {"id_token": ""})
    answer = await imported(served, body, accept=NDJSON, all_or_nothing=True)
    *_, last = [json.loads(line) for line in answer.text.splitlines()]
    assert (last["done"], last["created"], last["failed"]) == (True, 0, 1)
    assert last["errors"][0]["line"] == 1501
    assert await served.database["tokens"].count_documents({}) == 0


async def test_a_value_in_the_wrong_column_is_not_repeated(served: Served) -> None:
    """A field that no token has is not named in the errors: its name may be somebody's token."""
    answer = await imported(served, f"{CARD}\n04FF\n", CSV)
    assert answer.json()["failed"] == 1
    assert CARD not in answer.text
    assert "04FF" not in answer.text


async def test_export_without_values(served: Served) -> None:
    """An export shows rights and references, no value."""
    await imported(served, lines({"id_token": CARD, "sites": ["a", "b"]}))
    answer = await served.client.get("/v1/tokens/export")
    assert json.loads(answer.text) == {
        "ref": REF,
        "type": "ISO14443",
        "status": "accepted",
        "sites": ["a", "b"],
        "whitelist": "ALLOWED",
    }
    answer = await served.client.get("/v1/tokens/export", params={"format": "csv"})
    assert CARD not in answer.text
    assert "a;b" in answer.text


@pytest.mark.parametrize(("form", "kind"), [("ndjson", NDJSON), ("csv", CSV)])
async def test_export_and_import_again(served: Served, form: str, kind: str) -> None:
    """A readable export, with its own scope, can be imported again."""
    await imported(served, lines({"id_token": CARD, "expires_at": "2027-01-01T00:00:00Z"}))
    path = "/v1/tokens/export/readable"
    refused = await served.client.get(path)
    assert refused.status_code == 403
    operator = served.as_operator("tokens:read tokens:reveal")
    answer = await served.client.get(path, params={"format": form}, headers=operator)
    assert answer.headers["cache-control"] == "no-store"
    assert CARD in answer.text
    await served.client.delete(f"/v1/tokens/{REF}", headers={"If-Match": "*"})
    report = (await imported(served, answer.text, kind)).json()
    assert (report["created"], report["errors"]) == (1, [])
    shown = (await served.client.get(f"/v1/tokens/{REF}")).json()
    assert shown["expires_at"] == "2027-01-01T00:00:00Z"


async def test_search(served: Served) -> None:
    """A token is found by its value, which stands in no URL."""
    await imported(served, lines({"id_token": CARD}))
    answer = await served.client.post("/v1/tokens/search", json={"id_token": CARD.lower()})
    assert [one["ref"] for one in answer.json()["data"]] == [KEY.ref("ISO14443", CARD)]
    answer = await served.client.post(
        "/v1/tokens/search", json={"id_token": CARD, "type": "Central"}
    )
    assert answer.json()["data"] == []


async def test_search_for_a_contract(served: Served) -> None:
    """An eMAID is found with other hyphens than it has, also by whoever knows no type."""
    contract = {"id_token": "NLTNMC00122045K", "type": "eMAID"}
    await imported(served, lines(contract))
    search = "/v1/tokens/search"
    answer = await served.client.post(search, json={"id_token": "NL-TNM-C00122045-K"})
    (found,) = answer.json()["data"]
    assert found["ref"] == KEY.ref("eMAID", "NLTNMC00122045K")
