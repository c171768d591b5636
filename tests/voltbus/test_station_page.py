"""`voltbus station show`: what keeps a station from working is a sentence, not a JSON object."""

from __future__ import annotations

from voltbus.rest.station_page import readable

AT = "2026-06-01T12:00:00.000Z"


def test_a_station_in_trouble_is_described_in_sentences() -> None:
    """The last refusal, a contest for its identity, and what it was asked for."""
    shown = readable(
        {
            "id": "CP-1",
            "connected": False,
            "last_refusal": {
                "at": AT,
                "kind": "login",
                "reason": "wrong_password",
                "action": None,
                "address": "192.0.2.1",
                "count": 3,
            },
            "duplicate_identity": {"at": AT, "addresses": ["192.0.2.1", None], "count": 5},
            "boot_request": {
                "attempts": 2,
                "asked_at": AT,
                "next_at": None,
                "detail": "Restart it.",
            },
        }
    )
    assert shown["id"] == "CP-1"
    assert shown["last_refusal"] == (
        f"{AT}: log-in refused: wrong password, 3 times by now, from 192.0.2.1"
    )
    assert shown["duplicate_identity"] == (
        f"{AT}: two live connections with one identity push each other out, 5 times, from 192.0.2.1"
    )
    assert shown["boot_request"] == (
        f"asked to boot 2 times, the last time at {AT}, not again by itself. Restart it."
    )


def test_a_station_that_works_is_shown_as_it_is() -> None:
    """Nothing is added, also for a config that knows these fields not yet."""
    plain = {"id": "CP-1", "last_refusal": None, "boot_request": None}
    assert readable(plain) == plain
    assert readable({"id": "CP-1"}) == {"id": "CP-1"}
