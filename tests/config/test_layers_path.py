"""Layers and site-host agreements: which setting reaches which station (ocpp-rules C, D)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import NOW, event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.agreements import (
    AgreementSnapshot,
    AgreementStatus,
    Scope,
    StationTerms,
)
from voltbus_backbone.contract.stations import StationState
from voltbus_backbone.contract.values import ChargingSpeed, OpeningHours

if TYPE_CHECKING:
    from config.conftest import Replica

pytestmark = pytest.mark.stack


def speed(limit: float) -> dict[str, Any]:
    return {"charging_speed": {"limit": limit, "unit": "W"}}


async def wanted(replica: Replica, station_id: str = "CS-1") -> tuple[float, str] | None:
    found = (await replica.settings(station_id)).get("charging_speed")
    if found is None or found["wanted"] is None:
        return None
    return found["wanted"]["limit"], found["layer"]


async def put(replica: Replica, name: str, body: dict[str, Any]) -> None:
    answer = await replica.client.put(f"/v1/layers/{name}", json=body)
    assert answer.status_code == 200, answer.text
    await replica.settle()


async def agreed(
    replica: Replica,
    *,
    revision: int = 1,
    status: AgreementStatus = AgreementStatus.ACTIVE,
    valid_from: datetime = NOW - timedelta(days=1),
    valid_to: datetime | None = None,
    scope: Scope | None = None,
    terms: StationTerms | None = None,
    name: str = "A-1",
) -> None:
    snapshot = AgreementSnapshot(
        id=name,
        kind="site_host",
        name="A site",
        status=status,
        revision=revision,
        valid_from=valid_from,
        valid_to=valid_to,
        at=NOW,
        scope=scope or Scope(stations=("CS-1",)),
        station_terms=terms,
    )
    await replica.agreements.handle([event(registry.AGREEMENT_UPDATED, snapshot)])
    await replica.settle()


LIMITED = StationTerms(charging_speed=ChargingSpeed(limit=5000))


async def test_the_higher_layer_wins_and_is_named(replica: Replica) -> None:
    """Default < model < group < site < agreement < station; removal uncovers the one below."""
    await replica.register("CS-1", group_id="north", site_id="mall")
    await replica.boot("CS-1", vendor="Acme", model="Fast 2")
    names = ["default", "model:Acme/Fast 2", "group:north", "site:mall"]
    for number, name in enumerate(names, start=1):
        await put(replica, name, speed(number * 1000))
        assert await wanted(replica) == (number * 1000, name)
    await agreed(replica, terms=LIMITED)
    assert await wanted(replica) == (5000, "agreement:A-1")
    await replica.set("CS-1", **speed(6000))
    assert await wanted(replica) == (6000, "station:CS-1")
    await replica.set("CS-1")
    assert await wanted(replica) == (5000, "agreement:A-1")
    for number, name in reversed(list(enumerate(names, start=1))):
        await agreed(replica, revision=10 - number, terms=None)
        assert await wanted(replica) == (number * 1000, name)
        assert (await replica.client.delete(f"/v1/layers/{name}")).status_code == 204
        await replica.settle()
    assert await wanted(replica) is None


async def test_a_layer_reaches_the_stations_that_it_shapes_and_no_other(
    replica: Replica,
) -> None:
    """A group's speed is sent to its connected stations."""
    for name, group in (("CS-1", "north"), ("CS-2", "south")):
        await replica.register(name, group_id=group)
        await replica.arrive(name)
    await put(replica, "group:north", speed(7000))
    await replica.call("CS-1", "SetChargingProfile")
    assert replica.calls("CS-2") == []


async def test_a_station_that_changes_its_group_changes_its_settings(replica: Replica) -> None:
    """By PATCH, at once."""
    await replica.register("CS-1")
    await put(replica, "group:north", speed(7000))
    assert await wanted(replica) is None
    await replica.client.patch("/v1/stations/CS-1", json={"group_id": "north"})
    assert await wanted(replica) == (7000, "group:north")


async def test_layers_are_listed_seen_and_checked(replica: Replica) -> None:
    """Only the shared layers, by name; a name of no kind is 422, an unknown one 404."""
    await replica.register("CS-1")
    await replica.set("CS-1", **speed(1))
    await put(replica, "site:mall", speed(2))
    await put(replica, "default", speed(3))
    listed = (await replica.client.get("/v1/layers")).json()
    assert [each["name"] for each in listed["data"]] == ["default", "site:mall"]
    seen = (await replica.client.get("/v1/layers/site:mall")).json()
    assert seen["settings"]["charging_speed"]["limit"] == 2
    for name in ("station:CS-1", "nonsense", "model:Acme", "group:"):
        assert (await replica.client.get(f"/v1/layers/{name}")).status_code == 422
    assert (await replica.client.get("/v1/layers/group:none")).status_code == 404
    assert (await replica.client.delete("/v1/layers/group:none")).status_code == 404


# Agreements.


async def test_an_agreement_that_ends_uncovers_the_layer_below(replica: Replica) -> None:
    """Its end recompiles the station (rules D)."""
    await replica.register("CS-1")
    await put(replica, "default", speed(1000))
    await agreed(replica, terms=LIMITED)
    assert await wanted(replica) == (5000, "agreement:A-1")
    await agreed(replica, revision=2, status=AgreementStatus.TERMINATED, terms=LIMITED)
    assert await wanted(replica) == (1000, "default")


async def test_an_agreement_begins_and_ends_by_the_clock(replica: Replica) -> None:
    """valid_from inclusive, valid_to exclusive, also without an event."""
    await replica.register("CS-1")
    await agreed(
        replica,
        terms=LIMITED,
        valid_from=NOW + timedelta(hours=1),
        valid_to=NOW + timedelta(hours=2),
    )
    assert await wanted(replica) is None
    replica.hands.move(3600)
    await replica.settle()
    assert await wanted(replica) == (5000, "agreement:A-1")
    replica.hands.move(3600)
    await replica.settle()
    assert await wanted(replica) is None


async def test_an_older_revision_changes_nothing(replica: Replica) -> None:
    """Snapshots may come again; only a newer revision counts."""
    await replica.register("CS-1")
    await agreed(replica, revision=5, terms=LIMITED)
    await agreed(replica, revision=4, terms=StationTerms(charging_speed=ChargingSpeed(limit=1)))
    assert await wanted(replica) == (5000, "agreement:A-1")


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope(), ["CS-1", "CS-2", "CS-3"]),
        (Scope(stations=("CS-2",)), ["CS-2"]),
        (Scope(groups=("north",)), ["CS-1"]),
        (Scope(locations=("mall",)), ["CS-3"]),
        (Scope(evses=("CS-2/1",)), ["CS-2"]),
    ],
)
async def test_an_agreement_shapes_its_scope(
    replica: Replica, scope: Scope, covered: list[str]
) -> None:
    """An empty scope is everywhere; else stations, groups, sites and the stations of EVSEs."""
    await replica.register("CS-1", group_id="north")
    await replica.register("CS-2")
    await replica.register("CS-3", site_id="mall")
    await agreed(replica, scope=scope, terms=LIMITED)
    shaped = [name for name in ("CS-1", "CS-2", "CS-3") if await wanted(replica, name) is not None]
    assert shaped == covered


async def test_the_agreement_that_began_last_wins(replica: Replica) -> None:
    """Two in force at once at one station."""
    await replica.register("CS-1")
    await agreed(replica, name="A-2", terms=LIMITED, valid_from=NOW - timedelta(days=9))
    await agreed(replica, name="A-1", terms=StationTerms(charging_speed=ChargingSpeed(limit=1)))
    assert await wanted(replica) == (1, "agreement:A-1")


async def test_an_agreement_s_hours_reach_auth(replica: Replica) -> None:
    """By the station's snapshot, like an operator's own hours."""
    await replica.register("CS-1")
    hours = OpeningHours(timezone="UTC", weekly={"mon": (("00:00", "12:00"),)})
    await agreed(replica, terms=StationTerms(opening_hours=hours))
    assert replica.told("stations.state", StationState)[-1].opening_hours == hours


async def test_hours_that_nobody_understands_shape_nothing(replica: Replica) -> None:
    """A bad agreement must not stop the stations in its scope from being looked after."""
    await replica.register("CS-1")
    hours = OpeningHours(timezone="Mars/Olympus", weekly={})
    await agreed(replica, terms=StationTerms(opening_hours=hours))
    assert await replica.settings("CS-1") == {}


async def test_a_station_joins_while_its_layer_changes(
    replica: Replica, make_replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer commits within the station's transaction, which does not see it: it comes."""
    other: Replica = await make_replica()
    reconcile = replica.reconciler.reconcile

    async def meanwhile(station_ids: Any, session: Any) -> None:
        monkeypatch.undo()
        await put(other, "group:G-1", speed(11_000))
        await reconcile(station_ids, session)

    monkeypatch.setattr(replica.reconciler, "reconcile", meanwhile)
    await replica.register("CS-1", group_id="G-1")
    await replica.settle()
    assert await wanted(replica) == (11_000, "group:G-1")


async def test_a_layer_changes_while_a_station_joins(
    replica: Replica, make_replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The station comes within the layer's transaction, and is looked at before that commits."""
    other: Replica = await make_replica()
    found = replica.store.find_stations_of_layer

    async def meanwhile(name: str, session: Any) -> list[str]:
        monkeypatch.undo()
        stations = await found(name, session)
        await other.register("CS-1", group_id="G-1")
        await other.settle()
        return stations

    monkeypatch.setattr(replica.store, "find_stations_of_layer", meanwhile)
    await put(replica, "group:G-1", speed(11_000))
    assert await wanted(replica) == (11_000, "group:G-1")
