"""CloudEvents 1.0 in Kafka's binary mode."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.ports import Consumed
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import StationLogin, StationLoginAnswer
from voltbus_backbone.contract.values import IdToken
from voltbus_backbone.errors import InvalidRecord

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def record(*, asking: envelope.Asking | None = None) -> envelope.Record:
    made = envelope.event(
        registry.STATION_LOGIN,
        StationLogin(station_id="CP-1"),
        id="e-1",
        source="/voltbus/gateway/g-1",
        now=NOW,
    )
    if asking is not None:
        made.headers.extend(envelope.asking_headers(asking))
    return made


def test_every_attribute_is_a_ce_header() -> None:
    """Attributes become `ce_` headers and the body stays plain JSON (CloudEvents Kafka 3.2)."""
    made = record()
    headers = dict(made.headers)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"] == b"e-1"
    assert headers["ce_source"] == b"/voltbus/gateway/g-1"
    assert headers["ce_type"] == b"voltbus.auth.station-login.v1"
    assert headers["ce_time"] == b"2026-03-01T12:30:15.123Z"
    assert headers["ce_subject"] == b"CP-1"
    assert headers["content-type"] == b"application/json"
    assert made.key == b"CP-1"
    assert made.value == b'{"station_id":"CP-1"}'


def test_what_is_written_reads_back_the_same() -> None:
    """A parsed event decodes to the message that was sent, with how it wants its answer."""
    asking = envelope.Asking("g-1/a/7", "voltbus.gateway.inbox", 3, 1_700_000_000_000)
    made = record(asking=asking)
    event = envelope.parse(made.headers, made.value, topic="t", partition=1, offset=9, key=made.key)
    assert event.decode() == StationLogin(station_id="CP-1")
    assert event.asking == asking
    assert (event.topic, event.partition, event.offset) == ("t", 1, 9)


@given(
    st.lists(
        st.datetimes(
            min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - Hypothesis adds the zone
            max_value=datetime(2100, 1, 1),  # noqa: DTZ001 - as above
            timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2_000_000),
)
def test_the_time_of_an_event_is_rfc_3339(moments: list[datetime], microseconds: int) -> None:
    """CloudEvents 1.0, ``time``: in UTC to the millisecond, whatever was stamped just before."""
    close = [one + timedelta(microseconds=microseconds) for one in moments]
    for now in (*moments, *close):
        message = StationLogin(station_id="CS-1", security_profile=1)
        made = envelope.event(registry.STATION_LOGIN, message, id="1", source="/x", now=now)
        text = (envelope.header(made.headers, "ce_time") or b"").decode()
        assert text == envelope.timestamp(now)
        assert datetime.fromisoformat(text) == now.replace(
            microsecond=now.microsecond // 1000 * 1000
        )


def test_a_reply_goes_to_the_partition_of_whoever_asked() -> None:
    """The answer is addressed by the request's own headers and carries its correlation id."""
    made = record(asking=envelope.Asking("g-1/a/7", "voltbus.gateway.inbox", 3, 0))
    event = envelope.parse(made.headers, made.value)
    answer = envelope.reply(
        event,
        registry.STATION_LOGIN_ANSWER,
        StationLoginAnswer(known=False),
        source="/voltbus/auth/a-1",
        now=NOW,
    )
    assert answer is not None
    assert (answer.topic, answer.partition, answer.key) == ("voltbus.gateway.inbox", 3, None)
    assert envelope.header(answer.headers, "correlation-id") == b"g-1/a/7"


def test_a_forwarded_request_is_answered_to_its_first_asker() -> None:
    """It keeps its id, key, body and how its asker wants the answer; type and topic are new."""
    asking = envelope.Asking("g-1/a/7", "voltbus.gateway.inbox", 3, 1_700_000_000_000)
    made = record(asking=asking)
    event = envelope.parse(made.headers, made.value, key=made.key)
    row = registry.CONTRACT_AUTHORIZE
    passed = envelope.forward(event, row, source="/voltbus/auth/a-1", now=NOW)
    assert passed is not None
    again = envelope.parse(passed.headers, passed.value, key=passed.key)
    assert (passed.topic, again.type) == (row.topic, row.name)
    assert (again.id, again.key, again.data) == (event.id, event.key, event.data)
    assert again.asking == asking


def test_what_nobody_asked_is_not_forwarded() -> None:
    """Without reply headers there is no one to answer."""
    made = record()
    event = envelope.parse(made.headers, made.value)
    row = registry.CONTRACT_AUTHORIZE
    assert envelope.forward(event, row, source="/voltbus/auth/a-1", now=NOW) is None


def test_nobody_is_answered_who_did_not_ask() -> None:
    """A request without reply headers gets no reply record."""
    made = record()
    event = envelope.parse(made.headers, made.value)
    assert (
        envelope.reply(
            event,
            registry.STATION_LOGIN_ANSWER,
            StationLoginAnswer(known=True),
            source="/a",
            now=NOW,
        )
        is None
    )


@pytest.mark.parametrize("missing", ["ce_id", "ce_source", "ce_type"])
def test_a_record_without_a_required_attribute_is_no_cloudevent(missing: str) -> None:
    """id, source, type and specversion are required (CloudEvents 1.0, 3.1); the reason names it."""
    headers = [pair for pair in record().headers if pair[0] != missing]
    with pytest.raises(InvalidRecord, match=missing):
        envelope.parse(headers, b"{}")


def test_another_spec_version_is_refused() -> None:
    """Only CloudEvents 1.0 is understood."""
    headers = [(n, b"0.3" if n == "ce_specversion" else v) for n, v in record().headers]
    with pytest.raises(InvalidRecord, match="specversion"):
        envelope.parse(headers, b"{}")


UNREADABLE_HEADERS: dict[str, tuple[str, bytes | None]] = {
    "latin-1": ("ce_subject", "Müller".encode("latin-1")),
    "null id": ("ce_id", None),
    "null type": ("ce_type", None),
    "null time": ("ce_time", None),
}


@pytest.mark.parametrize("name", UNREADABLE_HEADERS)
def test_an_unreadable_attribute_is_an_invalid_record(name: str) -> None:
    """A header that cannot be read is the record's fault; Kafka allows null as a header's value."""
    changed, value = UNREADABLE_HEADERS[name]
    headers = [(n, value if n == changed else v) for n, v in record().headers]
    with pytest.raises(InvalidRecord, match="unreadable"):
        envelope.parse(headers, b"{}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deadline", b"soon"),
        ("deadline", b"9" * 400),
        ("deadline", None),
        ("reply-partition", b"x"),
        ("reply-partition", b"9" * 5000),
        ("reply-topic", b"\xff\xfe"),
        ("correlation-id", None),
        ("correlation-id", b"c" * 2000),
    ],
)
def test_an_unreadable_reply_address_is_none(name: str, value: bytes | None) -> None:
    """Whoever reads the record decides: a fact counts without an answer (ADR 17)."""
    made = record(asking=envelope.Asking("c", "t", 1, 5))
    headers = [(n, value if n == name else v) for n, v in made.headers]
    event = envelope.parse(headers, made.value)
    assert event.asking is None
    assert event.unaddressed is not None
    assert event.decode() == StationLogin(station_id="CP-1")


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "correlation-id", "deadline"])
def test_a_header_of_ours_that_stands_twice_is_refused(name: str) -> None:
    """One reader would take the first, another the last: two records in one."""
    made = record(asking=envelope.Asking("c", "t", 1, 5))
    with pytest.raises(InvalidRecord, match="twice"):
        envelope.parse([*made.headers, (name, b"1")], made.value)
    envelope.parse([*made.headers, ("b3", b"1"), ("b3", b"2")], made.value)


BODIES = {
    "latin-1": '{"station_id":"Müller"}'.encode("latin-1"),
    "cut off in a character": b'{"station_id":"M\xc3"}',
    "an unknown member nested deeply": b'{"station_id":"1","x":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
    "a huge number": b'{"station_id":"1","security_profile":' + b"9" * 5000 + b"}",
    "nothing": b"",
    "null bytes": b"\0" * 10,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_its_decoder_does_not_take_is_an_invalid_record(name: str) -> None:
    """Whatever the decoder raises, it is the record that is at fault, and nothing of it is told."""
    event = envelope.parse(record().headers, BODIES[name])
    with pytest.raises(InvalidRecord) as caught:
        event.decode()
    assert caught.value.reason.startswith("body does not match voltbus.auth.station-login.v1: ")
    assert "ller" not in caught.value.reason


OURS = ("ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_specversion")
ASKING = ("correlation-id", "reply-topic", "reply-partition", "deadline")
SOUND = st.sampled_from([b"1.0", b"1", b"-1", *(name.encode() for name in registry.TYPES)])


@settings(deadline=None)  # the machine may be busy
@given(
    odd=st.lists(
        st.tuples(
            st.sampled_from([*OURS, *ASKING]) | st.text(max_size=8),
            SOUND | st.none() | st.binary(max_size=20),
        ),
        max_size=14,
    ),
    kind=st.sampled_from(list(registry.TYPES)),
    value=st.none() | st.binary(max_size=60) | st.just(b"[" * 5000),
    whole=st.booleans(),
)
def test_whatever_a_record_is_it_is_an_event_or_an_invalid_record(
    *, odd: list[tuple[str, bytes | None]], kind: str, value: bytes | None, whole: bool
) -> None:
    """Property (ADR 17): no other exception leaves reading, for any headers and body."""
    known: dict[str, bytes | None] = {
        "ce_specversion": b"1.0",
        "ce_id": b"1",
        "ce_source": b"/t",
        "ce_type": kind.encode(),
    }
    headers = list((known | dict(odd)).items()) if whole else odd
    consumed = Consumed("voltbus.auth.requests", 0, 1, 0, None, value, headers)
    with contextlib.suppress(InvalidRecord):
        event = envelope.parse_record(consumed)
        assert event.asking is None or event.unaddressed is None
        assert event.decode() is not None


def test_a_body_against_its_schema_names_the_path_but_not_the_value() -> None:
    """The reason goes to a log and a header, so it must not quote what could be a token."""
    headers = record().headers
    event = envelope.parse(headers, b'{"station_id": 5, "secret": "DEADBEEF"}')
    with pytest.raises(InvalidRecord) as caught:
        event.decode()
    assert "station_id" in caught.value.reason
    assert "DEADBEEF" not in caught.value.reason


def test_unknown_fields_are_ignored() -> None:
    """Consumers ignore what a newer writer added (full-transitive compatibility)."""
    event = envelope.parse(record().headers, b'{"station_id": "CP-1", "added_later": true}')
    assert event.decode() == StationLogin(station_id="CP-1")


def test_a_tombstone_has_no_data() -> None:
    """A record without data on a compacted topic removes its key."""
    made = envelope.tombstone(
        registry.Topic.AGREEMENTS_EVENTS, b"agr_1", source="/voltbus/agreements/a", now=NOW, id="x"
    )
    assert made.value is None
    assert envelope.parse(made.headers, made.value).data is None


def test_a_token_never_shows_in_a_repr() -> None:
    """A traceback or log line that prints a message cannot show the identifier."""
    token = IdToken(value="DEADBEEF", type="ISO14443")
    assert "DEADBEEF" not in repr(token)
    assert "ISO14443" in repr(token)


@pytest.mark.parametrize("row", registry.TYPES.values(), ids=lambda row: row.name)
def test_every_row_of_the_contract_is_whole(row: registry.MessageType[Any]) -> None:
    """A request names an answer that exists, and a keyed message has the field that keys it."""
    if row.answer is not None:
        assert row.answer in registry.TYPES
    if row.topic not in {None, registry.Topic.GATEWAY_INBOX}:
        assert row.key in row.body.__struct_fields__
