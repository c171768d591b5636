"""What events say in words, which are shown, and how they look."""

from __future__ import annotations

import io
import json

import pytest

from voltbus.events.feed import PUBLIC_TOPICS, Choice, body, line, structured
from voltbus.events.table import show_header, show_line
from voltbus.events.words import _TABLE, short_type, words
from voltbus.terminal import Console
from voltbus_backbone.bus.envelope import Event
from voltbus_backbone.contract.registry import TYPES


def event(kind: str, subject: str = "CP-1", **data: object) -> Event:
    """Return an event as it comes out of Kafka."""
    return Event(
        id="1",
        source="/voltbus/test",
        type=f"voltbus.{kind}.v1",
        time="2026-05-01T06:07:08.009Z",
        subject=subject,
        data=json.dumps(data).encode(),
    )


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (
            "transaction.ended",
            {
                "transaction_id": "7",
                "evse_id": 2,
                "energy_wh": 5120,
                "token_ref": "0123456789abcdef",
                "stopped_reason": "Local",
                "doubts": ["register_backwards"],
            },
            (
                "transaction 7 on EVSE 2, 5.12 kWh, token 0123456789a…, because Local, "
                "doubtful: register_backwards"
            ),
        ),
        (
            "transaction.started",
            {"transaction_id": "7", "connector_id": 1, "authorization": "Accepted"},
            "transaction 7 on connector 1, Accepted",
        ),
        (
            "token.created",
            {"token_ref": "abc", "type": "ISO14443", "status": "accepted"},
            "token abc, ISO14443, accepted",
        ),
        (
            "station.repaired",
            {
                "action": "StopTransaction",
                "repairs": ["reason: null, left out", "meterStop: rounded"],
            },
            "StopTransaction mended: reason: null, left out; meterStop: rounded",
        ),
        (
            "station.connected",
            {"protocol": "ocpp1.6", "gateway_id": "g-1"},
            "speaks ocpp1.6, through g-1",
        ),
        ("station.disconnected", {"code": 1001, "reason": "bye"}, "closed with 1001 (bye)"),
        (
            "station.booted",
            {"status": "Accepted", "vendor": "V", "model": "M", "firmware_version": "1"},
            "Accepted, V M, firmware 1",
        ),
        (
            "station.refused",
            {"kind": "login", "reason": "wrong_password", "count": 12, "address": "192.0.2.1"},
            "log-in refused: wrong password, 12 times by now, from 192.0.2.1",
        ),
        (
            "station.refused",
            {"kind": "call", "reason": "SecurityError", "action": "Heartbeat"},
            "Heartbeat refused: SecurityError",
        ),
        (
            "station.duplicate-identity",
            {"address": "192.0.2.1", "other_address": "192.0.2.2", "count": 5},
            (
                "two live connections with one identity push each other out, 5 times, "
                "from 192.0.2.1 and 192.0.2.2"
            ),
        ),
        ("station.registered", {"status": "x", "removed": True}, "removed by an operator"),
        (
            "station.status",
            {"status": "Faulted", "connector_id": 0, "error_code": "GroundFailure"},
            "the station is Faulted, error GroundFailure",
        ),
        (
            "station.meter-values",
            {"connector_id": 1, "samples": [{"value": 1.5, "multiplier": 3}]},
            "connector 1, register at 1.50 kWh",
        ),
        (
            "station.setting-changed",
            {"key": "charging_speed", "state": "in_sync"},
            "charging_speed is in sync",
        ),
        (
            "command.changed",
            {"action": "Reset", "status": "timed_out", "error_code": "GenericError"},
            "Reset timed out: GenericError",
        ),
        (
            "reservation.changed",
            {"reservation_id": 7, "state": "rejected", "reason": "Occupied", "evse_id": 1},
            "reservation 7 on EVSE 1, rejected, Occupied",
        ),
        ("gateway.beat", {"connections": 3, "leaving": True}, "3 stations connected, leaving"),
        (
            "agreement.activated",
            {"name": "Fleet", "status": "active", "revision": 2, "tokens": [{}, {}]},
            "“Fleet” is active, 2 tokens, revision 2",
        ),
        ("weather.changed", {"sky": "blue", "at": "now"}, "sky blue"),
        ("station.booted", {"vendor": "a body without status"}, "vendor a body without status"),
    ],
)
def test_an_event_in_words(kind: str, data: dict[str, object], said: str) -> None:
    """Each kind of event has a sentence; what is unknown or incomplete still has a line."""
    assert words(f"voltbus.{kind}.v1", data) == said


def test_every_public_type_has_words() -> None:
    """No type of the contract on a public topic is left to the fallback."""
    public = {short_type(row.name) for row in TYPES.values() if row.topic in PUBLIC_TOPICS}
    assert public <= _TABLE.keys()


@pytest.mark.parametrize(
    ("glob", "station", "taken"),
    [
        ("", "", True),
        ("station.*", "", True),
        ("voltbus.station.booted.v1", "", True),
        ("transaction.*", "", False),
        ("", "CP-1", True),
        ("", "CP-2", False),
    ],
)
def test_the_choice(glob: str, station: str, taken: bool) -> None:  # noqa: FBT001 - a test's parameter
    """A glob meets the short or the whole type; a station is the subject or named in the body."""
    assert Choice(glob, station).takes(event("station.booted")) is taken
    assert Choice(station="CP-1").takes(event("token.created", "ref", station_id="CP-1"))


def test_long_names_are_shortened_in_the_table() -> None:
    """A token's reference and an agreement's id are long; the columns stay straight."""
    out = io.StringIO()
    show_line(
        Console(file=out),
        line(event("token.deleted", "f" * 64, token_ref="f" * 64, type="", status="blocked")),
    )
    assert "fffffffffffffff…  token fffffffffff…" in out.getvalue()


def test_beats_are_noise() -> None:
    """A gateway's beat is shown only where --type asks for it."""
    assert not Choice().takes(event("gateway.beat"))
    assert Choice("gateway.*").takes(event("gateway.beat"))


def test_a_body_that_is_none() -> None:
    """A tombstone and a body that is no JSON object are shown without details."""
    for data in (None, b"", b"[1]", b"{"):
        one = event("station.booted")
        one.data = data
        assert body(one) == {}
        assert line(one).words == "no details"


def test_the_table_and_the_json_line() -> None:
    """A row has time, type, subject and words; JSON is CloudEvents' structured mode."""
    out = io.StringIO()
    console = Console(file=out, width=20)
    show_header(console)
    show_line(console, line(event("station.booted", status="Accepted")))
    rows = out.getvalue().splitlines()
    assert rows[1].split() == ["06:07:08.009", "station.booted", "CP-1", "Accepted"]
    assert rows[0].index("what it says") == rows[1].index("Accepted")
    told = json.loads(structured(event("station.booted", status="Accepted")))
    assert told["type"] == "voltbus.station.booted.v1"
    assert told["data"] == {"status": "Accepted"}
