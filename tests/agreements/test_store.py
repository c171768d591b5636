"""What must hold when writers meet and processes die, on real MongoDB (design 4, rules D)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace as with_fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import BulkWriteError

from agreements.conftest import NOW, TOPIC, body
from mongod_clock import place_earlier
from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.agreement import Command, Policy
from voltbus_agreements.handlers.changes import ChangeHandler
from voltbus_agreements.store import Store
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.agreements import RetrieveAgreement
from voltbus_backbone.contract.registry import RETRIEVE_AGREEMENT, RETRIEVE_AGREEMENT_ANSWER
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from agreements.conftest import Replica
    from voltbus_agreements.domain.agreement import Agreement, Change

pytestmark = pytest.mark.stack


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


# Writers that meet.


async def test_of_two_writers_with_one_etag_one_wins(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Two replicas amend the same revision at once: one succeeds, the other learns it is stale."""
    first, other = await make_replica(), await make_replica()
    made = await first.made()
    for round_ in range(5):
        etag = f'"{(await first.read(made["id"]))["revision"]}"'
        answers = await asyncio.gather(
            *(
                replica.client.patch(
                    f"/v1/agreements/{made['id']}",
                    json={"tariff": f"{name}-{round_}"},
                    headers={"If-Match": etag},
                )
                for name, replica in (("first", first), ("other", other))
            )
        )
        assert statuses(list(answers)) == {200: 1, 412: 1}
    assert (await first.read(made["id"]))["revision"] == 7


async def test_of_two_transitions_at_once_one_happens(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Suspended twice at the same time, an agreement is suspended once; the other gets 409."""
    first, other = await make_replica(), await make_replica()
    made = await first.made()
    where = f"/v1/agreements/{made['id']}/suspend"
    answers = await asyncio.gather(*(replica.client.post(where) for replica in (first, other)))
    assert statuses(list(answers)) == {200: 1, 409: 1}
    assert (await first.read(made["id"]))["revision"] == 3


async def test_one_agreement_per_token_however_many_are_activated_at_once(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Eight drafts for one token, activated by two replicas at once: exactly one comes to life."""
    replicas = [await make_replica(), await make_replica()]
    drafts = [await replicas[0].made(activate=False, tokens=[{"ref": "t-1"}]) for _ in range(8)]
    answers = await asyncio.gather(
        *(
            replicas[number % 2].client.post(f"/v1/agreements/{made['id']}/activate")
            for number, made in enumerate(drafts)
        )
    )
    assert statuses(list(answers)) == {200: 1, 409: 7}
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["type"] == "urn:voltbus:problem:overlapping-agreement"
    winner = next(answer for answer in answers if answer.status_code == 200).json()["id"]
    assert winner in refused.json()["detail"]


async def test_agreements_of_one_token_may_follow_each_other(replica: Replica) -> None:
    """Another period or another place is no conflict; after an end the token is free."""
    tokens = [{"ref": "t-1"}]
    middle = (NOW + timedelta(days=1)).isoformat()
    first = await replica.made(tokens=tokens, valid_to=middle, scope={"stations": ["S1"]})
    await replica.made(tokens=tokens, valid_from=middle, scope={"stations": ["S1"]})
    await replica.made(tokens=tokens, scope={"stations": ["S2"]})
    third = await replica.made(tokens=tokens, scope={"stations": ["S1"]}, activate=False)
    activate = f"/v1/agreements/{third['id']}/activate"
    assert (await replica.client.post(activate)).status_code == 409
    await replica.client.post(f"/v1/agreements/{first['id']}/terminate")
    assert (await replica.client.post(activate)).status_code == 409  # the later one is in the way
    headers = {"If-Match": "*"}
    where = f"/v1/agreements/{third['id']}"
    await replica.client.patch(where, json={"valid_to": middle}, headers=headers)
    assert (await replica.client.post(activate)).status_code == 200


async def test_an_amendment_cannot_take_a_token(replica: Replica) -> None:
    """Adding a token that another agreement holds is refused, and nothing changes."""
    await replica.made(tokens=[{"ref": "t-1"}])
    other = await replica.made(tokens=[{"ref": "t-2"}])
    answer = await replica.client.patch(
        f"/v1/agreements/{other['id']}",
        json={"tokens": [{"ref": "t-1"}, {"ref": "t-2"}]},
        headers={"If-Match": "*"},
    )
    assert answer.status_code == 409
    assert await replica.read(other["id"]) == other


async def test_one_key_at_once_makes_one_agreement(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """The same Idempotency-Key on two replicas at once: one agreement, however it is answered."""
    replicas = [await make_replica(), await make_replica()]
    sent = body()
    answers = await asyncio.gather(
        *(
            replica.client.post("/v1/agreements", json=sent, headers={"Idempotency-Key": "order-1"})
            for replica in replicas * 3
        )
    )
    assert set(statuses(list(answers))) <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    listed = (await replicas[0].client.get("/v1/agreements")).json()["data"]
    assert len(listed) == 1


# Processes that die.


async def test_a_change_is_told_after_a_crash_before_the_relay(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Committed, then killed before the relay: the next process tells of it, once, in order."""
    dying = await make_replica()
    made = await dying.made()
    assert dying.bus.records(TOPIC) == []
    await place_earlier(dying.database["outbox"], 10)
    survivor = await make_replica()
    told = await survivor.told()
    assert [event.id for event in told] == [f"{made['id']}:1", f"{made['id']}:2"]
    assert told[-1].decode().status == "active"
    await survivor.told()
    await dying.told()
    assert len(dying.bus.records(TOPIC)) == 2


async def test_nothing_is_told_of_what_did_not_commit(replica: Replica) -> None:
    """A decision that is refused at the end leaves neither state, nor history, nor events."""
    await replica.made(tokens=[{"ref": "t-1"}])
    draft = await replica.made(activate=False, tokens=[{"ref": "t-1"}])
    before = len(await replica.told())
    answer = await replica.client.post(f"/v1/agreements/{draft['id']}/activate")
    assert answer.status_code == 409
    assert len(await replica.told()) == before
    history = (await replica.client.get(f"/v1/agreements/{draft['id']}/history")).json()
    assert [line["revision"] for line in history["data"]] == [1]


async def test_a_failed_outbox_undoes_the_change(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """State and event commit together: when the event cannot be written, the state is not."""
    replica = await make_replica()
    made = await replica.made()
    # A validator that refuses every new outbox document stands for any fault at that point.
    await replica.database.command(
        "collMod", "outbox", validator={"never": {"$exists": True}}, validationLevel="strict"
    )

    def suspend(agreement: Agreement, _: int) -> Change:
        return lifecycle.act(agreement, Command.SUSPEND, now=NOW, policy=Policy())

    try:
        with pytest.raises(BulkWriteError):
            await replica.changes.change(made["id"], suspend)
        assert (await replica.read(made["id"]))["status"] == "active"
    finally:
        await replica.database.command("collMod", "outbox", validator={})
    answer = await replica.client.post(f"/v1/agreements/{made['id']}/suspend")
    assert answer.json()["revision"] == 3


async def test_events_carry_the_whole_agreement(replica: Replica) -> None:
    """Every event is the full snapshot under the agreement's id, its ce_id the revision."""
    made = await replica.made(tariff="day", limits={"max_power_w": 11000})
    created, activated = await replica.told()
    assert (created.type, activated.type) == (
        "voltbus.agreement.created.v1",
        "voltbus.agreement.activated.v1",
    )
    assert activated.key == made["id"].encode()
    snapshot = activated.decode()
    assert (snapshot.id, snapshot.revision, snapshot.status) == (made["id"], 2, "active")
    assert (snapshot.tariff, snapshot.limits.max_power_w) == ("day", 11000)
    assert snapshot.tokens[0].ref == made["tokens"][0]["ref"]
    assert snapshot.valid_from == NOW - timedelta(days=1)


# Questions over Kafka.


async def test_retrieve_over_kafka(replica: Replica) -> None:
    """A batch of questions is answered in order; an unknown id gets an answer without agreement."""
    made = await replica.made()
    questions = []
    for number, id_ in enumerate([made["id"], "agr_unknown", made["id"]]):
        record = envelope.event(
            RETRIEVE_AGREEMENT, RetrieveAgreement(id=id_), id=str(number), source="/t", now=NOW
        )
        asking = envelope.Asking(f"c{number}", "voltbus.test.inbox", 3, 2**60)
        headers = [*record.headers, *envelope.asking_headers(asking)]
        questions.append(envelope.parse(headers, record.value, key=record.key))
    answers = await replica.handlers.answer_requests(questions)
    assert [(answer.topic, answer.partition) for answer in answers] == [
        ("voltbus.test.inbox", 3)
    ] * 3
    read = [RETRIEVE_AGREEMENT_ANSWER.decoder.decode(answer.value or b"") for answer in answers]
    assert read[1].agreement is None
    assert read[0] == read[2]
    assert read[0].agreement is not None
    assert (read[0].agreement.id, read[0].agreement.status) == (made["id"], "active")


# Round trips.


async def test_what_is_read_is_what_was_written(replica: Replica) -> None:
    """An agreement comes back from MongoDB equal to the one that was decided on."""
    made = await replica.made(
        schedule={
            "timezone": "Europe/Stockholm",
            "weekly": {"mon": [["06:00", "22:00"]], "sun": []},
            "exceptions": {"2026-12-24": []},
        },
        station_terms={"charging_speed": {"limit": 16, "unit": "A"}},
        metadata={"a.b": 1.5, "on": True, "note": "x\u0000y"},
        language="sv-SE",
    )
    kept: list[Agreement] = []

    def decide(agreement: Agreement, _: int) -> Change | None:
        change = lifecycle.amend(
            agreement,
            with_fields(agreement.terms, tariff="night"),
            now=NOW,
            policy=Policy(),
        )
        assert change is not None
        kept.append(change.agreement)
        return change

    await replica.changes.change(made["id"], decide)
    assert await replica.store.get(made["id"]) == kept[-1]


async def test_a_store_without_mongodb_is_unavailable(replica: Replica) -> None:
    """With nobody at the address, calls fail as Unavailable, and readiness turns."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        "mongodb://127.0.0.1:1/", serverSelectionTimeoutMS=50
    )
    lost = Store(client["none"], replica.outbox, source="/t")
    with pytest.raises(Unavailable):
        await lost.get("agr_1")
    assert not lost.reachable()
    with pytest.raises(Unavailable):
        await ChangeHandler(lost).change("agr_1", lambda *_: None)
    client.close()
