"""OCPI real-time authorization (2.2.1 and 2.3, module tokens, sender interface).

``POST {tokens endpoint}/{token_uid}/authorize?type=RFID`` with LocationReferences; the answer is
AuthorizationInfo in OCPI's envelope. Pure: from our question to the request, and from the answer's
bytes to the same message that a provider on Kafka sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from voltbus_backbone.contract.providers import Allowed, Keep, ProviderAuthorizeAnswer

if TYPE_CHECKING:
    from voltbus_backbone.contract.providers import ProviderAuthorize

UNKNOWN_TOKEN = 2004  # OCPI 2.2.1, status codes
_SUCCESS = range(1000, 2000)
_HTTP_OK = 200
_HTTP_NOT_FOUND = 404
_HTTP_BROKEN = 500
_LONGEST_UID = 36
_DIGITS = 9  # no station has more EVSEs
_RFID = frozenset({"", "iso14443", "iso15693"})


class Unusable(Exception):  # noqa: N818 - what the answer is
    """No decision can be read from it. ``reason`` holds no value of it.

    ``broken``: the other system is, so that it would answer nobody now.
    """

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.broken = broken


class _DisplayText(msgspec.Struct):
    text: str = ""


class _Token(msgspec.Struct):
    valid: bool = True
    whitelist: Keep = Keep.ALLOWED
    group_id: str | None = None
    language: str | None = None


class _Location(msgspec.Struct):
    location_id: str = ""
    evse_uids: list[str] | None = None


class _AuthorizationInfo(msgspec.Struct):
    allowed: Allowed
    token: _Token | None = None
    location: _Location | None = None
    authorization_reference: str | None = None
    info: _DisplayText | None = None


class _Envelope(msgspec.Struct):
    status_code: int
    data: Any = None


_envelope = msgspec.json.Decoder(_Envelope)


def can_be_asked(question: ProviderAuthorize) -> bool:
    """Whether the token can be an OCPI uid (CiString(36)) and one segment of an address."""
    uid = question.id_token.value
    printable = uid.isascii() and uid.isprintable()
    return printable and 0 < len(uid) <= _LONGEST_UID and uid not in {".", ".."}


def path_of(question: ProviderAuthorize) -> str:
    """What follows the tokens endpoint; the token's value is in it, so it must not be logged."""
    kind = "RFID" if question.id_token.type.casefold() in _RFID else "OTHER"
    return f"/{quote(question.id_token.value, safe='')}/authorize?type={kind}"


def body_of(question: ProviderAuthorize) -> bytes:
    """LocationReferences."""
    body: dict[str, Any] = {"location_id": question.location_id}
    if question.evse_ids:
        body["evse_uids"] = [evse_uid(question.station_id, evse) for evse in question.evse_ids]
    return msgspec.json.encode(body)


def evse_uid(station_id: str, evse_id: int) -> str:
    """How an EVSE is called to others, the same as in an agreement's scope."""
    return f"{station_id}/{evse_id}"


def answer_in(status: int, body: bytes, question: ProviderAuthorize) -> ProviderAuthorizeAnswer:
    """What an HTTP answer says.

    Raises:
        Unusable: it says nothing that a decision could rest on.
    """
    if status == _HTTP_NOT_FOUND:
        return ProviderAuthorizeAnswer(allowed=Allowed.UNKNOWN)
    if status != _HTTP_OK:
        raise Unusable(f"HTTP {status}", broken=status >= _HTTP_BROKEN)
    try:
        envelope = _envelope.decode(body)
        if envelope.status_code == UNKNOWN_TOKEN:
            return ProviderAuthorizeAnswer(allowed=Allowed.UNKNOWN)
        if envelope.status_code not in _SUCCESS:
            raise Unusable(f"OCPI status {envelope.status_code}")
        info = msgspec.convert(envelope.data, _AuthorizationInfo)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Unusable("not an AuthorizationInfo") from None
    return _read(info, question)


def _read(info: _AuthorizationInfo, question: ProviderAuthorize) -> ProviderAuthorizeAnswer:
    token = info.token or _Token()
    allowed = info.allowed
    if allowed is Allowed.ALLOWED and not token.valid:
        allowed = Allowed.BLOCKED
    evse_ids: tuple[int, ...] = ()
    named = info.location.evse_uids if info.location is not None else None
    if named:
        evse_ids = _ours(named, question.station_id)
        if not evse_ids and allowed is Allowed.ALLOWED:
            allowed = Allowed.NOT_ALLOWED
    return ProviderAuthorizeAnswer(
        allowed=allowed,
        keep=token.whitelist,
        evse_ids=evse_ids,
        group_id=token.group_id,
        language=token.language,
        message=info.info.text if info.info is not None and info.info.text else None,
        authorization_reference=info.authorization_reference,
    )


def _ours(uids: list[str], station_id: str) -> tuple[int, ...]:
    """The EVSEs among them that are this station's; OCPI ids are alike in any case."""
    prefix = f"{station_id}/".casefold()
    found = set()
    for uid in uids:
        folded = uid.casefold()
        number = folded.removeprefix(prefix)
        if folded != number and number.isascii() and number.isdigit() and len(number) <= _DIGITS:
            found.add(int(number))
    return tuple(sorted(found))
