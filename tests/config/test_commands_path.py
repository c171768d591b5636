"""Commands from REST and Kafka to exactly one end (design 3; issue: the command path)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import event
from voltbus_backbone.bounds import COMMAND_BYTES
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import (
    CallOutcome,
    CommandAccepted,
    CommandChanged,
    CommandRequested,
    CommandStatus,
    RejectedBy,
)
from voltbus_backbone.contract.registry import Fault
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from config.conftest import Replica

pytestmark = pytest.mark.stack

ACCEPTED = {"status": "Accepted"}


def told(replica: Replica, command_id: str) -> list[str]:
    """The states that were made public, in order."""
    changes = replica.told("commands.events", CommandChanged, command_id=command_id)
    return [each.status.value for each in changes]


@pytest.fixture
async def here(replica: Replica) -> Replica:
    """A replica with a connected 1.6 station."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    return replica


async def test_a_command_for_a_connected_station_is_sent_and_answered(here: Replica) -> None:
    """202 with its address; queued, sent, answered, with the station's answer."""
    made = await here.command("CS-1", "Reset", payload={"type": "Soft"})
    call = await here.call("CS-1", "Reset")
    assert (call.payload, call.gateway_id, call.connection_id) == (
        {"type": "Soft"},
        "g-1",
        here.connections["CS-1"],
    )
    await here.end(call, ACCEPTED)
    shown = await here.command_state(made["id"])
    assert (shown["status"], shown["answer_status"], shown["answer"]) == (
        "answered",
        "Accepted",
        ACCEPTED,
    )
    assert told(here, made["id"]) == ["queued", "sent", "answered"]


async def test_a_command_waits_for_a_station_that_is_away(replica: Replica) -> None:
    """Queued while offline, sent on connection."""
    await replica.register("CS-1")
    await replica.boot("CS-1")
    made = await replica.command("CS-1", "ClearCache")
    await replica.settle()
    assert (await replica.command_state(made["id"]))["status"] == "queued"
    await replica.arrive("CS-1")
    await replica.call("CS-1", "ClearCache")


async def test_commands_go_out_one_by_one_in_their_order(here: Replica) -> None:
    """One CALL in flight per direction (A13)."""
    actions = ["ClearCache", "GetConfiguration", "Reset", "GetLocalListVersion"]
    for action in actions:
        await here.command("CS-1", action)
    for count, action in enumerate(actions, start=1):
        call = await here.call("CS-1", action)
        assert len(here.calls("CS-1")) == count
        await here.end(call, ACCEPTED)
    assert [call.action for call in here.calls("CS-1")] == actions


async def test_a_shape_is_sent_in_the_station_s_own_version(replica: Replica) -> None:
    """The same request at a 1.6 and at a 2.0.1 station."""
    sent = {}
    for name, protocol in (("CS-1", Protocol.OCPP16), ("CS-2", Protocol.OCPP201)):
        await replica.register(name)
        await replica.arrive(name, protocol)
        await replica.command(name, "reset", payload={"type": "immediate"})
        call = await replica.call(name, "Reset")
        sent[name] = call.payload
    assert sent == {"CS-1": {"type": "Hard"}, "CS-2": {"type": "Immediate"}}


async def test_what_a_version_can_not_do_is_rejected_and_the_next_goes_out(here: Replica) -> None:
    """A reset of one EVSE does not exist in 1.6; the queue goes on behind it."""
    made = await here.command("CS-1", "reset", payload={"evse_id": 1})
    await here.command("CS-1", "ClearCache")
    await here.call("CS-1", "ClearCache")
    shown = await here.command_state(made["id"])
    assert (shown["status"], shown["error_code"]) == ("rejected", "NotSupported")
    assert (shown["rejected_by"], shown["sent_at"]) == ("config", None)


@pytest.mark.parametrize(
    ("outcome", "fields", "status", "code", "by", "was_sent"),
    [
        (
            CallOutcome.REJECTED,
            {"error_code": "NotImplemented", "rejected_by": RejectedBy.STATION},
            "rejected",
            "NotImplemented",
            "station",
            True,
        ),
        (CallOutcome.INVALID, {}, "rejected", "InvalidPayload", "gateway", False),
        (
            CallOutcome.REJECTED,
            {"error_code": "SecurityError", "rejected_by": RejectedBy.GATEWAY, "unsent": True},
            "rejected",
            "SecurityError",
            "gateway",
            False,
        ),
        (
            CallOutcome.REJECTED,
            {"error_code": "FormatViolation", "rejected_by": RejectedBy.GATEWAY},
            "rejected",
            "FormatViolation",
            "gateway",
            True,
        ),
        (CallOutcome.TIMED_OUT, {}, "timed_out", None, None, True),
    ],
)
async def test_a_call_that_fails_ends_its_command(  # noqa: PLR0917 - a table's columns
    here: Replica,
    outcome: CallOutcome,
    fields: dict[str, Any],
    status: str,
    code: str | None,
    by: str | None,
    was_sent: bool,  # noqa: FBT001 - a table's column
) -> None:
    """A CALLERROR and a broken payload reject, silence times out; the payload is dropped.

    Who refused it is said, and what never left has no time of sending.
    """
    made = await here.command("CS-1", "ClearCache")
    await here.end(await here.call("CS-1", "ClearCache"), outcome=outcome, **fields)
    shown = await here.command_state(made["id"])
    assert (shown["status"], shown["error_code"], shown["rejected_by"]) == (status, code, by)
    assert (shown["sent_at"] is not None) is was_sent
    [told_last] = here.told("commands.events", CommandChanged, status=CommandStatus(status))
    assert told_last.rejected_by == by
    stored = await here.store.commands.find(made["id"])
    assert stored is not None
    assert stored.payload is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("The connection was lost before the answer", "The connection was lost before the answer"),
        (None, "The station did not answer within 30 s"),
    ],
)
async def test_a_command_that_timed_out_says_why(
    here: Replica, said: str | None, shown: str
) -> None:
    """A socket that closed after a second is no silence of thirty."""
    made = await here.command("CS-1", "ClearCache")
    call = await here.call("CS-1", "ClearCache")
    await here.end(call, outcome=CallOutcome.TIMED_OUT, error_description=said)
    state = await here.command_state(made["id"])
    assert (state["status"], state["error_description"]) == ("timed_out", shown)


async def test_a_station_s_words_about_a_secret_are_dropped_and_ours_are_kept(
    here: Replica,
) -> None:
    """Stations repeat what they do not like (A01.FR.08); a lost connection repeats nothing."""
    payload = {"password": "0f" * 20}
    ends: list[tuple[dict[str, Any], str | None]] = [
        ({"outcome": CallOutcome.REJECTED, "error_description": "0f0f is no password"}, None),
        ({"outcome": CallOutcome.TIMED_OUT, "error_description": "lost"}, "lost"),
    ]
    for fields, kept in ends:
        made = await here.command("CS-1", "set_password", payload=payload)
        await here.end(await here.call("CS-1", "ChangeConfiguration"), **fields)
        assert (await here.command_state(made["id"]))["error_description"] == kept


async def test_the_first_end_is_the_only_one(here: Replica) -> None:
    """Late and repeated reports change nothing (one terminal state each)."""
    made = await here.command("CS-1", "ClearCache")
    call = await here.call("CS-1", "ClearCache")
    await here.end(call, ACCEPTED)
    await here.end(call, outcome=CallOutcome.TIMED_OUT)
    await here.end(call, {"status": "Rejected"})
    shown = await here.command_state(made["id"])
    assert (shown["status"], shown["answer_status"]) == ("answered", "Accepted")
    assert told(here, made["id"]) == ["queued", "sent", "answered"]


async def test_a_command_of_a_dead_gateway_times_out(here: Replica) -> None:
    """No report within its timeout and ten seconds; the next command goes out."""
    made = await here.command("CS-1", "ClearCache", timeout_s=5)
    await here.command("CS-1", "Reset")
    await here.call("CS-1", "ClearCache")
    here.hands.move(14)
    await here.settle()
    assert (await here.command_state(made["id"]))["status"] == "sent"
    here.hands.move(1)
    await here.call("CS-1", "Reset")
    assert told(here, made["id"]) == ["queued", "sent", "timed_out"]


async def test_a_command_that_reached_its_gateway_too_late_goes_out_again(here: Replica) -> None:
    """The gateway sent nothing: the command keeps its place, and its station its connection."""
    made = await here.command("CS-1", "ClearCache")
    await here.command("CS-1", "Reset")
    first = await here.call("CS-1", "ClearCache")
    assert first.not_after is not None
    await here.end(first, outcome=CallOutcome.NOT_CONNECTED, late=True)
    second = await here.call("CS-1", "ClearCache")
    assert second.command_id == made["id"]
    assert second.attempt == first.attempt + 1
    assert second.not_after is not None
    await here.end(second, ACCEPTED)
    await here.call("CS-1", "Reset")
    assert told(here, made["id"]) == ["queued", "sent", "queued", "sent", "answered"]


async def test_a_command_expires_in_the_queue_only(replica: Replica) -> None:
    """expires_at: given up when not sent by then."""
    await replica.register("CS-1")
    await replica.boot("CS-1")
    made = await replica.command("CS-1", "ClearCache", expires_at="2026-06-01T12:01:00Z")
    replica.hands.move(60)
    await replica.settle()
    assert (await replica.command_state(made["id"]))["status"] == "expired"
    assert told(replica, made["id"]) == ["queued", "expired"]
    await replica.arrive("CS-1")
    assert replica.calls("CS-1") == []


async def test_a_queued_command_can_be_cancelled_and_a_sent_one_not(here: Replica) -> None:
    """Cancelling twice is fine; what went out can't be called back: 409."""
    sent = await here.command("CS-1", "ClearCache")
    await here.call("CS-1", "ClearCache")
    queued = await here.command("CS-1", "Reset")
    for _ in range(2):
        answer = await here.client.delete(f"/v1/commands/{queued['id']}")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    answer = await here.client.post(f"/v1/commands/{sent['id']}/cancel")
    assert answer.status_code == 409
    await here.settle()
    assert told(here, queued["id"]) == ["queued", "cancelled"]


async def test_a_command_that_brings_a_setting_is_cancelled_by_changing_the_setting(
    here: Replica,
) -> None:
    """Else the setting would silently never come: 409."""
    await here.set("CS-1", keys={"A": "1", "B": "2"})
    listed = (await here.client.get("/v1/commands", params={"status": "queued"})).json()["data"]
    answer = await here.client.delete(f"/v1/commands/{listed[0]['id']}")
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("Change the setting")


async def test_an_idempotency_key_makes_one_command(here: Replica) -> None:
    """The same request again gives the same command; another under the same key is refused."""
    first = await here.command("CS-1", "ClearCache", idempotency_key="k-1")
    again = await here.command("CS-1", "ClearCache", idempotency_key="k-1")
    assert again["id"] == first["id"]
    other = await here.client.post(
        "/v1/stations/CS-1/commands", json={"action": "Reset", "idempotency_key": "k-1"}
    )
    assert other.status_code == 422
    await here.settle()
    assert len(here.calls("CS-1")) == 1


async def test_a_retry_is_owed_its_command_when_a_new_one_would_be_refused(here: Replica) -> None:
    """The same command again after expires_at, and after its station was removed."""
    late = (here.hands() + timedelta(seconds=30)).isoformat()
    body = {"action": "ClearCache", "idempotency_key": "k-1", "expires_at": late}
    first = await here.command("CS-1", **body)
    here.hands.move(31)
    assert (await here.command("CS-1", **body))["id"] == first["id"]
    assert (await here.client.delete("/v1/stations/CS-1")).status_code == 204
    assert (await here.command("CS-1", **body))["id"] == first["id"]
    body["idempotency_key"] = "k-2"
    assert (await here.client.post("/v1/stations/CS-1/commands", json=body)).status_code == 404


async def test_the_same_request_at_once_makes_one_command(here: Replica, make_replica: Any) -> None:
    """Two replicas, ten requests with one key, one command."""
    other: Replica = await make_replica()
    body = {"action": "ClearCache", "idempotency_key": "k-1"}
    answers = await asyncio.gather(
        *(
            each.client.post("/v1/stations/CS-1/commands", json=body)
            for _ in range(5)
            for each in (here, other)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_two_replicas_never_have_two_calls_out_to_a_station(
    here: Replica, make_replica: Any
) -> None:
    """Commands asked of both at once: one is out, all are answered once, in the end."""
    other: Replica = await make_replica()
    await asyncio.gather(
        *(each.command("CS-1", "ClearCache") for _ in range(6) for each in (here, other))
    )
    for count in range(1, 13):
        call = await here.call("CS-1", "ClearCache")
        assert len(here.calls("CS-1")) == count
        await here.end(call, ACCEPTED)
    listed = (await here.client.get("/v1/commands", params={"limit": 100})).json()["data"]
    assert [each["status"] for each in listed] == ["answered"] * 12


async def test_a_command_asked_for_while_the_last_one_ends_goes_out(
    here: Replica, make_replica: Any
) -> None:
    """Neither transaction sees the other's change: one must begin again, or nobody would send."""
    other: Replica = await make_replica()
    await here.command("CS-1", "ClearCache")
    for count in range(1, 31):
        call = await here.call("CS-1", "ClearCache")
        assert len(here.calls("CS-1")) == count
        await asyncio.gather(here.end(call, ACCEPTED), other.command("CS-1", "ClearCache"))


# Over Kafka.


async def ask(replica: Replica, **fields: Any) -> Any:
    request = CommandRequested(station_id="CS-1", **fields)
    [answer] = await replica.ask(event(registry.COMMAND, request))
    return answer


async def test_another_system_asks_over_kafka(here: Replica) -> None:
    """CommandAccepted names the command; its life is told on commands.events."""
    answer = await ask(here, action="trigger", payload={"message": "heartbeat"})
    assert isinstance(answer, CommandAccepted)
    await here.end(await here.call("CS-1", "TriggerMessage"), ACCEPTED)
    assert told(here, answer.command_id) == ["queued", "sent", "answered"]


async def test_a_request_delivered_again_makes_one_command(here: Replica) -> None:
    """Even without an idempotency key: the record's own id tells (design 4)."""
    request = event(registry.COMMAND, CommandRequested(station_id="CS-1", action="ClearCache"))
    first = await here.ask(request)
    again = await here.ask(request, request)
    ids = {each.command_id for each in [*first, *again] if isinstance(each, CommandAccepted)}
    assert len(ids) == 1
    await here.settle()
    assert len(here.calls("CS-1")) == 1


async def test_a_retry_over_kafka_is_owed_its_command(here: Replica) -> None:
    """By its key, in a record of its own: after expires_at, and after its station was removed."""
    fields = {"action": "ClearCache", "idempotency_key": "k", "expires_at": here.hands()}
    first = await ask(here, **fields)
    here.hands.move(31)
    assert (await ask(here, **fields)).command_id == first.command_id
    assert (await here.client.delete("/v1/stations/CS-1")).status_code == 204
    assert (await ask(here, **fields)).command_id == first.command_id


async def test_what_can_not_be_done_is_a_fault(here: Replica) -> None:
    """An unknown station, a senseless payload, another request under a used key."""
    request = CommandRequested(station_id="CS-9", action="ClearCache")
    [unknown] = await here.ask(event(registry.COMMAND, request))
    assert isinstance(unknown, Fault)
    assert (await ask(here, action="reset", payload={"a": 1})).code == "InvalidCommand"
    await ask(here, action="ClearCache", idempotency_key="k")
    assert (await ask(here, action="Reset", idempotency_key="k")).code == "IdempotencyKeyReused"


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout_s": 1e12},
        {"timeout_s": 0.0},
        {"timeout_s": -5.0},
        {"expires_at": datetime(2026, 6, 2)},  # noqa: DTZ001 - that is the mistake
        {"payload": {"data": 2**63}},
        {"payload": {"data": "x" * COMMAND_BYTES}},
        {"payload": {"data": [1e15] * (COMMAND_BYTES // 10)}},  # grows when it is written again
        {"idempotency_key": "k" * 900_000},
        {"cause": "c" * 257},
    ],
)
async def test_a_senseless_request_is_a_fault_and_stops_no_queue(
    replica: Replica, fields: dict[str, Any]
) -> None:
    """The bounds of REST hold for Kafka: else each look at the station would fail (issue 4.3)."""
    await replica.register("CS-1")
    await replica.boot("CS-1")
    assert (await ask(replica, action="DataTransfer", **fields)).code == "InvalidCommand"
    await replica.command("CS-1", "ClearCache")
    await replica.arrive("CS-1")
    await replica.call("CS-1", "ClearCache")


# Bad input.


async def test_a_command_too_large_for_a_record_is_refused_and_stops_no_queue(
    here: Replica,
) -> None:
    """2 MB by REST: told at once; the station's other commands go on (ADR 0011)."""
    large = {"action": "DataTransfer", "payload": {"vendorId": "v", "data": "x" * 2_000_000}}
    answer = await here.client.post("/v1/stations/CS-1/commands", json=large)
    assert answer.status_code in {413, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert "xxx" not in answer.text
    await here.command("CS-1", "ClearCache")
    await here.call("CS-1", "ClearCache")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "no spaces"},
        {"action": "reset", "payload": {"type": "gently"}},
        {"action": "remote_strat"},
        {"action": "ClearCache", "expires_at": "2026-01-01T00:00:00Z"},
        {"action": "ClearCache", "expires_at": "2026-06-02T00:00:00"},
        {"action": "ClearCache", "timeout_s": 0},
        {"action": "ClearCache", "colour": "red"},
    ],
)
async def test_a_senseless_command_is_refused(here: Replica, body: dict[str, Any]) -> None:
    """422 as a problem document; nothing is queued."""
    answer = await here.client.post("/v1/stations/CS-1/commands", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await here.client.get("/v1/commands")).json() == {"data": [], "has_more": False}


@pytest.mark.parametrize(
    ("action", "payload", "field"),
    [
        ("Heartbeat", {}, "action"),
        ("BootNotification", {}, "action"),
        ("TransactionEvent", {}, "action"),
        ("NoSuchThing", {}, "action"),
        ("remote_strat", {}, "action"),
        ("remote_start", {}, "payload"),
        ("reset", {"type": "gently"}, "payload.type"),
        ("reset", {"evse_id": "one"}, "payload.evse_id"),
        ("reset", {"evse_id": 2**200}, "payload"),
    ],
)
async def test_what_is_wrong_is_named_where_it_is(
    here: Replica, action: str, payload: dict[str, Any], field: str
) -> None:
    """What only stations send is refused at once, over REST and over Kafka; 1.6 §4, 2.x Part 2."""
    body = {"action": action, "payload": payload}
    answer = await here.client.post("/v1/stations/CS-1/commands", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == field
    fault = await ask(here, **body)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.detail.split(":")[0]) == ("InvalidCommand", field)


async def test_a_command_shows_the_key_that_its_asker_gave_it(here: Replica) -> None:
    """Whoever retries finds it again; the name of a record is no key that anybody gave."""
    own = await here.command("CS-1", "ClearCache", idempotency_key="mine-1")
    assert own["idempotency_key"] == "mine-1"
    assert (await here.command("CS-1", "ClearCache"))["idempotency_key"] is None
    accepted = await ask(here, action="ClearCache")
    assert (await here.command_state(accepted.command_id))["idempotency_key"] is None


async def test_unknown_things_are_not_found(replica: Replica) -> None:
    """A command to an unknown station, and an unknown command."""
    answer = await replica.client.post("/v1/stations/CS-9/commands", json={"action": "ClearCache"})
    assert answer.status_code == 404
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
        answer = await replica.client.request(method, f"/v1/commands/cmd-1{path}")
        assert answer.status_code == 404
