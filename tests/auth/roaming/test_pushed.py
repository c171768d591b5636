"""Tokens that other systems push over Kafka: the rules of REST, once, whatever is repeated."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from auth.auth_examples import CARD, DAY, KEY, NOW, REF, token
from voltbus_auth.roaming.domain.pushed import Done, Outcome, Overtaken, put, remove
from voltbus_auth.roaming.handlers.pushed_tokens import PushedTokens, Rules
from voltbus_auth.tokens.api import bodies as token_bodies
from voltbus_auth.tokens.api.bodies import TokenRequest, entry
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.token import Token, TokenStatus
from voltbus_backbone.bus import dead_letters
from voltbus_backbone.bus.dead_letters import again, letter_of
from voltbus_backbone.bus.envelope import Asking, Event, parse
from voltbus_backbone.bus.testing import MemoryRecord
from voltbus_backbone.contract.pushed import (
    PutToken,
    PutTokenAnswer,
    RemoveToken,
    RemoveTokenAnswer,
)
from voltbus_backbone.contract.registry import (
    PUT_TOKEN,
    REMOVE_TOKEN,
    TYPES,
    Fault,
    Topic,
)
from voltbus_backbone.errors import InvalidRecord, Unavailable
from voltbus_backbone.values.blanks import trimmed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auth.conftest import Clock, Served
    from voltbus_auth.tokens.store.tokens import Value
    from voltbus_backbone.bus.envelope import Record

RULES = Rules(
    token=partial(token_bodies.pushed, key=KEY), names=partial(token_bodies.named, key=KEY)
)
_offsets = itertools.count(1)

revisions = st.integers(1, 50)
tokens = st.builds(
    Token,
    ref=st.just(REF),
    type=st.just("ISO14443"),
    status=st.sampled_from(TokenStatus),
    revision=revisions,
    language=st.none() | st.sampled_from(("sv", "de")),
)


def pushed(message: PutToken | RemoveToken, *, asks: bool = True) -> Event:
    """A record as it was consumed."""
    number = next(_offsets)
    row = PUT_TOKEN if isinstance(message, PutToken) else REMOVE_TOKEN
    return Event(
        id=f"push-{number}",
        source="/a-provider",
        type=row.name,
        time="2026-03-04T12:00:00.000Z",
        subject=CARD,
        data=msgspec.json.encode(message),
        topic=f"voltbus.{Topic.AUTH_TOKEN_REQUESTS}",
        offset=number,
        key=CARD.encode(),
        asking=Asking(str(number), "partner.inbox", 0, 2**53) if asks else None,
        message=message,
    )


def a_put(value: str = CARD, **fields: Any) -> Event:
    return pushed(PutToken(provider_id="SE-NDL", id_token=value, **fields))


def a_removal(**fields: Any) -> Event:
    return pushed(RemoveToken(provider_id="SE-NDL", **fields))


def read(records: Sequence[Record]) -> tuple[list[Any], list[Record]]:
    """Answers in order, and dead letters."""
    letters = [record for record in records if record.topic == Topic.AUTH_DEAD_LETTER]
    answers = [
        TYPES[dict(record.headers)["ce_type"].decode()].decoder.decode(record.value or b"")
        for record in records
        if record.topic == "partner.inbox"
    ]
    return answers, letters


@given(st.none() | tokens, tokens, st.none() | st.integers(0, 50))
def test_putting_twice_is_putting_once(
    there: Token | None, wanted: Token, expected: int | None
) -> None:
    """Whatever was there, the same message again changes nothing and succeeds as well."""
    first = put(there, replace(wanted, revision=1), expected)
    if isinstance(first, Overtaken):
        assert expected is not None
        return
    stored = there if first.token is None else replace(first.token, revision=first.revision)
    again_ = put(stored, replace(wanted, revision=1), expected)
    assert again_ == Done(Outcome.UNCHANGED, first.revision)


@given(tokens, tokens, st.integers(0, 50))
def test_an_expected_revision_guards(there: Token, wanted: Token, expected: int) -> None:
    """A change that rests on an older revision is refused; one that changes nothing is none."""
    done = put(there, wanted, expected)
    same = replace(wanted, revision=there.revision) == there
    assert isinstance(done, Overtaken) == (not same and expected != there.revision)
    gone = remove(there, expected, erase=False)
    assert isinstance(gone, Overtaken) == (expected != there.revision)


def test_removing_what_is_not_there() -> None:
    """It is gone: that is what was wanted, whatever revision was expected."""
    assert remove(None, 4, erase=True) == Done(Outcome.ABSENT, 0)


fields = st.fixed_dictionaries(
    {"id_token": st.text(max_size=260)},
    optional={
        "type": st.text(max_size=22) | st.sampled_from(("iso14443", "eMAID")),
        "status": st.sampled_from(("accepted", "blocked", "lost")),
        "valid_from": st.datetimes() | st.just(NOW),
        "expires_at": st.datetimes() | st.just(NOW + DAY),
        "group_id": st.text(max_size=40),
        "max_concurrent": st.integers(-1, 200_000),
        "charging_priority": st.integers(-11, 11),
        "language": st.text(max_size=10),
        "personal_message": st.text(max_size=520),
        "credit": st.floats(),
        "sites": st.lists(st.text(max_size=4), max_size=3).map(tuple),
        "evse_kinds": st.lists(st.text(max_size=4), max_size=3).map(tuple),
        "whitelist": st.sampled_from(("ALWAYS", "NEVER", "SOMETIMES")),
    },
)


@given(fields)
def test_both_doors_have_the_same_rules(given_: dict[str, Any]) -> None:
    """What REST takes, Kafka takes, as the same token; what it refuses, the other refuses."""
    written = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given_.items()
    }
    try:
        over_rest = entry(TokenRequest.model_validate(written), KEY)
    except ValidationError:
        with pytest.raises(InvalidRecord):
            RULES.token(PutToken(provider_id="p", **given_))
    else:
        over_kafka = RULES.token(PutToken(provider_id="p", **given_))
        assert over_kafka[0] == over_rest[0]
        assert over_kafka[1].refs == over_rest[1].refs


@given(st.text(min_size=6, max_size=400).filter(lambda text: not trimmed(text).isprintable()))
def test_a_reason_quotes_no_value(value: str) -> None:
    """Reasons go to dead letters, which are kept for a month."""
    with pytest.raises(InvalidRecord) as refused:
        RULES.token(PutToken(provider_id="p", id_token=value))
    assert value not in refused.value.reason


class Shelf:
    """Tokens in memory; ``overtaken`` times somebody else is quicker."""

    def __init__(self) -> None:
        self.kept: dict[str, Token] = {}
        self.writes: list[tuple[int, int, int]] = []
        self.overtaken = 0

    async def there(self, names: Collection[str]) -> dict[str, Token]:
        await asyncio.sleep(0)
        return {name: self.kept[name] for name in names if name in self.kept}

    async def put_many(
        self,
        new: Sequence[tuple[Token, Value]],
        changed_ones: Sequence[Token],
        at: datetime,
        gone: Sequence[Token] = (),
    ) -> bool:
        del at
        await asyncio.sleep(0)
        if self.overtaken:
            self.overtaken -= 1
            return False
        if new or changed_ones or gone:
            self.writes.append((len(new), len(changed_ones), len(gone)))
        self.kept |= {one.ref: one for one, _ in new}
        self.kept |= {one.ref: replace(one, revision=one.revision + 1) for one in changed_ones}
        for one in gone:
            del self.kept[one.ref]
        return True

    async def erase(self, token: Token, *, at: datetime, by: str) -> Any:
        del at
        await asyncio.sleep(0)
        return self.kept.pop(token.ref, None) and by


def handler_on(shelf: Shelf, clock: Clock) -> PushedTokens:
    return PushedTokens(
        tokens=shelf, erasure=shelf, rules=RULES, source="/voltbus/auth/auth-1", now=clock
    )


async def test_a_batch_is_one_write(clock: Clock) -> None:
    """Many tokens, one look-up and one write; a token that is in it twice waits for the next."""
    shelf = Shelf()
    batch = [a_put(f"04{number:04}") for number in range(50)]
    answers, letters = read(
        await handler_on(shelf, clock).handle([*batch, a_put("040000", language="sv")])
    )
    assert shelf.writes == [(50, 0, 0), (0, 1, 0)]
    assert [one.outcome for one in answers] == ["created"] * 50 + ["updated"]
    assert letters == []


async def test_messages_about_one_token_keep_their_order(clock: Clock) -> None:
    """Put, change, remove, put again: in one batch as in four."""
    shelf = Shelf()
    batch = [
        a_put(),
        a_put(status="blocked", expected_revision=1),
        a_removal(id_token=CARD.lower(), expected_revision=2),
        a_put(language="sv"),
    ]
    answers, _ = read(await handler_on(shelf, clock).handle(batch))
    assert answers == [
        PutTokenAnswer(token_ref=REF, revision=1, outcome="created"),
        PutTokenAnswer(token_ref=REF, revision=2, outcome="updated"),
        RemoveTokenAnswer(token_ref=REF, outcome="removed"),
        PutTokenAnswer(token_ref=REF, revision=1, outcome="created"),
    ]
    assert shelf.kept == {REF: token(language="sv")}


async def test_a_redelivered_batch_changes_nothing(clock: Clock) -> None:
    """Killed between store and reply: the same messages again, no new revision."""
    shelf = Shelf()
    batch = [a_put(), a_put("04FF", expires_at=NOW + DAY, expected_revision=0)]
    await handler_on(shelf, clock).handle(batch)
    answers, letters = read(await handler_on(shelf, clock).handle(batch))
    assert [(one.revision, one.outcome) for one in answers] == [(1, "unchanged")] * 2
    assert (len(shelf.writes), letters) == (1, [])


async def test_others_are_at_the_same_tokens(clock: Clock) -> None:
    """It tries again with what is there then, and gives up only for the batch to come again."""
    shelf = Shelf()
    shelf.overtaken = 3
    answers, _ = read(await handler_on(shelf, clock).handle([a_put()]))
    assert answers[0].outcome == "created"
    shelf.overtaken = 100
    with pytest.raises(Unavailable):
        await handler_on(shelf, clock).handle([a_put(language="de")])


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (a_put(f"{CARD}\n{CARD}"), "id_token"),
        (a_put(status="lost"), "status"),
        (a_put(valid_from=NOW.replace(tzinfo=None)), "valid_from"),
        (a_put(expected_revision=3), "expected_revision"),
        (a_removal(), "either"),
        (a_removal(token_ref=REF, id_token=CARD), "either"),
        (a_removal(token_ref=CARD), "token_ref"),
    ],
)
async def test_what_breaks_a_rule(clock: Clock, event: Event, word: str) -> None:
    """A dead letter with its reason and nothing readable, a fault for the asker; others go on."""
    shelf = Shelf()
    answers, (letter,) = read(await handler_on(shelf, clock).handle([event, a_put("04FF")]))
    kinds = {type(answer) for answer in answers}
    assert kinds == {Fault, PutTokenAnswer}
    assert word in dict(letter.headers)["dead-letter-reason"].decode()
    assert letter.value is None
    shown = repr(letter) + repr([one for one in answers if isinstance(one, Fault)])
    assert CARD not in shown
    assert len(shelf.kept) == 1


async def test_nobody_needs_to_ask(clock: Clock) -> None:
    """Without an asker there is no answer, and the token is there."""
    shelf = Shelf()
    event = pushed(PutToken(provider_id="SE-NDL", id_token=CARD), asks=False)
    assert await handler_on(shelf, clock).handle([event]) == []
    assert REF in shelf.kept


def test_a_dead_letter_can_be_sent_again_without_its_senders_names() -> None:
    """Key, subject and id may be a token: none is kept, and the record still is a CloudEvent."""
    event = a_put()
    raw = MemoryRecord(
        event.topic,
        0,
        7,
        CARD.encode(),
        b"{",
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", CARD.encode()),
            ("ce_source", CARD.encode()),
            ("ce_type", PUT_TOKEN.name.encode()),
            ("ce_subject", CARD.encode()),
            ("x-anything", CARD.encode()),
        ],
    )
    letter = dead_letters.written(raw, "no JSON", Topic.AUTH_DEAD_LETTER, NOW)
    assert CARD not in repr(letter)
    record = again(letter_of(letter.headers, letter.key, letter.value), b"{}")
    assert parse(record.headers, record.value).type == PUT_TOKEN.name


@pytest.mark.stack
async def test_from_kafka_to_rest(served: Served, clock: Clock) -> None:
    """On MongoDB: what is pushed is what REST shows; each change has its event, repetition none."""
    made = PushedTokens(
        tokens=served.store.token,
        erasure=served.store.erasure,
        rules=RULES,
        source="/voltbus/auth/auth-1",
        now=clock,
    )
    fields: dict[str, Any] = {"sites": ("uppsala",), "credit": 12.5, "expires_at": NOW + DAY}
    for _ in range(2):
        await made.handle([a_put(**fields), a_put("04FF", whitelist="NEVER")])
    shown = (await served.client.get(f"/v1/tokens/{REF}")).json()
    assert (shown["sites"], shown["credit"], shown["revision"]) == (["uppsala"], 12.5, 1)
    clock.time += timedelta(seconds=1)
    again_ = [a_put(**fields, status="blocked"), a_removal(id_token="04FF")]
    answers, _ = read(await made.handle(again_))
    assert [one.outcome for one in answers] == ["updated", "removed"]
    answers, _ = read(await made.handle(again_))
    assert [one.outcome for one in answers] == ["unchanged", "absent"]
    answers, _ = read(await made.handle([a_removal(token_ref=REF, erase=True)]))
    assert [one.outcome for one in answers] == ["erased"]
    assert (await served.client.get(f"/v1/tokens/{REF}")).status_code == 404
    words = [event.type.split(".")[-2] for event in await served.events(Topic.TOKENS_EVENTS)]
    assert sorted(words) == ["created", "created", "deleted", "erased", "updated"]
    audit = (await served.client.get("/v1/erasures")).json()["data"]
    assert [one["by"] for one in audit] == ["SE-NDL"]


@pytest.mark.stack
async def test_while_the_token_key_is_replaced(served: Served, clock: Clock) -> None:
    """A token keeps its reference under the next key: put, put by name and removed, it is one."""
    old = TokenKey(b"an older key of at least 32 bytes")
    both = TokenKey(b"0123456789abcdef0123456789abcdef", old)

    def made(key: TokenKey) -> PushedTokens:
        rules = Rules(
            token=partial(token_bodies.pushed, key=key), names=partial(token_bodies.named, key=key)
        )
        return PushedTokens(
            tokens=served.store.token,
            erasure=served.store.erasure,
            rules=rules,
            source="/voltbus/auth/auth-1",
            now=clock,
        )

    answers, _ = read(await made(old).handle([a_put()]))
    ref = answers[0].token_ref
    assert ref == old.ref("ISO14443", CARD)
    batch = [a_put(language="sv"), a_removal(token_ref=ref), a_removal(id_token=CARD)]
    answers, letters = read(await made(both).handle(batch))
    assert [(one.token_ref, one.outcome) for one in answers] == [
        (ref, "updated"),
        (ref, "removed"),
        (KEY.ref("ISO14443", CARD), "absent"),
    ]
    assert letters == []
