"""The token key is replaced while both replicas serve: no card, no charge, no name is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import CARD, KEY, NOW, REF, asked, authorize, card, started16
from auth.conftest import replica_on
from auth.one_off_commands import one_off
from voltbus_auth.local_lists.domain.plans import Plan
from voltbus_auth.local_lists.handlers.marking import Marking
from voltbus_auth.rekey import rekey
from voltbus_auth.tokens.api.bodies import TokenRequest, entry
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import Value
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from pathlib import Path

    from auth.conftest import Clock, Served

pytestmark = pytest.mark.stack

NEW = TokenKey(b"another-secret-of-32-bytes-or-so")
# The three steps, each as the files are set then: (first, other).
OLD_FIRST = TokenKey(KEY._secret, NEW)
NEW_FIRST = TokenKey(NEW._secret, KEY)
FIRST, SECOND = "04A1A2A3A4A5A6", "04B1B2B3B4B5B6"
S = AuthorizationStatus


async def registered(served: Served, value: str, key: TokenKey, kind: str = "ISO14443") -> str:
    """Register a token under a key; its reference, "" when it is there already."""
    token, stored = entry(TokenRequest(id_token=value, type=kind), key)
    made = await served.store.token.create(token, stored, NOW)
    return made.token.ref if made is not None else ""


async def is_followed(served: Served, ref: str) -> bool:
    """Whether a change of this token marks the list of a station whose plan wants its group."""
    stations = served.database["local_list_stations"]
    await served.store.plan.create(Plan("group:north", token_groups=("FLEET",)), NOW)
    await stations.replace_one({"_id": "CS-1"}, {"plans": ["group:north"], "marks": 0}, upsert=True)
    await served.database["tokens"].update_one({"_id": ref}, {"$set": {"group_id": "FLEET"}})
    marking = Marking(
        served.store.lists, now=lambda: NOW, settle=timedelta(seconds=1), wake=lambda _: None
    )
    await marking.tokens_changed([ref])
    marked = await stations.find_one({"_id": "CS-1"})
    return marked is not None and marked["marks"] == 1


async def status(served: Served, clock: Clock, key: TokenKey, value: str, kind: str) -> S:
    """What a replica with this key answers to a token."""
    told = await replica_on(served.store, clock, key=key).handle(
        asked(authorize(card(value, kind)))
    )
    found: S = told.answer.decision.status
    return found


async def test_from_the_old_key_to_the_new_one(served: Served, clock: Clock) -> None:
    """At each step every replica accepts every token, with or without its type, under one name.

    Local lists follow it by that name all the time (ADR 10).
    """
    emaid = "NL-TNM-C00122045-K"
    first = await registered(served, FIRST, KEY)
    contract = await registered(served, emaid, KEY, "eMAID")
    known = [(FIRST, "ISO14443"), (FIRST, ""), (emaid, "eMAID"), ("NLTNMC00122045K", "")]

    async def all_accepted(*keys: TokenKey) -> None:
        for key in keys:
            for value, kind in known:
                assert await status(served, clock, key, value, kind) is S.ACCEPTED
        assert await is_followed(served, first)

    assert await status(served, clock, NEW_FIRST, FIRST, "") is S.UNKNOWN
    assert await rekey(served.store, OLD_FIRST) == 0
    second = await registered(served, SECOND, OLD_FIRST)
    known.append((SECOND, "ISO14443"))
    await all_accepted(KEY, OLD_FIRST, NEW_FIRST)
    third = await registered(served, CARD, NEW_FIRST)
    known.append((CARD, ""))
    await all_accepted(OLD_FIRST, NEW_FIRST)
    assert await registered(served, CARD.lower(), OLD_FIRST) == ""
    assert await registered(served, FIRST, NEW_FIRST) == ""
    assert await rekey(served.store, NEW) == 0
    await all_accepted(NEW)
    assert await status(served, clock, KEY, FIRST, "ISO14443") is S.UNKNOWN
    stored = await served.database["tokens"].find().to_list(None)
    assert {one["_id"] for one in stored} == {first, contract, second, third}
    assert third == NEW.ref("ISO14443", CARD) != REF


async def test_a_second_run_finds_nothing_to_do(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be stopped and run again: what is done is left as it is, and no event is told."""
    for number in range(3):
        await registered(served, f"{number:08X}", KEY)
    events = len(await served.events("tokens.events"))
    await rekey(served.store, OLD_FIRST)
    assert "3 tokens, 3 changed" in capsys.readouterr().out
    await rekey(served.store, OLD_FIRST)
    assert "3 tokens, 0 changed" in capsys.readouterr().out
    assert len(await served.events("tokens.events")) == events


async def test_a_token_without_its_value(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was stored without a vault cannot be found again: it is counted, and left alone."""
    await registered(served, FIRST, KEY)
    await served.database["tokens"].update_one({}, {"$unset": {"value": ""}})
    assert await rekey(served.store, NEW_FIRST) == 1
    assert "1 tokens were stored without" in capsys.readouterr().err
    (document,) = await served.database["tokens"].find().to_list(None)
    assert document["refs"] == KEY.all_of("ISO14443", FIRST)


async def test_a_start_that_is_resent_after_the_swap(served: Served, clock: Clock) -> None:
    """1.6: the same start under the other key is the same transaction, with the same id."""
    await registered(served, CARD, OLD_FIRST)
    before = await replica_on(served.store, clock, key=OLD_FIRST).handle(asked(started16()))
    after = await replica_on(served.store, clock, key=NEW_FIRST).handle(asked(started16()))
    assert after.answer.transaction_id == before.answer.transaction_id
    assert len(await served.store.transaction_records()) == 1


async def test_an_import_under_the_other_key(served: Served) -> None:
    """A token that exists is found by what it is, whichever key made its reference."""
    ref = await registered(served, CARD, OLD_FIRST)
    _, value = entry(TokenRequest(id_token=CARD), NEW_FIRST)
    known = await served.store.token.known(value.identities)
    assert {one.ref for one in known.values()} == {ref}
    fresh = Token(ref=value.identities[0], type="ISO14443")
    assert not await served.store.token.put_many([(fresh, value)], [], NOW)
    assert isinstance(value, Value)


async def test_as_a_command(served: Served, tmp_path: Path) -> None:
    """As an operator runs it: exit code 0 and a summary; a wrong setting is one line and 2."""
    await registered(served, FIRST, KEY)
    for name, key in (("old.key", KEY), ("new.key", NEW)):
        (tmp_path / name).write_bytes(key._secret)
    keys = {
        "VOLTBUS_TOKEN_KEY_FILE": str(tmp_path / "old.key"),
        "VOLTBUS_TOKEN_KEY_OTHER_FILE": str(tmp_path / "new.key"),
    }
    code, out, err = await one_off(served, "voltbus_auth.rekey", keys)
    assert (code, err) == (0, "")
    assert "1 tokens, 1 changed" in out
    (document,) = await served.database["tokens"].find().to_list(None)
    assert document["identities"] == OLD_FIRST.identities("ISO14443", FIRST)
    keys["VOLTBUS_TOKEN_KEY_OTHER_FILE"] = str(tmp_path / "none")
    code, out, err = await one_off(served, "voltbus_auth.rekey", keys)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "VOLTBUS_TOKEN_KEY_OTHER_FILE must be a readable file" in line
