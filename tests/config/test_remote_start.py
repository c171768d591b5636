"""A remote start without a type takes the registered token's (2.x C05, C01.FR.25)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CommandAccepted, CommandRequested
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from config.conftest import Replica

pytestmark = pytest.mark.stack

CARD = "04A2B3C4D5E680"


async def at(replica: Replica, protocol: Protocol) -> Replica:
    await replica.register("CS-1")
    await replica.arrive("CS-1", protocol)
    return replica


async def start(replica: Replica, **body: Any) -> Any:
    path = "/v1/stations/CS-1/commands"
    body = {"action": "remote_start", "payload": {"id_token": CARD}, **body}
    return await replica.client.post(path, json=body)


@pytest.mark.parametrize("protocol", [Protocol.OCPP201, Protocol.OCPP21])
async def test_a_registered_card_starts_as_what_it_is(replica: Replica, protocol: Protocol) -> None:
    """Equality is value and type: a card that goes out as Central would be Unknown (C01.FR.25)."""
    replica.tokens.types[CARD] = "ISO14443"
    await at(replica, protocol)
    assert (await start(replica)).status_code == 202
    call = await replica.call("CS-1", "RequestStartTransaction")
    assert call.payload["idToken"] == {"idToken": CARD, "type": "ISO14443"}


@pytest.mark.parametrize(("given", "sent"), [(None, "Central"), ("KeyCode", "KeyCode")])
async def test_what_nobody_registered_is_central(
    replica: Replica, given: str | None, sent: str
) -> None:
    """As it was (2.x C05); and a type that the operator gives is the one that goes out."""
    await at(replica, Protocol.OCPP201)
    payload = {"id_token": CARD} | ({} if given is None else {"type": given})
    assert (await start(replica, payload=payload)).status_code == 202
    call = await replica.call("CS-1", "RequestStartTransaction")
    assert call.payload["idToken"]["type"] == sent


async def test_while_auth_is_away_a_type_must_be_given(replica: Replica) -> None:
    """A guess would start for nobody: 503 says what helps. 1.6 has no types, and a retry none."""
    await at(replica, Protocol.OCPP201)
    first = await start(replica, idempotency_key="k")
    replica.tokens.away = True
    refused = await start(replica)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "payload.type" in refused.json()["detail"]
    assert CARD not in refused.text
    again = await start(replica, idempotency_key="k")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    typed = {"id_token": CARD, "type": "ISO14443"}
    assert (await start(replica, payload=typed)).status_code == 202
    await replica.connect("CS-1", Protocol.OCPP16)
    assert (await start(replica)).status_code == 202


@pytest.mark.parametrize(("away", "kind"), [(False, "ISO14443"), (True, "Central")])
async def test_over_kafka_it_is_the_same(replica: Replica, *, away: bool, kind: str) -> None:
    """But nothing is lost while auth is away; and a retry has the same fingerprint."""
    replica.tokens.types[CARD] = "ISO14443"
    replica.tokens.away = away
    await at(replica, Protocol.OCPP201)
    request = CommandRequested(
        station_id="CS-1", action="remote_start", payload={"id_token": CARD}, idempotency_key="k"
    )
    answers = await replica.ask(event(registry.COMMAND, request))
    replica.tokens.away = not away
    answers += await replica.ask(event(registry.COMMAND, request))
    ids = {each.command_id for each in answers if isinstance(each, CommandAccepted)}
    assert len(ids) == 1
    call = await replica.call("CS-1", "RequestStartTransaction")
    assert call.payload["idToken"]["type"] == kind
