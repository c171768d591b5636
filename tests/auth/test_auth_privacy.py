"""Nothing readable leaves auth, and a person's token can be forgotten (ocpp-rules B, privacy)."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from auth.auth_examples import (
    CARD,
    HOUR,
    KEY,
    NOW,
    REF,
    asked,
    authorize,
    card,
    said,
    started16,
    stopped16,
)
from auth.conftest import replica_on
from auth.one_off_commands import one_off
from voltbus_auth.database import Store
from voltbus_auth.reencrypt_tokens import reencrypt_tokens
from voltbus_auth.settings import Settings
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import Value
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack


async def lived(served: Served, clock: Clock) -> None:
    """A token is registered, asked for, charges in 1.6 and starts in 2.x."""
    answer = await served.client.post(
        "/v1/tokens", json={"id_token": CARD, "max_concurrent": 5}, headers={"Idempotency-Key": "1"}
    )
    assert answer.status_code == 201
    replica = replica_on(served.store, clock)
    await replica.handle(asked(authorize()))
    start = await replica.handle(asked(started16()))
    await replica.handle(asked(stopped16(start.answer.transaction_id, NOW + HOUR)))
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, station_id="CS-2", id_token=card())))
    await served.store.journal.flush()


async def test_nothing_readable_is_stored(served: Served, clock: Clock) -> None:
    """After a whole life no document of any collection holds the token's value."""
    await lived(served, clock)
    await served.events("tokens.events")
    for name in await served.database.list_collection_names():
        for document in await served.database[name].find().to_list(None):
            assert CARD not in str(document), name
            assert CARD.lower() not in str(document), name


async def test_nothing_readable_is_logged(
    served: Served,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even at debug level does a log line hold the value."""
    with caplog.at_level(logging.DEBUG):
        await lived(served, clock)
        await served.client.post("/v1/tokens", json={"id_token": CARD})
        await served.client.post("/v1/tokens", json={"id_token": CARD, "status": CARD})
    output = capsys.readouterr()
    ours = "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("voltbus")
    )
    assert CARD not in output.out + output.err + ours


async def test_erasure(served: Served, clock: Clock) -> None:
    """Token and decisions go, what was charged stays under a name that leads nowhere."""
    await lived(served, clock)
    answer = await served.client.post(f"/v1/tokens/{REF}/erase", headers={"If-Match": "*"})
    assert answer.status_code == 200
    done = answer.json()
    assert (done["transactions"], done["decisions"]) == (2, 3)
    assert done["by"] == "local-operator"
    assert (await served.client.get(f"/v1/tokens/{REF}")).status_code == 404
    for name in ("tokens", "transactions", "decisions", "open_transactions", "erasures"):
        documents = await served.database[name].find().to_list(None)
        assert REF not in str(documents), name
    assert (await served.client.get("/v1/erasures")).json()["data"] == [done]
    events = await served.events("tokens.events")
    assert [event.type.split(".")[2] for event in events] == ["created", "erased"]


async def test_erasure_of_what_it_was_before(served: Served, clock: Clock) -> None:
    """1.6 knew the card by its value alone before it was registered: that name goes too."""
    replica = replica_on(served.store, clock)
    unknown = authorize(card(kind=""), protocol=Protocol.OCPP16)
    await replica.handle(asked(unknown), asked(started16(NOW - HOUR)))
    await lived(served, clock)
    refs = KEY.all_of("ISO14443", CARD)
    assert len(refs) > 1
    done = (await served.client.post(f"/v1/tokens/{REF}/erase", headers={"If-Match": "*"})).json()
    assert (done["transactions"], done["decisions"]) == (3, 5)
    for name in ("tokens", "transactions", "decisions"):
        documents = await served.database[name].find().to_list(None)
        assert not any(ref in str(documents) for ref in refs), name


async def test_a_resent_start_does_not_name_who_was_erased(served: Served, clock: Clock) -> None:
    """A refused start that comes again after the erasure keeps the name that leads nowhere."""
    replica = replica_on(served.store, clock)
    refused = said(Phase.STARTED, NOW, 0, id_token=card(kind="ISO15693"))
    await replica.handle(asked(refused))
    made = await served.client.post("/v1/tokens", json={"id_token": CARD, "type": "ISO15693"})
    ref = made.json()["ref"]
    await served.client.post(f"/v1/tokens/{ref}/erase", headers={"If-Match": "*"})
    later = said(Phase.UPDATED, NOW - HOUR, 1, id_token=card(kind="ISO15693"))
    await replica.handle(asked(refused), asked(later))
    (record,) = await served.store.transaction_records()
    assert record.token is not None
    assert record.token.token_ref.startswith("erased:")


async def test_the_audit_has_pages(served: Served) -> None:
    """However many were erased, each can be read, in both directions, as in every other list."""
    ids: list[str] = []
    for number in range(3):
        made = await served.client.post("/v1/tokens", json={"id_token": f"04A1B2C{number}"})
        done = await served.client.post(
            f"/v1/tokens/{made.json()['ref']}/erase", headers={"If-Match": "*"}
        )
        ids.insert(0, done.json()["id"])
    first = (await served.client.get("/v1/erasures", params={"limit": 2})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = (await served.client.get("/v1/erasures", params={"starting_after": ids[1]})).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[2:], False)
    back = (await served.client.get("/v1/erasures", params={"ending_before": ids[2]})).json()
    assert [one["id"] for one in back["data"]] == ids[:2]
    wrong = await served.client.get("/v1/erasures", params={"starting_after": "nothing"})
    assert wrong.status_code == 422
    assert wrong.headers["content-type"] == "application/problem+json"


async def test_erased_while_charging(served: Served, clock: Clock) -> None:
    """The stop of a session whose token was erased is recorded, and brings no name back."""
    await lived(served, clock)
    answer = await served.client.delete(
        f"/v1/tokens/{REF}", params={"erase": True}, headers={"If-Match": "*"}
    )
    assert answer.status_code == 204
    replica = replica_on(served.store, clock)
    told = await replica.handle(
        asked(said(Phase.ENDED, NOW + HOUR, 1, station_id="CS-2", id_token=card()))
    )
    ended = told.events[0][2]
    assert ended.state == "ended"
    assert ended.token_ref.startswith("erased:")


async def test_another_field_key(served: Served, tmp_path: Path, clock: Clock) -> None:
    """With a key that is not the database's it does not start, and harms nothing."""
    field_key = tmp_path / "other.key"
    field_key.write_bytes(base64.b64encode(bytes(96)))
    settings = served.settings.model_copy(update={"field_key_file": field_key})
    with pytest.raises(SettingsError, match="VOLTBUS_FIELD_KEY_FILE"):
        await Store.open(settings, publisher=MemoryBus(), source="/x", now=clock)
    right = await Store.open(served.settings, publisher=MemoryBus(), source="/x", now=clock)
    await right.close()
    field_key.write_bytes(b"not a key")
    with pytest.raises(SettingsError, match="96 bytes"):
        await Store.open(settings, publisher=MemoryBus(), source="/x", now=clock)


async def test_another_master_key(served: Served, tmp_path: Path, clock: Clock) -> None:
    """A new first line, one run of the command, and the old line is needed no more."""
    numbers = [f"{number:08X}" for number in range(3)]
    for number in numbers:
        await served.client.post("/v1/tokens", json={"id_token": number})
    field_key = tmp_path / "field.key"
    old, new = field_key.read_bytes(), base64.b64encode(bytes(range(100, 196)))
    field_key.write_bytes(new + b"\n" + old + b"\n")
    code, out, err = await one_off(served, "voltbus_auth.reencrypt_tokens", {})
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("Done: 3 values")
    both = await Store.open(served.settings, publisher=MemoryBus(), source="/x", now=clock)
    assert await reencrypt_tokens(both) == 0
    await both.close()
    field_key.write_bytes(new)
    only = await Store.open(served.settings, publisher=MemoryBus(), source="/x", now=clock)
    values = [value async for portion in only.token.all(readable=True) for _, value in portion]
    await only.close()
    assert sorted(value or "" for value in values) == numbers
    await served.database["field_keys"].delete_many({})


async def test_without_a_master_key(served: Served) -> None:
    """The command says in one line what is not set, and ends with 2."""
    code, out, err = await one_off(
        served, "voltbus_auth.reencrypt_tokens", {"VOLTBUS_FIELD_KEY_FILE": ""}
    )
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "VOLTBUS_FIELD_KEY_FILE" in line


def test_values_hide_themselves() -> None:
    """What carries a value on its way shows nothing of it in a traceback."""
    value = Value(CARD, "…D4", KEY.all_of("ISO14443", CARD), KEY.id, [REF])
    assert CARD not in repr(value) + repr(card()) + repr(KEY) + repr(Token(REF, "ISO14443"))
    settings = Settings(
        http_port=0, mongo_uri=SecretStr("mongodb://u:secret@h"), token_key_file=Path("k")
    )
    assert "secret" not in repr(settings)


async def test_the_audit_names_nobody_who_was_erased(served: Served) -> None:
    """Who changed a token stays known; which token it was does not, once it is erased."""
    made = (await served.client.post("/v1/tokens", json={"id_token": CARD})).json()
    headers = {"If-Match": "*"}
    path = f"/v1/tokens/{made['ref']}"
    await served.client.patch(path, json={"status": "blocked"}, headers=headers)
    before = (await served.client.get("/v1/audit")).json()["data"]
    assert before[0]["resource"] == {"ref": made["ref"]}
    assert (await served.client.post(f"{path}/erase", headers=headers)).status_code == 200
    after = (await served.client.get("/v1/audit")).json()["data"]
    assert [one["route"] for one in after] == [
        "/v1/tokens/{ref}/erase",
        "/v1/tokens/{ref}",
        "/v1/tokens",
    ]
    assert [one["resource"] for one in after] == [{}, {}, {}]
    documents = await served.database["audit"].find().to_list(None)
    assert made["ref"] not in str(documents)
