"""Transactions as an operator finds them: by end, doubt, site and agreement, and in files."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from auth.auth_examples import (
    DAY,
    HOUR,
    NOW,
    STATION,
    asked,
    card,
    register,
    said,
    started16,
    state,
    stopped16,
    terms,
)
from auth.conftest import replica_on
from voltbus_auth.tokens.domain.portable import Format
from voltbus_auth.transactions.domain.rows import write_rows
from voltbus_backbone.contract.auth import Phase

if TYPE_CHECKING:
    from auth.conftest import Clock, Served

LARGE = 3_000_000_000  # above 2^31-1


async def listed(served: Served, **params: Any) -> list[str]:
    """The wire ids of what a list shows."""
    answer = await served.client.get("/v1/transactions", params=params)
    assert answer.status_code == 200, answer.text
    return [one["transaction_id"] for one in answer.json()["data"]]


async def charged(served: Served, clock: Clock) -> None:
    """Three sessions: one with an agreement, one without a start register, one still open."""
    replica = replica_on(served.store, clock)
    await replica.token()
    await served.store.put_agreements([terms()])
    await served.store.put_stations(
        [state(site_id="here"), state(station_id="CS-2", site_id="there")]
    )
    clock.time = NOW + 9 * DAY
    two: dict[str, Any] = {"transaction_id": "two", "station_id": "CS-2"}
    end = (register(9, NOW + 2 * DAY),)
    await replica.handle(
        asked(said(Phase.STARTED, NOW, 0, transaction_id="one", id_token=card(), meter_wh=5)),
        asked(said(Phase.ENDED, NOW + HOUR, 1, transaction_id="one", meter_wh=6)),
        asked(said(Phase.STARTED, NOW + DAY, 0, **two)),
        asked(said(Phase.ENDED, NOW + 2 * DAY, 1, samples=end, **two)),
        asked(said(Phase.STARTED, NOW + 3 * DAY, 0, transaction_id="three", evse_id=2)),
    )


@pytest.mark.stack
async def test_filters(served: Served, clock: Clock) -> None:
    """Each filter by its one name, alone and together, the newest first."""
    await charged(served, clock)
    assert await listed(served) == ["three", "two", "one"]
    assert await listed(served, ended_from=NOW.isoformat()) == ["two", "one"]
    assert await listed(served, ended_to=(NOW + DAY).isoformat()) == ["one"]
    until = (NOW + 2 * DAY).isoformat()
    assert await listed(served, ended_from=(NOW + DAY).isoformat(), ended_to=until) == []
    assert await listed(served, doubt="no_start_register") == ["two"]
    assert await listed(served, doubt="no_token", station_id=STATION) == []
    assert await listed(served, agreement_id="agr-1") == ["one"]
    assert await listed(served, site_id="here") == ["three", "one"]
    assert await listed(served, site_id="here", state="active") == ["three"]
    assert await listed(served, site_id="here", station_id="CS-2") == []
    assert await listed(served, site_id="nowhere") == []
    for wrong in ({"doubt": "No Doubt"}, {"ended_from": "yesterday"}, {"state": "lost"}):
        assert (await served.client.get("/v1/transactions", params=wrong)).status_code == 422


@pytest.mark.stack
async def test_every_filter_has_an_index(served: Served, clock: Clock) -> None:
    """No list reads all transactions, nor sorts them."""
    await charged(served, clock)
    for query in (
        {},
        {"station_id": STATION},
        {"token.token_ref": "x"},
        {"token.agreement_id": "x"},
        {"doubts": "superseded"},
        {"state": "ended"},
        {"station_id": {"$in": [STATION, "CS-2"]}},
    ):
        cursor = served.database["transactions"].find(query).sort([("first_at", -1), ("_id", -1)])
        plan = json.dumps((await cursor.limit(5).explain())["queryPlanner"], default=str)
        assert "COLLSCAN" not in plan, query
        assert '"SORT"' not in plan, query


@pytest.mark.stack
async def test_export(served: Served, clock: Clock) -> None:
    """All of them in files, portion by portion, with the filters of lists."""
    await charged(served, clock)
    documents = await served.database["transactions"].find({}).to_list(None)
    template = next(one for one in documents if one["wire_id"] == "one")
    more = [{**template, "_id": f"{n:026x}", "key": f"k{n}"} for n in range(1100)]
    await served.database["transactions"].insert_many(more)
    answer = await served.client.get("/v1/transactions/export")
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert len({row["transaction_ref"] for row in rows}) == len(rows) == 1103
    assert [row["transaction_id"] for row in rows[:2]] == ["three", "two"]
    params = {"format": "csv", "ended_from": NOW.isoformat()}
    answer = await served.client.get("/v1/transactions/export", params=params)
    assert answer.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(answer.text.splitlines()))
    assert len({row["transaction_ref"] for row in table}) == len(table) == 1102
    assert table[0]["doubts"] == "no_energy;no_start_register;no_token"
    params = {"format": "csv", "site_id": "nowhere"}
    empty = await served.client.get("/v1/transactions/export", params=params)
    assert empty.text.count("\n") == 1
    reader = served.as_operator("tokens:read")
    assert (await served.client.get("/v1/transactions/export", headers=reader)).status_code == 403


def test_formulas_in_a_file() -> None:
    """A station that calls its transaction =HYPERLINK(…) runs nothing in a spreadsheet."""
    row = {"transaction_id": '=HYPERLINK("http://x")', "energy_wh": -5, "doubts": ["a", "b"]}
    text = write_rows([{**row, "station_id": "@x", "details": {"a": 1}}], Format.CSV, header=True)
    (read,) = csv.DictReader(text.splitlines())
    assert read["transaction_id"] == '\'=HYPERLINK("http://x")'
    assert (read["station_id"], read["energy_wh"], read["doubts"]) == ("'@x", "-5", "a;b")
    assert json.loads(read["details"]) == {"a": 1}


@pytest.mark.stack
async def test_integers_above_31_bits(served: Served, clock: Clock) -> None:
    """Registers, reservationId and remoteStartId of 3,000,000,000: read, listed, told."""
    replica = replica_on(served.store, clock)
    numbers = {"reservation_id": LARGE, "remote_start_id": LARGE, "seq_no": LARGE}
    start = said(Phase.STARTED, NOW, 0, meter_wh=LARGE)
    await replica.handle(asked(msgspec.structs.replace(start, **numbers)))
    told = await replica.handle(
        asked(said(Phase.ENDED, NOW + HOUR, LARGE + 1, meter_wh=LARGE + 9)),
        asked(started16(station_id="CS-2", meter_wh=LARGE, connector_id=LARGE)),
    )
    assert [word for word, _, _ in told.events] == ["ended", "started"]
    number = next(one.transaction_id for one in told.answers.values() if one.transaction_id)
    stop = stopped16(number, NOW + HOUR, station_id="CS-2", meter_wh=LARGE + 7)
    assert (await replica.handle(asked(stop))).events[0][2].energy_wh == 7
    body = (await served.client.get("/v1/transactions")).json()
    assert sorted(one["energy_wh"] for one in body["data"]) == [7, 9]
    (first,) = [one for one in body["data"] if one["station_id"] == STATION]
    assert (first["reservation_id"], first["remote_start_id"]) == (LARGE, LARGE)
    path = f"/v1/transactions/{first['transaction_ref']}"
    assert (await served.client.get(path)).json()["meter_start_wh"] == LARGE


@pytest.mark.stack
async def test_what_earlier_versions_stored(served: Served, clock: Clock) -> None:
    """Transactions and stations of before are found by the new filters, once they are described."""
    await charged(served, clock)
    gone = {"doubts": "", "ended_at": "", "judged": "", "details": "", "phases": "", "repairs": ""}
    await served.database["transactions"].update_many({}, {"$unset": gone})
    await served.database["stations"].update_many({}, {"$unset": {"site_id": ""}})
    assert await listed(served, doubt="no_start_register") == []
    assert await served.store.transaction.describe_stored() == 3
    assert await served.store.transaction.describe_stored() == 0
    await served.database["transactions"].create_index([("station_id", 1), ("first_at", -1)])
    await served.store.prepare()
    names = await served.database["transactions"].index_information()
    assert "station_id_1_first_at_-1" not in names
    assert await listed(served, doubt="no_start_register") == ["two"]
    assert await listed(served, ended_from=NOW.isoformat(), site_id="here") == ["one"]
