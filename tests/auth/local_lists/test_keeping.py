"""From a change to the station, on real MongoDB: what is due, sent, answered and remembered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import DAY, KEY, NOW, terms
from voltbus_auth.local_lists.domain.moves import PUBLISHED_WITHIN
from voltbus_auth.tokens.domain.token import TokenStatus, Whitelist
from voltbus_backbone.contract.agreements import AgreementStatus, AgreementToken, Scope
from voltbus_backbone.contract.config import CommandChanged, CommandStatus
from voltbus_backbone.contract.stations import (
    StationBooted,
    StationDisconnected,
    StationRegistered,
    StationState,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from auth.local_lists.conftest import Kept

pytestmark = pytest.mark.stack

ONE, TWO, THREE = "04AA000001", "04AA000002", "04AA000003"


def booted(name: str = "CS-1", firmware: str | None = None) -> StationBooted:
    """The station has booted."""
    return StationBooted(
        station_id=name,
        protocol=Protocol.OCPP16,
        status="Accepted",
        at=NOW,
        firmware_version=firmware,
    )


def naming(*refs: str, **fields: Any) -> Any:
    """An agreement in force for these tokens."""
    return terms(tokens=tuple(AgreementToken(ref=ref) for ref in refs), **fields)


async def test_limits_version_full_differential(kept: Kept) -> None:
    """Five tokens at two a message: one Full, two Differentials (1.6 SendLocalListMaxLength)."""
    station = await kept.station()
    refs = [await kept.token(f"04BB00000{number}") for number in range(5)]
    await kept.plan(tokens=refs)
    await kept.work()
    assert [action for action, _ in station.received] == [
        "GetConfiguration",
        "GetLocalListVersion",
        "SendLocalList",
        "SendLocalList",
        "SendLocalList",
    ]
    assert station.updates() == ["Full", "Differential", "Differential"]
    found = await kept.shown()
    assert (found["status"], found["version"], found["held"]) == ("in_sync", 3, 5)
    assert found["entries"] == sorted(refs)
    assert len(station.entries) == 5


async def test_more_than_the_station_holds(kept: Kept) -> None:
    """LocalAuthListMaxLength is respected, and what found no room is counted."""
    station = await kept.station()
    await kept.plan(tokens=[await kept.token(f"04BB00000{number}") for number in range(8)])
    await kept.work()
    assert len(station.entries) == 5
    assert (await kept.shown())["left_out"] == {"over_limit": 3}


async def test_blocked_unblocked_deleted(kept: Kept) -> None:
    """Each change of a token reaches the station; a deleted one by a Full list."""
    station = await kept.station()
    first, second = await kept.token(ONE), await kept.token(TWO)
    await kept.plan(tokens=[first, second])
    await kept.work()
    await kept.change(first, status="blocked")
    await kept.work()
    assert station.entries.keys() == {TWO}
    await kept.change(first, status="accepted")
    await kept.work()
    assert station.entries.keys() == {ONE, TWO}
    answer = await kept.served.client.delete(f"/v1/tokens/{first}", headers={"If-Match": "*"})
    assert answer.status_code == 204
    await kept.token_events()
    await kept.work()
    assert station.entries.keys() == {TWO}
    assert station.updates() == ["Full", "Differential", "Differential", "Full"]


async def test_erased_everywhere(kept: Kept) -> None:
    """N10.FR.02: an erased token leaves the station, the plans, and what leads from it to lists."""
    station = await kept.station()
    first, second = await kept.token(ONE), await kept.token(TWO)
    await kept.plan(tokens=[first, second])
    await kept.agreement(naming(first))
    await kept.agreement(naming(second, revision=2))
    await kept.work()
    answer = await kept.served.client.post(f"/v1/tokens/{first}/erase", headers={"If-Match": "*"})
    assert answer.status_code == 200
    await kept.token_events()
    await kept.work()
    assert station.entries.keys() == {TWO}
    found = await kept.client.get("/v1/local-lists/stations/CS-1")
    assert found.json()["tokens"] == [second]
    for name in ("local_list_plans", "local_list_members", "local_list_stations", "agreements"):
        documents = await kept.served.database[name].find().to_list(None)
        assert first not in str(documents)
        assert bytes.fromhex(first) not in b"".join(one.get("held", b"") for one in documents)


async def test_nothing_readable_is_stored(kept: Kept) -> None:
    """Values are in no document and on no public topic: references and digests only."""
    await kept.station()
    await kept.plan(tokens=[await kept.token(ONE, personal_message="Costs $5")])
    await kept.work()
    for name in await kept.served.database.list_collection_names():
        documents = await kept.served.database[name].find().to_list(None)
        assert ONE not in str(documents)
    for (topic, _), log in kept.served.bus.logs.items():
        if topic != "voltbus.config.requests":
            assert not any(ONE.encode() in (record.value or b"") for record in log)


async def test_a_token_changes_its_group(kept: Kept) -> None:
    """It is on the lists of the new group's plans, and off the old one's."""
    there = await kept.station("CS-1", group_id="north")
    here = await kept.station("CS-2", group_id="south")
    ref = await kept.token(ONE, group_id="FLEET-1")
    await kept.plan("north", "groups", token_groups=["FLEET-1"])
    await kept.plan("south", "groups", token_groups=["FLEET-2"])
    await kept.work()
    assert (list(there.entries), list(here.entries)) == ([ONE], [])
    await kept.change(ref, group_id="FLEET-2")
    await kept.work()
    assert (list(there.entries), list(here.entries)) == ([], [ONE])


async def test_a_station_changes_its_group(kept: Kept) -> None:
    """Another group's plan is another list; none at all empties it."""
    station = await kept.station(group_id="north")
    await kept.plan("north", "groups", tokens=[await kept.token(ONE)])
    await kept.plan("south", "groups", tokens=[await kept.token(TWO)])
    await kept.work()
    assert station.entries.keys() == {ONE}
    later = NOW + DAY
    await kept.tell(StationState(station_id="CS-1", at=later, revision=2, group_id="south"))
    await kept.work()
    assert station.entries.keys() == {TWO}
    await kept.tell(StationState(station_id="CS-1", at=later, revision=3))
    await kept.work()
    assert station.entries == {}
    assert (await kept.shown())["status"] == "unmanaged"


async def test_tokens_that_agreements_cover(kept: Kept) -> None:
    """Added with an agreement, gone with its suspension, its scope, or when it drops the token."""
    station = await kept.station(site_id="depot")
    await kept.plan("depot", "sites", covered=True)
    first, second = await kept.token(ONE), await kept.token(TWO)
    await kept.work()
    assert station.entries == {}
    await kept.agreement(naming(first, second, scope=Scope(locations=("depot",))))
    await kept.work()
    assert station.entries.keys() == {ONE, TWO}
    await kept.agreement(naming(first, revision=2, scope=Scope(locations=("depot",))))
    await kept.work()
    assert station.entries.keys() == {ONE}
    await kept.agreement(naming(first, revision=3, status=AgreementStatus.SUSPENDED))
    await kept.work()
    assert station.entries == {}
    await kept.agreement(naming(first, revision=4, scope=Scope(locations=("elsewhere",))))
    await kept.work()
    assert station.entries == {}


async def test_tokens_by_whitelist(kept: Kept) -> None:
    """Every token with the plan's words; NEVER stays out even where it is named."""
    station = await kept.station()
    never = await kept.token(TWO, whitelist=Whitelist.NEVER)
    await kept.plan(whitelist=["ALLOWED"], tokens=[never])
    ref = await kept.token(ONE)
    await kept.work()
    assert station.entries.keys() == {ONE}
    assert (await kept.shown())["left_out"] == {"never": 1}
    await kept.change(ref, whitelist="ALWAYS")
    await kept.work()
    assert station.entries == {}


async def test_a_validity_ends_by_the_clock(kept: Kept) -> None:
    """No event tells of it: the list is looked at again when a token's time is over."""
    station = await kept.station()
    end = NOW + timedelta(hours=1)
    await kept.plan(tokens=[await kept.token(ONE, expires_at=end), await kept.token(TWO)])
    await kept.work()
    assert station.entries[ONE]["expiryDate"] == "2026-03-04T13:00:00.000Z"
    kept.clock.time = end
    await kept.work()
    assert station.entries.keys() == {TWO}


async def test_two_replicas_send_one_list(kept: Kept) -> None:
    """Both look at the same moment; one of them has the step, and one call goes out."""
    station = await kept.station()
    await kept.plan(tokens=[await kept.token(f"04BB00000{number}") for number in range(5)])
    replicas = [kept.lists, kept.replica(), kept.replica()]
    for step in range(1, 6):
        kept.clock.time += timedelta(seconds=2)
        await asyncio.gather(*(one.keeping._look(["CS-1"]) for one in replicas))
        assert len(kept.calls()) == step
        await kept.tell(station.answer(kept.calls()[-1]))
    assert station.updates() == ["Full", "Differential", "Differential"]
    assert len(station.entries) == 5


async def test_two_replicas_hear_of_a_station_first(kept: Kept) -> None:
    """Whoever stores it first has it; the other folds again on what is stored."""
    store = kept.served.store.local_list
    new = (await store.load({"CS-7"}))["CS-7"]
    assert await store.change([(new, replace(new, connected=True))]) == set()
    assert await store.change([(new, replace(new, firmware="1.0"))]) == {"CS-7"}
    stored = await store.find("CS-7")
    assert stored is not None
    assert (stored.connected, stored.firmware) == (True, None)


async def test_a_mark_does_not_undo_a_decision(kept: Kept) -> None:
    """Marked while it is being looked at: what was decided is stored, and it is looked at again."""
    await kept.station()
    store = kept.served.store.local_list
    before = (await store.load({"CS-1"}))["CS-1"]
    soon = NOW + timedelta(seconds=3)
    await store.mark({"plans": "station:CS-1"}, soon)
    assert await store.change([(before, replace(before, firmware="2.0", due=None))]) == set()
    after = await store.find("CS-1")
    assert after is not None
    assert (after.firmware, after.due) == ("2.0", before.due)
    assert before.due is not None
    assert before.due < soon
    unmarked = replace(after, due=None)
    assert await store.change([(after, unmarked)]) == set()
    assert await store.take(NOW + DAY, timedelta(seconds=30), 10) == []


async def test_expired_and_blocked_ones_take_no_room(kept: Kept) -> None:
    """A group with many tokens out of use: those in use are on the list all the same."""
    station = await kept.station()
    for number in range(30):
        gone = {"expires_at": NOW} if number % 2 else {"status": TokenStatus.BLOCKED}
        await kept.token(f"04CC0000{number:02d}", group_id="FLEET", **gone)
    await kept.token(ONE, group_id="FLEET")
    await kept.plan(token_groups=["FLEET"])
    await kept.work()
    assert list(station.entries) == [ONE]


async def test_killed_between_store_and_publish(kept: Kept) -> None:
    """The next look writes the same call under the same key: config makes one command of it."""
    station = await kept.station()
    await kept.plan(tokens=[await kept.token(ONE)])
    for _ in range(2):  # limits, version
        kept.clock.time += timedelta(seconds=5)
        await kept.lists.keeping.look()
        await kept.tell(station.answer(kept.calls()[-1]))
    kept.served.bus.broken = True
    kept.clock.time += timedelta(seconds=5)
    with pytest.raises(Unavailable):
        await kept.lists.keeping.look()
    kept.served.bus.broken = False
    assert len(kept.calls()) == 2
    kept.clock.time += PUBLISHED_WITHIN
    await kept.replica().keeping.look()
    await kept.replica().keeping.look()
    (call,) = kept.calls()[2:]
    assert call.idempotency_key == call.cause
    document = await kept.served.database["local_list_stations"].find_one({"_id": "CS-1"})
    assert document is not None
    assert document["list"]["flight"]["cause"] == call.cause
    await kept.tell(station.answer(call))
    await kept.work()
    assert station.updates() == ["Full"]


async def test_the_same_answer_twice(kept: Kept) -> None:
    """A redelivered event of a command changes nothing."""
    station = await kept.station()
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    before = await kept.shown()
    last = station.answer(kept.calls()[-1])
    await kept.tell(last, last)
    assert await kept.shown() == before


async def test_a_list_that_was_lost_in_a_boot(kept: Kept) -> None:
    """The version is asked for after a boot, and the list is sent again where it is another."""
    station = await kept.station()
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    station.version, station.entries = 0, {}
    await kept.tell(booted())
    await kept.work()
    assert station.entries.keys() == {ONE}


async def test_unsupported_until_another_firmware(kept: Kept) -> None:
    """1.6 5.10: -1. Shown as such, left alone, and asked again after an update."""
    station = await kept.station()
    await kept.tell(booted(firmware="1.0"))
    station.said["GetLocalListVersion"] = {"told": {"listVersion": -1}}
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    assert (await kept.shown())["status"] == "unsupported"
    asked = len(station.received)
    await kept.tell(booted(firmware="1.0"))
    await kept.work()
    assert len(station.received) == asked
    del station.said["GetLocalListVersion"]
    await kept.tell(booted(firmware="1.1"))
    await kept.work()
    assert station.entries.keys() == {ONE}


async def test_a_station_that_fails(kept: Kept) -> None:
    """The state says what it answered and when it is tried again; and it is."""
    station = await kept.station()
    station.said["SendLocalList"] = {"answer_status": "Failed"}
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    found = await kept.shown()
    assert (found["status"], found["detail"]) == ("failed", "The station answered Failed.")
    assert found["next_try_at"] is not None
    listed = await kept.client.get("/v1/local-lists/stations?state=failed")
    assert [one["station_id"] for one in listed.json()["data"]] == ["CS-1"]
    del station.said["SendLocalList"]
    kept.clock.time += timedelta(hours=1)
    await kept.work()
    assert (await kept.shown())["status"] == "in_sync"


async def test_nothing_goes_to_a_station_that_is_away(kept: Kept) -> None:
    """Neither when it has left, nor while it is not accepted; then at once."""
    station = await kept.station()
    await kept.tell(
        StationDisconnected(station_id="CS-1", connection_id="CS-1-1", gateway_id="g-1", at=NOW)
    )
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    assert kept.calls() == []
    assert (await kept.shown())["status"] == "unreachable"
    await kept.station(revision=2, at=NOW + DAY, registration="Pending")
    await kept.work()
    assert kept.calls() == []
    await kept.station(revision=3, at=NOW + DAY)
    await kept.work()
    assert station.entries.keys() == {ONE}


async def test_without_a_plan_nothing_is_sent(kept: Kept) -> None:
    """Stations connect, boot and come and go: no plan, no call."""
    await kept.station()
    await kept.tell(booted())
    await kept.work()
    assert kept.calls() == []
    assert (await kept.shown())["status"] == "unmanaged"


async def test_a_list_sent_by_hand_is_replaced(kept: Kept) -> None:
    """A SendLocalList of somebody else's is followed by ours, while there is a plan."""
    station = await kept.station()
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    station.version, station.entries = 9, {"FOREIGN": {"status": "Accepted"}}
    await kept.tell(
        CommandChanged(
            command_id="c-9",
            station_id="CS-1",
            action="SendLocalList",
            status=CommandStatus.ANSWERED,
            at=NOW,
            answer_status="Accepted",
        )
    )
    await kept.work()
    assert station.entries.keys() == {ONE}


async def test_a_value_that_was_never_kept(kept: Kept) -> None:
    """A token registered without a field key cannot be listed, and the state says so."""
    station = await kept.station()
    ref = await kept.token(ONE)
    await kept.served.database["tokens"].update_one({"_id": ref}, {"$unset": {"value": ""}})
    await kept.plan(tokens=[ref])
    await kept.work()
    assert station.entries == {}
    assert (await kept.shown())["left_out"] == {"unreadable": 1}


async def test_a_length_that_was_never_kept(kept: Kept) -> None:
    """Tokens from before lengths were stored: too long for 1.6 is found out when it is sent."""
    station = await kept.station()
    long, fits = await kept.token("04" * 14), await kept.token(ONE)
    await kept.served.database["tokens"].update_many({}, {"$unset": {"length": ""}})
    await kept.plan(tokens=[long, fits])
    await kept.work()
    assert station.entries.keys() == {ONE}
    assert (await kept.shown())["left_out"] == {"does_not_fit": 1}


async def test_a_removed_station_is_forgotten(kept: Kept) -> None:
    """What it held is gone with it; registered anew, it begins anew."""
    await kept.station()
    await kept.plan(tokens=[await kept.token(ONE)])
    await kept.work()
    causes = {call.cause for call in kept.calls()}
    await kept.tell(
        StationRegistered(station_id="CS-1", status="Accepted", at=NOW + DAY, removed=True)
    )
    answer = await kept.client.get("/v1/stations/CS-1/local-list")
    assert answer.status_code == 404
    kept.stations.clear()
    station = await kept.station(at=NOW + 2 * DAY)
    await kept.work()
    assert station.entries.keys() == {ONE}
    assert len(kept.calls()) == len({call.cause for call in kept.calls()}) > len(causes)


async def test_agreements_from_before_there_were_lists(kept: Kept) -> None:
    """What was stored without what lists need is completed when auth starts."""
    station = await kept.station()
    ref = await kept.token(THREE)
    await kept.agreement(naming(ref))
    await kept.served.database["agreements"].update_many(
        {}, {"$unset": {"where": "", "status": "", "ever": ""}}
    )
    await kept.served.store.projection.prepare()
    await kept.plan(covered=True)
    await kept.work()
    assert station.entries.keys() == {THREE}
    await kept.agreement(naming(KEY.ref("ISO14443", "other"), revision=2))
    await kept.work()
    assert station.entries == {}


@pytest.mark.parametrize(
    ("collection", "query"),
    [
        ("local_list_stations", {"plans": {"$in": ["group:north", "station:CS-1"]}}),
        ("local_list_stations", {"due": {"$lte": NOW}}),
        ("local_list_plans", {"tokens": {"$in": ["a", "b"]}}),
        ("tokens", {"refs": {"$in": ["a", "b"]}}),
        ("tokens", {"$or": [{"_id": {"$in": ["a"]}}, {"identities": {"$in": ["a"]}}]}),
        ("tokens", {"whitelist": None, "status": "accepted"}),
        ("tokens", {"group_id": {"$in": ["FLEET"]}, "status": "accepted"}),
        ("agreements", {"where": {"$in": ["*", "site:a"]}, "status": {"$in": ["active"]}}),
        ("agreements", {"ever": {"$in": ["a"]}}),
    ],
)
async def test_questions_of_a_fleets_size_have_an_index(
    kept: Kept, collection: str, query: dict[str, Any]
) -> None:
    """Whose list a change touches, and what is due, is found without reading everything."""
    explained = await kept.served.database[collection].find(query).explain()
    plan = str(explained["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan
