"""Reservations from REST to the station and back (1.6 §5.2, §5.13; 2.x H01-H04)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import TokenChanged, TransactionChanged
from voltbus_backbone.contract.config import CallOutcome, ReservationChanged
from voltbus_backbone.contract.stations import StationReported
from voltbus_backbone.contract.values import Protocol
from voltbus_config.handlers.reservations import ReservationHandler

if TYPE_CHECKING:
    import httpx

    from config.conftest import Replica

pytestmark = pytest.mark.stack

CARD = "04A2B3C4D5E680"
ACCEPTED = {"status": "Accepted"}


@pytest.fixture
async def here(replica: Replica) -> Replica:
    """A replica with a connected 2.0.1 station and a registered card."""
    replica.tokens.types[CARD] = "ISO14443"
    await replica.register("CS-1")
    await replica.arrive("CS-1", Protocol.OCPP201)
    return replica


def wanted(replica: Replica, **fields: Any) -> dict[str, Any]:
    """A request for a place, a quarter of an hour from now."""
    until = replica.hands() + timedelta(minutes=15)
    return {
        "station_id": "CS-1",
        "evse_id": 1,
        "id_token": CARD,
        "expires_at": until.isoformat(),
        **fields,
    }


async def post(replica: Replica, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await replica.client.post(
        "/v1/reservations", json=wanted(replica, **fields), headers=headers
    )


async def reserve(replica: Replica, **fields: Any) -> dict[str, Any]:
    answer = await post(replica, **fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/reservations/{found['id']}"
    return found


async def active(replica: Replica) -> dict[str, Any]:
    """A reservation that the station has accepted."""
    made = await reserve(replica)
    await replica.end(await replica.call("CS-1", "ReserveNow"), ACCEPTED)
    return made


async def see(replica: Replica, made: dict[str, Any]) -> dict[str, Any]:
    answer = await replica.client.get(f"/v1/reservations/{made['id']}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def told(replica: Replica, made: dict[str, Any]) -> list[str]:
    """The states that were made public, in order."""
    found = replica.told("commands.events", ReservationChanged, id=made["id"])
    return [each.state for each in found]


def reservations(replica: Replica) -> ReservationHandler:
    return ReservationHandler(replica.context)


async def report(replica: Replica, made: dict[str, Any], status: str) -> None:
    """The station says what became of it."""
    message = StationReported(
        station_id="CS-1",
        protocol=Protocol.OCPP201,
        action="ReservationStatusUpdate",
        at=replica.hands(),
        payload={"reservationId": made["reservation_id"], "reservationUpdateStatus": status},
    )
    await reservations(replica).handle([event(registry.STATION_REPORTED, message)])
    await replica.settle()


async def charge(replica: Replica, number: int, station_id: str = "CS-1") -> None:
    """A transaction began with a reservation."""
    message = TransactionChanged(
        transaction_ref="tx-1",
        station_id=station_id,
        protocol=Protocol.OCPP201,
        transaction_id="t",
        revision=1,
        state="active",
        at=replica.hands(),
        reservation_id=number,
    )
    await reservations(replica).handle([event(registry.TRANSACTION_STARTED, message)] * 2)
    await replica.settle()


async def test_a_place_is_kept_and_used(here: Replica) -> None:
    """Pending, active by the station's answer, used by the transaction that names its number."""
    made = await reserve(here)
    assert (made["state"], made["token_ref"]) == ("pending", "ref-of-ISO14443-14")
    call = await here.call("CS-1", "ReserveNow")
    assert call.payload == {
        "id": made["reservation_id"],
        "evseId": 1,
        "expiryDateTime": "2026-06-01T12:15:00Z",
        "idToken": {"idToken": CARD, "type": "ISO14443"},
    }
    await here.end(call, ACCEPTED)
    assert (await see(here, made))["state"] == "active"
    await charge(here, made["reservation_id"] + 1)
    await charge(here, made["reservation_id"], "CS-2")
    assert (await see(here, made))["state"] == "active"
    await charge(here, made["reservation_id"])
    shown = await see(here, made)
    assert (shown["state"], shown["transaction_ref"]) == ("used", "tx-1")
    assert told(here, made) == ["pending", "active", "used"]


async def test_the_card_is_nowhere_but_on_its_way(here: Replica) -> None:
    """Answers, events and, once the call has ended, the store name it by reference only."""
    made = await active(here)
    events = [each for each in here.bus.events("commands.events") if each.data is not None]
    assert events
    assert not any(CARD.encode() in (each.data or b"") for each in events)
    assert CARD not in str(made)
    for name in ("reservations", "commands", "idempotency_keys"):
        found = await here.database[name].find({}).to_list(None)
        assert CARD not in str(found)


async def test_the_same_key_keeps_one_place(here: Replica) -> None:
    """A retry finds its reservation; another card under the key is another request."""
    first, again = await post(here, key="k"), await post(here, key="k")
    assert first.json() == again.json()
    here.tokens.types["04FF"] = "ISO14443"
    assert (await post(here, key="k", id_token="04FF")).status_code == 422
    assert len(here.calls("CS-1")) <= 1


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        ({"payload": {"status": "Occupied"}}, "rejected", "the station answered Occupied"),
        (
            {"outcome": CallOutcome.REJECTED, "error_code": "NotImplemented"},
            "rejected",
            "rejected by station: NotImplemented",
        ),
    ],
)
async def test_a_station_that_keeps_none(
    here: Replica, end: dict[str, Any], state: str, reason: str
) -> None:
    """The reservation says why; it can't be cancelled any more."""
    made = await reserve(here)
    await here.end(await here.call("CS-1", "ReserveNow"), **end)
    shown = await see(here, made)
    assert (shown["state"], shown["reason"]) == (state, reason)
    assert (await here.client.delete(f"/v1/reservations/{made['id']}")).status_code == 409


async def test_a_station_that_says_nothing_is_asked_to_keep_nothing(here: Replica) -> None:
    """It may have heard: what we call rejected must not hold its place (2.x H02)."""
    made = await reserve(here)
    await here.end(await here.call("CS-1", "ReserveNow"), outcome=CallOutcome.TIMED_OUT)
    assert (await see(here, made))["state"] == "rejected"
    call = await here.call("CS-1", "CancelReservation")
    assert call.payload == {"reservationId": made["reservation_id"]}
    await here.end(call, {"status": "Rejected"})
    assert told(here, made) == ["pending", "rejected"]


@pytest.mark.parametrize(("said", "state"), [("Accepted", "cancelled"), ("Rejected", "removed")])
async def test_a_reservation_is_given_back(here: Replica, said: str, state: str) -> None:
    """By asking the station, once; it stays active until the station has answered (2.x H02)."""
    made = await active(here)
    for _ in range(2):
        answer = await here.client.delete(f"/v1/reservations/{made['id']}")
        assert (answer.status_code, answer.json()["state"]) == (202, "active")
    await here.end(await here.call("CS-1", "CancelReservation"), {"status": said})
    assert (await see(here, made))["state"] == state
    assert [call.action for call in here.calls("CS-1")] == ["ReserveNow", "CancelReservation"]


async def test_a_cancellation_that_was_not_heard_can_be_asked_for_again(here: Replica) -> None:
    """The place may still be kept: the state says so, and why."""
    made = await active(here)
    path = f"/v1/reservations/{made['id']}"
    await here.client.delete(path)
    call = await here.call("CS-1", "CancelReservation")
    await here.end(call, outcome=CallOutcome.TIMED_OUT, error_description="lost")
    shown = await see(here, made)
    assert (shown["state"], shown["reason"]) == ("active", "not cancelled: lost")
    await here.client.delete(path)
    await here.end(await here.call("CS-1", "CancelReservation"), ACCEPTED)
    assert (await see(here, made))["state"] == "cancelled"


async def test_what_the_station_was_not_asked_yet_is_cancelled_at_once(replica: Replica) -> None:
    """Nothing goes out when it comes back; cancelling twice is fine."""
    await replica.register("CS-1")
    await replica.boot("CS-1", Protocol.OCPP201)
    made = await reserve(replica)
    for _ in range(2):
        answer = await replica.client.delete(f"/v1/reservations/{made['id']}")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    await replica.arrive("CS-1", Protocol.OCPP201)
    assert replica.calls("CS-1") == []
    assert told(replica, made) == ["pending", "cancelled"]


async def test_a_cancellation_overtakes_no_request_that_is_out(here: Replica) -> None:
    """CancelReservation waits for the answer to ReserveNow (A13)."""
    made = await reserve(here)
    call = await here.call("CS-1", "ReserveNow")
    await here.client.delete(f"/v1/reservations/{made['id']}")
    await here.end(call, ACCEPTED)
    await here.end(await here.call("CS-1", "CancelReservation"), ACCEPTED)
    assert (await see(here, made))["state"] == "cancelled"
    assert [each for each in told(here, made) if each != "pending"][-1] == "cancelled"


async def test_time_releases_it(here: Replica) -> None:
    """Whether the station kept it or was never there; a driver who came in time still counts."""
    made = await active(here)
    await here.register("CS-2")
    await here.boot("CS-2", Protocol.OCPP201)
    unheard = await reserve(here, station_id="CS-2")
    here.hands.move(14 * 60)
    assert await reservations(here).expire_due() == 0
    here.hands.move(60)
    assert await reservations(here).expire_due() == 2
    await here.settle()
    assert await reservations(here).expire_due() == 0
    assert (await see(here, made))["state"] == (await see(here, unheard))["state"] == "expired"
    await charge(here, made["reservation_id"])
    assert told(here, made) == ["pending", "active", "expired", "used"]


async def test_what_a_2x_station_says_of_it(here: Replica) -> None:
    """ReservationStatusUpdate (2.x H04, H01); of a number that is none of ours, nothing."""
    made = await active(here)
    await report(here, {"reservation_id": made["reservation_id"] + 1}, "Removed")
    await report(here, made, "Removed")
    await report(here, made, "Expired")
    assert told(here, made) == ["pending", "active", "removed"]


async def test_a_station_that_is_registered_no_more_keeps_nothing(here: Replica) -> None:
    """Its open reservations end with it."""
    made = await active(here)
    assert (await here.client.delete("/v1/stations/CS-1")).status_code == 204
    shown = await see(here, made)
    assert (shown["state"], shown["reason"]) == ("removed", "the station is registered no more")


async def test_an_erased_driver_is_named_no_more(here: Replica) -> None:
    """The pseudonym goes too (GDPR Art. 17; 2.x N10)."""
    made = await active(here)
    message = TokenChanged(
        token_ref=made["token_ref"], type="ISO14443", status="erased", revision=2, at=here.hands()
    )
    await reservations(here).handle([event(registry.TOKEN_ERASED, message)])
    assert (await see(here, made))["token_ref"] is None


async def test_reservations_are_listed(here: Replica) -> None:
    """By station, token and state."""
    first = await active(here)
    second = await reserve(here, evse_id=2)
    for params, names in (
        ({"station_id": "CS-1"}, {first["id"], second["id"]}),
        ({"state": "active"}, {first["id"]}),
        ({"token_ref": first["token_ref"], "state": "pending"}, {second["id"]}),
        ({"station_id": "CS-2"}, set()),
    ):
        answer = await here.client.get("/v1/reservations", params=params)
        assert {each["id"] for each in answer.json()["data"]} == names


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"expires_at": "2026-05-31T12:00:00Z"}, 422, "expires_at"),
        ({"expires_at": "2026-06-02T12:00:00"}, 422, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, 422, "expires_at"),
        ({"evse_id": -1}, 422, "evse_id"),
        ({"id_token": ""}, 422, "id_token"),
        ({"id_token": "a\0b"}, 422, "id_token"),
        ({"type": "ISO\n14443"}, 422, "type"),
        ({"colour": "red"}, 422, "body"),
        ({"station_id": "CS-9"}, 404, None),
    ],
)
async def test_a_senseless_reservation_is_refused(
    here: Replica, fields: dict[str, Any], status: int, field: str | None
) -> None:
    """What is wrong is named, without the card; nothing is kept."""
    answer = await post(here, **fields)
    assert answer.status_code == status
    assert [each["field"] for each in answer.json().get("errors", ())] == ([field] if field else [])
    assert CARD not in answer.text
    assert (await here.client.get("/v1/reservations")).json()["data"] == []


async def test_while_auth_is_away_nothing_is_reserved(here: Replica) -> None:
    """Whom it is for is known by auth's reference only: 503, to be tried again."""
    here.tokens.away = True
    answer = await post(here)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_unknown_reservations_are_not_found(replica: Replica) -> None:
    """To see, and to cancel."""
    for method in ("GET", "DELETE"):
        answer = await replica.client.request(method, "/v1/reservations/rsv-1")
        assert answer.status_code == 404


async def test_the_call_behind_it_is_not_cancelled_by_itself(replica: Replica) -> None:
    """A reservation without its call would be pending for ever: 409."""
    await replica.register("CS-1")
    made = await reserve(replica)
    assert (await replica.client.delete(f"/v1/commands/{made['command_id']}")).status_code == 409
    answer = await replica.client.post(
        "/v1/stations/CS-1/commands", json={"action": "reserve", "payload": {}}
    )
    assert answer.status_code == 422
