"""A token whose holder was forgotten leaves every agreement and all of their history."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agreements.agreement_examples import NOW, after, draft
from voltbus_agreements.domain import lifecycle
from voltbus_agreements.domain.agreement import Command, EventKind
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.agreements import AgreementToken
from voltbus_backbone.contract.auth import TokenChanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agreements.conftest import Replica
    from voltbus_backbone.bus.envelope import Event

REF, OTHER = "a" * 64, "b" * 64
TOKENS = [{"ref": REF, "type": "ISO14443"}, {"ref": OTHER, "type": "ISO14443"}]
_COMMANDS: list[tuple[Command, ...]] = [
    (),
    (Command.ACTIVATE,),
    (Command.ACTIVATE, Command.SUSPEND),
    (Command.ACTIVATE, Command.TERMINATE),
]


def erased() -> Event:
    """What auth tells when the holder of a token was forgotten."""
    message = TokenChanged(token_ref=REF, type="ISO14443", status="erased", revision=2, at=NOW)
    record = envelope.event(registry.TOKEN_ERASED, message, id=f"{REF}:2", source="/auth", now=NOW)
    return envelope.parse(record.headers, record.value, topic=record.topic, key=record.key)


@pytest.mark.parametrize("commands", _COMMANDS)
def test_forgotten_in_every_state(commands: tuple[Command, ...]) -> None:
    """A person's wish goes before the rules of amendment; one revision, one event, and a cause."""
    tokens = (AgreementToken(ref=REF, type="ISO14443"), AgreementToken(ref=OTHER, type="ISO14443"))
    agreement = after(draft(tokens=tokens), *commands)
    later = NOW + timedelta(hours=1)
    change = lifecycle.forget_tokens(agreement, {REF}, now=later)
    assert change is not None
    assert [token.ref for token in change.agreement.terms.tokens] == [OTHER]
    assert (change.agreement.status, change.agreement.at) == (agreement.status, later)
    assert change.agreement.revision == agreement.revision + 1
    assert (change.event, change.cause) == (EventKind.UPDATED, "token_erased")
    assert lifecycle.forget_tokens(change.agreement, {REF}, now=later) is None


async def everywhere(replica: Replica) -> str:
    """Every document of the service but what waits to be sent, as text."""
    found = [
        str(document)
        for name in await replica.database.list_collection_names()
        if name not in {"outbox", "idempotency"}
        for document in await replica.database[name].find().to_list(None)
    ]
    return "".join(found)


@pytest.mark.stack
async def test_an_erased_token_is_nowhere(replica: Replica) -> None:
    """Out of the agreement, its history and its claims; one event, however often it is told."""
    made = await replica.made(tokens=TOKENS)
    amended = await replica.made(tokens=[{"ref": REF, "type": "ISO14443"}], activate=False)
    path = f"/v1/agreements/{amended['id']}"
    answer = await replica.client.patch(path, json={"tokens": []}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200
    before = len(await replica.told())
    await replica.handlers.forget_tokens([erased(), erased()])
    await replica.handlers.forget_tokens([erased()])
    found = await replica.read(made["id"])
    assert [token["ref"] for token in found["tokens"]] == [OTHER]
    assert (found["status"], found["revision"]) == ("active", 3)
    assert REF not in await everywhere(replica)
    assert OTHER in await everywhere(replica)
    (told,) = (await replica.told())[before:]
    assert told.type == registry.AGREEMENT_UPDATED.name
    assert [token.ref for token in told.message.tokens] == [OTHER]
    history = (await replica.client.get(f"/v1/agreements/{made['id']}/history")).json()["data"]
    assert history[0]["cause"] == "token_erased"
    assert len(history) == 3


@pytest.mark.stack
async def test_the_last_token(replica: Replica) -> None:
    """An agreement without a token stays active and can be read, amended and terminated."""
    made = await replica.made(tokens=TOKENS[:1])
    await replica.handlers.forget_tokens([erased()])
    found = await replica.read(made["id"])
    assert (found["tokens"], found["status"]) == ([], "active")
    answer = await replica.client.post(f"/v1/agreements/{made['id']}/terminate")
    assert answer.status_code == 200


@pytest.mark.stack
async def test_two_replicas_and_an_operator_at_once(
    make_replica: Callable[..., Awaitable[Replica]],
) -> None:
    """While others suspend and resume the same agreement, the token leaves, in one revision."""
    first, other = await make_replica(), await make_replica()
    made = await first.made(tokens=TOKENS)
    path = f"/v1/agreements/{made['id']}"
    await asyncio.gather(
        first.handlers.forget_tokens([erased()]),
        other.client.post(f"{path}/suspend"),
        other.handlers.forget_tokens([erased()]),
        first.client.patch(path, json={"name": "Other"}, headers={"If-Match": "*"}),
    )
    found = await first.read(made["id"])
    assert [token["ref"] for token in found["tokens"]] == [OTHER]
    assert (found["status"], found["name"], found["revision"]) == ("suspended", "Other", 5)
    assert REF not in await everywhere(first)
