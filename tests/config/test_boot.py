"""BootNotification and registration: who is told what, and what follows (rules A20, A21, C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.config_examples import event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import BootAnswer, CommandChanged, Registration
from voltbus_backbone.contract.gateway import RegistrationChanged
from voltbus_backbone.contract.stations import StationBooted, StationRegistered, StationState
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from config.conftest import Replica

pytestmark = pytest.mark.stack


async def standing(replica: Replica, station_id: str) -> str:
    """What a gateway learns of a station that reconnects without Boot."""
    asked = Registration(station_id=station_id, protocol=Protocol.OCPP16)
    [answer] = await replica.ask(event(registry.REGISTRATION, asked))
    assert isinstance(answer, BootAnswer)
    return answer.status


async def test_a_registered_station_is_accepted_and_introduces_itself(replica: Replica) -> None:
    """Vendor, model and firmware come from Boot; the interval is the heartbeat's, jittered."""
    await replica.register("CS-1")
    await replica.connect("CS-1")
    answer = await replica.boot(
        "CS-1", vendor="Acme", model="Fast", serial_number="S1", firmware_version="1.2"
    )
    assert answer.status == "Accepted"
    assert 270 <= answer.interval <= 330
    shown = await replica.station("CS-1")
    assert (shown["vendor"], shown["model"]) == ("Acme", "Fast")
    assert (shown["serial_number"], shown["firmware_version"]) == ("S1", "1.2")
    await replica.settle()
    [told] = replica.told("stations.events", StationBooted)
    assert (told.status, told.vendor) == ("Accepted", "Acme")


@pytest.mark.parametrize("policy", ["rejected", "pending", "accepted"])
async def test_an_unknown_station_is_answered_by_policy(
    make_replica: Callable[..., Awaitable[Replica]], policy: str
) -> None:
    """Rejected leaves no trace; pending and accepted make it known to the operator."""
    replica = await make_replica(unknown_station=policy)
    await replica.connect("CS-9")
    assert (await replica.boot("CS-9")).status == policy.capitalize()
    found = await replica.client.get("/v1/stations/CS-9")
    assert found.status_code == (404 if policy == "rejected" else 200)


async def test_a_boot_delivered_again_gives_the_same_answer_and_one_event(
    replica: Replica,
) -> None:
    """After a crash between store and reply, the record comes again (design 4)."""
    await replica.register("CS-1")
    await replica.connect("CS-1")
    boot = event(registry.BOOT, replica.a_boot("CS-1"))
    first = await replica.ask(boot)
    assert await replica.ask(boot) == first
    assert await replica.ask(boot, boot) == first * 2
    await replica.settle()
    assert len(replica.told("stations.events", StationBooted)) == 1
    assert (await replica.station("CS-1"))["revision"] == 2


async def test_a_batch_of_boots_is_answered_in_order(replica: Replica) -> None:
    """Several stations, one of them twice, in one batch."""
    for name in ("CS-1", "CS-2"):
        await replica.register(name)
    events = [
        event(registry.BOOT, replica.a_boot("CS-1", firmware_version="1")),
        event(registry.BOOT, replica.a_boot("CS-2")),
        event(registry.BOOT, replica.a_boot("CS-3")),
        event(registry.BOOT, replica.a_boot("CS-1", firmware_version="2")),
    ]
    answers = await replica.ask(*events)
    statuses = [answer.status for answer in answers if isinstance(answer, BootAnswer)]
    assert statuses == ["Accepted", "Accepted", "Rejected", "Accepted"]
    assert (await replica.station("CS-1"))["firmware_version"] == "2"


async def test_who_never_booted_has_yet_to(replica: Replica) -> None:
    """Registered is not yet accepted: only the answer to a Boot is (A21)."""
    await replica.register("CS-1")
    assert await standing(replica, "CS-1") == "Pending"
    await replica.boot("CS-1")
    assert await standing(replica, "CS-1") == "Accepted"
    assert await standing(replica, "CS-9") == "Rejected"


async def test_nothing_else_is_sent_before_the_first_boot(replica: Replica) -> None:
    """However long a new station is silent, its commands wait for its Boot (2.x B01)."""
    await replica.register("CS-1")
    await replica.connect("CS-1")
    await replica.command("CS-1", "ClearCache")
    replica.hands.move(60)
    await replica.settle()
    [asked] = replica.calls("CS-1")
    assert asked.payload == {"requestedMessage": "BootNotification"}
    await replica.end(asked, {"status": "Accepted"})
    await replica.boot("CS-1")
    await replica.call("CS-1", "ClearCache")


async def test_a_boot_may_be_heard_of_before_its_connection(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """Two topics, two orders: either way calls follow the boot's answer (A20)."""
    replica = await make_replica(boot_wait_s=60)
    await replica.register("CS-1")
    for _ in range(2):  # a station that was never connected, and one that moves
        replica.connections["CS-1"] = replica.next_connection()
        await replica.boot("CS-1")
        await replica.connect("CS-1", connection_id=replica.connections["CS-1"])
        await replica.command("CS-1", "ClearCache")
        call = await replica.call("CS-1", "ClearCache")
        assert call.connection_id == replica.connections["CS-1"]
        await replica.end(call, {"status": "Accepted"})


async def test_a_command_that_comes_while_a_boot_is_answered(
    make_replica: Callable[..., Awaitable[Replica]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given between the boot's record and its effect, it follows the boot's answer all the same."""
    replica = await make_replica(boot_wait_s=60)
    await replica.register("CS-1")
    await replica.connect("CS-1")
    ready = replica.store.mark_ready

    async def late(connections: Mapping[str, str], at: datetime) -> None:
        await replica.command("CS-1", "ClearCache")
        await ready(connections, at)

    monkeypatch.setattr(replica.store, "mark_ready", late)
    await replica.boot("CS-1")
    await replica.call("CS-1", "ClearCache")


async def test_a_pending_station_is_configured_but_not_started(replica: Replica) -> None:
    """While Pending: variables yes, remote start no (B02.FR.01, B02.FR.05)."""
    await replica.register("CS-1", registration="pending")
    await replica.connect("CS-1", Protocol.OCPP201)
    assert (await replica.boot("CS-1", Protocol.OCPP201)).status == "Pending"
    start = await replica.command("CS-1", "remote_start", payload={"id_token": "A"})
    await replica.set("CS-1", keys={"OCPPCommCtrlr.HeartbeatInterval": 60})
    await replica.call("CS-1", "SetVariables")
    assert (await replica.command_state(start["id"]))["status"] == "queued"


async def test_accepting_a_pending_station_makes_it_boot_again(replica: Replica) -> None:
    """TriggerMessage(BootNotification), whose answer is Accepted (rules C: provisioning)."""
    await replica.register("CS-1", registration="pending")
    await replica.connect("CS-1")
    await replica.boot("CS-1")
    answer = await replica.client.patch("/v1/stations/CS-1", json={"registration": "accepted"})
    assert answer.status_code == 200
    call = await replica.call("CS-1", "TriggerMessage")
    assert call.payload == {"requestedMessage": "BootNotification"}
    assert (await replica.boot("CS-1")).status == "Accepted"
    assert await standing(replica, "CS-1") == "Accepted"


async def test_a_rejected_station_is_told_nothing_and_its_gateway_knows(replica: Replica) -> None:
    """Rejected: the central system sends nothing (B03.FR.03); the gateway lets nothing through."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.client.patch("/v1/stations/CS-1", json={"registration": "rejected"})
    await replica.command("CS-1", "ClearCache")
    await replica.settle()
    assert replica.calls("CS-1") == []
    [told] = replica.told("gateway.inbox", RegistrationChanged)
    assert (told.station_id, told.status, told.gateway_id) == ("CS-1", "Rejected", "g-1")
    assert replica.told("stations.state", StationState)[-1].registration == "Rejected"
    assert (await replica.boot("CS-1")).status == "Rejected"
    await replica.client.patch("/v1/stations/CS-1", json={"registration": "accepted"})
    await replica.settle()
    assert replica.calls("CS-1") == []
    await replica.boot("CS-1")
    await replica.call("CS-1", "ClearCache")


async def test_a_removed_station_is_forgotten_by_everyone(replica: Replica) -> None:
    """Its queue is cancelled, its snapshot gets a tombstone, and it is unknown again."""
    await replica.register("CS-1")
    await replica.boot("CS-1")
    made = await replica.command("CS-1", "ClearCache")
    assert (await replica.client.delete("/v1/stations/CS-1")).status_code == 204
    await replica.settle()
    assert (await replica.client.get("/v1/stations/CS-1")).status_code == 404
    assert (await replica.command_state(made["id"]))["status"] == "cancelled"
    assert replica.bus.records("stations.state")[-1].value is None
    assert replica.told("stations.events", StationRegistered)[-1].removed
    assert replica.told("commands.events", CommandChanged)[-1].status.value == "cancelled"
    assert await standing(replica, "CS-1") == "Rejected"
    await replica.register("CS-1")
    await replica.settle()
    states = replica.told("stations.state", StationState)
    assert states[-1].revision > max(each.revision for each in states[:-1])
