"""What an event says, in a sentence for a person. Pure: type and body in, words out.

Bodies carry neither tokens nor passwords (see the contract); a ``token_ref`` is shortened only
because it is long. An unknown type, or a body that is not what its type promises, still gets a
line: an onlooker must not stop at what is newer than itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Data = dict[str, Any]

SHORT_REF = 12
MOST_FIELDS = 4


def short_type(kind: str) -> str:
    """Return a type without what all of ours share: ``transaction.started``."""
    bare = kind.removeprefix("voltbus.")
    head, dot, version = bare.rpartition(".v")
    return head if dot and version.isdigit() else bare


def words(kind: str, data: Data) -> str:
    """Return what an event says."""
    say = _TABLE.get(short_type(kind))
    try:
        return say(data) if say else _fields(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        return _fields(data)


def _fields(data: Data) -> str:
    plain = [
        f"{name} {value}"
        for name, value in data.items()
        if isinstance(value, str | int | float) and name not in {"at", "station_id"}
    ]
    return ", ".join(plain[:MOST_FIELDS]) or "no details"


def shortened(name: str, most: int) -> str:
    """Return the beginning of a name that is longer than ``most`` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def _ref(data: Data, key: str = "token_ref") -> str:
    return shortened(str(data.get(key) or ""), SHORT_REF)


def _place(data: Data) -> str:
    if data.get("evse_id") is not None:
        return f"EVSE {data['evse_id']}"
    if data.get("connector_id") is not None:
        return f"connector {data['connector_id']}" if data["connector_id"] else "the station"
    return ""


def _sentence(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _kwh(wh: float | None) -> str:
    return "" if wh is None else f"{wh / 1000:.2f} kWh"


def _transaction(data: Data) -> str:
    place = _place(data)
    doubts = data.get("doubts")
    return _sentence(
        f"transaction {_ref(data, 'transaction_id')}" + (f" on {place}" if place else ""),
        _kwh(data.get("energy_wh")),
        f"token {_ref(data)}" if data.get("token_ref") else None,
        str(data["authorization"]) if data.get("authorization") else None,
        f"agreement {_ref(data, 'agreement_id')}" if data.get("agreement_id") else None,
        f"because {data['stopped_reason']}" if data.get("stopped_reason") else None,
        f"closed by {data['closed_by']}" if data.get("closed_by") else None,
        "sent after being offline" if data.get("offline") else None,
        f"doubtful: {', '.join(doubts)}" if doubts else None,
    )


def _token(data: Data) -> str:
    until = data.get("expires_at")
    return _sentence(
        f"token {_ref(data)}",
        str(data["type"]) or None,
        str(data["status"]),
        f"until {until}" if until else None,
    )


def _connected(data: Data) -> str:
    return _sentence(f"speaks {data['protocol']}", f"through {data['gateway_id']}")


def _disconnected(data: Data) -> str:
    reason = f" ({data['reason']})" if data.get("reason") else ""
    return f"closed with {data.get('code', 1006)}{reason}"


def _refused(data: Data) -> str:
    what = "log-in" if data["kind"] == "login" else data.get("action") or "a message"
    count = data.get("count", 1)
    return _sentence(
        f"{what} refused: {str(data['reason']).replace('_', ' ')}",
        f"{count} times by now" if count > 1 else None,
        f"from {data['address']}" if data.get("address") else None,
    )


def _duplicate(data: Data) -> str:
    places = [str(data[name]) for name in ("address", "other_address") if data.get(name)]
    return _sentence(
        f"two live connections with one identity push each other out, {data.get('count', 1)} times",
        f"from {' and '.join(places)}" if places else None,
    )


def _booted(data: Data) -> str:
    made = " ".join(part for part in (data.get("vendor"), data.get("model")) if part)
    firmware = data.get("firmware_version")
    return _sentence(
        str(data["status"]), made or None, f"firmware {firmware}" if firmware else None
    )


def _registered(data: Data) -> str:
    return "removed by an operator" if data.get("removed") else str(data["status"])


def _status(data: Data) -> str:
    error = data.get("error_code")
    return _sentence(
        f"{_place(data) or 'the station'} is {data['status']}",
        f"error {error}" if error and error != "NoError" else None,
        data.get("info"),
    )


def _meter_values(data: Data) -> str:
    samples = data.get("samples", [])
    registers = [
        sample["value"] * 10 ** sample.get("multiplier", 0)
        for sample in samples
        if sample.get("measurand", "Energy.Active.Import.Register")
        == "Energy.Active.Import.Register"
        and sample.get("unit", "Wh") == "Wh"
        and not isinstance(sample["value"], str)
    ]
    return _sentence(
        _place(data) or None,
        f"register at {registers[-1] / 1000:.2f} kWh" if registers else f"{len(samples)} values",
        f"transaction {_ref(data, 'transaction_id')}" if data.get("transaction_id") else None,
    )


def _setting(data: Data) -> str:
    state = str(data["state"]).replace("_", " ")
    detail = data.get("detail")
    return f"{data['key']} is {state}" + (f": {detail}" if detail else "")


def _command(data: Data) -> str:
    status = str(data["status"]).replace("_", " ")
    said = data.get("answer_status") or data.get("error_code")
    return f"{data['action']} {status}" + (f": {said}" if said else "")


def _reservation(data: Data) -> str:
    place = _place(data)
    return _sentence(
        f"reservation {data['reservation_id']}" + (f" on {place}" if place else ""),
        str(data["state"]),
        data.get("reason"),
        f"token {_ref(data)}" if data.get("token_ref") else None,
    )


def _beat(data: Data) -> str:
    leaving = ", leaving" if data.get("leaving") else ""
    return f"{data['connections']} stations connected{leaving}"


def _progress(data: Data) -> str:
    request = data.get("request_id")
    return str(data["status"]) + (f", request {request}" if request is not None else "")


def _agreement(data: Data) -> str:
    tokens = len(data.get("tokens", []))
    return _sentence(
        f"“{data['name']}” is {str(data['status']).replace('_', ' ')}",
        data.get("status_reason"),
        f"{tokens} token{'s' if tokens != 1 else ''}" if tokens else None,
        f"revision {data['revision']}",
        "used up" if data.get("exhausted") else None,
    )


_TABLE: dict[str, Callable[[Data], str]] = {
    "transaction.started": lambda data: _transaction({**data, "energy_wh": None}),
    "transaction.updated": _transaction,
    "transaction.ended": _transaction,
    "transaction.corrected": _transaction,
    "token.created": _token,
    "token.updated": _token,
    "token.deleted": _token,
    "token.erased": _token,
    "station.connected": _connected,
    "station.disconnected": _disconnected,
    "station.refused": _refused,
    "station.duplicate-identity": _duplicate,
    "station.booted": _booted,
    "station.registered": _registered,
    "station.seen": lambda _: "heartbeat",
    "station.status": _status,
    "station.meter-values": _meter_values,
    "station.setting-changed": _setting,
    "station.firmware-status": _progress,
    "station.log-status": _progress,
    "station.security-event": lambda data: str(data["type"]),
    "station.repaired": lambda data: f"{data['action']} mended: {'; '.join(data['repairs'])}",
    "station.reported": lambda data: str(data["action"]),
    "command.changed": _command,
    "reservation.changed": _reservation,
    "gateway.beat": _beat,
    "agreement.created": _agreement,
    "agreement.updated": _agreement,
    "agreement.activated": _agreement,
    "agreement.suspended": _agreement,
    "agreement.resumed": _agreement,
    "agreement.expired": _agreement,
    "agreement.terminated": _agreement,
    "agreement.deleted": _agreement,
    "tombstone": lambda _: "removed",
}
