"""A station as a person reads it: what keeps it from working, in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus.events.words import words

if TYPE_CHECKING:
    from collections.abc import Mapping

Fields = dict[str, Any]


def readable(station: Mapping[str, Any]) -> Fields:
    """Return the fields of a station, as config shows it, with sentences where there are some."""
    shown = dict(station)
    for name, say in _SENTENCES.items():
        if shown.get(name):
            shown[name] = say(shown[name])
    return shown


def _refusal(refusal: Fields) -> str:
    return f"{refusal['at']}: {words('voltbus.station.refused.v1', refusal)}"


def _contest(contest: Fields) -> str:
    address, other = contest["addresses"]
    data = {**contest, "address": address, "other_address": other}
    return f"{contest['at']}: {words('voltbus.station.duplicate-identity.v1', data)}"


def _boot_request(request: Fields) -> str:
    times = "once" if request["attempts"] == 1 else f"{request['attempts']} times"
    again = f"again at {request['next_at']}" if request["next_at"] else "not again by itself"
    detail = f". {request['detail']}" if request.get("detail") else ""
    return f"asked to boot {times}, the last time at {request['asked_at']}, {again}{detail}"


_SENTENCES = {
    "last_refusal": _refusal,
    "duplicate_identity": _contest,
    "boot_request": _boot_request,
}
