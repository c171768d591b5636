"""What a row of the route table is, and what a translation is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.contract.values import Message, Protocol
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call, Payload, Send

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.registry import MessageType


class Mode(StrEnum):
    """Who answers a call of a station."""

    ANSWERED = "answered"  # a service is asked and waited for
    ACKNOWLEDGED = "acknowledged"  # once Kafka has the fact, with an answer we know
    LOCAL = "local"  # by the gateway alone
    REFUSED = "refused"  # with NotSupported, by decision


class Context(msgspec.Struct, frozen=True):
    """Where and when a message came. ``now`` is aware; it stands in for a missing timestamp.

    ``repairs``: what was mended in the message, as short sentences without values.
    """

    station_id: str
    connection_id: str
    protocol: Protocol
    now: datetime
    certificate_cn: str | None = None
    repairs: tuple[str, ...] = ()


ToContract = Callable[[Payload, Context], Message]
# The answer is None where nobody is asked (ACKNOWLEDGED, LOCAL).
ToOcpp = Callable[[Any, Payload, Context], Payload]
OnSilence = Callable[[Payload, Context], Payload]
# The parts of a fact that stay the same when a station resends it; None: it has no such parts.
FactKeys = Callable[[Any], tuple[Any, ...] | None]

_encoder = msgspec.json.Encoder()


def fail_undecided(_payload: Payload, _context: Context) -> Payload:
    """Fail: undecided is an error; a refusal would poison the station's cache (B) [P].

    Raises:
        CallFailed: InternalError, always.
    """
    raise CallFailed(ErrorCode.INTERNAL_ERROR, "No decision in time, try again")


def answer_empty(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """Confirm with an empty payload."""
    return {}


def confirm(_payload: Payload, _context: Context) -> Payload:
    """Confirm a fact that Kafka has although nobody answered."""
    return {}


def make_whole_key(message: Message) -> tuple[Any, ...]:
    """Make the key of a message with a moment of its own: all its fields."""
    return (_encoder.encode(message),)


def make_no_key(_message: Message) -> None:
    """Make no key: without a moment of its own a message is like its next occurrence."""


@dataclass(frozen=True, slots=True)
class Route:
    """One action of one version.

    ``row`` is the contract's message that ``to_contract`` makes (None: no message); it raises
    ``CallFailed`` for the few faults that no schema can see.
    ``to_ocpp(answer, payload, context)`` makes the CALLRESULT from the service's answer (None
    where nobody is asked). ``on_silence(payload, context)`` makes it when a service doesn't answer
    or answers with a fault; it raises ``CallFailed`` where that must be an error. ``reason`` says
    why where the table alone doesn't. A ``one_way`` action is a SEND (2.1): there is no answer.
    """

    protocol: Protocol
    action: str
    mode: Mode
    row: MessageType[Any] | None = None
    to_contract: ToContract | None = None
    to_ocpp: ToOcpp = answer_empty
    on_silence: OnSilence = fail_undecided
    keys: FactKeys = make_no_key
    reason: str = ""
    one_way: bool = False


def make_fact_id(context: Context, call: Call | Send, route: Route, message: Message) -> str:
    """Make the ``ce_id`` of a station's fact: the same when the station repeats the fact.

    Made from what the message is about and never from the message id alone, which stations mint
    anew per retry and reuse after a reboot (A14). Where the message has no moment of its own, the
    connection, its id and the time of arrival stand in. Id tokens are never part of it: an unkeyed
    hash of a short UID can be reversed by trying them all.
    """
    keys = route.keys(message)
    if keys is None:
        keys = (context.connection_id, call.id, context.now)
    digest = blake2b(digest_size=16, person=b"voltbus-fact")
    for part in (context.station_id, call.action, *keys):
        text = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(len(text).to_bytes(4))
        digest.update(text)
    return digest.hexdigest()
