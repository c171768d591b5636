"""A station's call as it goes through session and translation, without sockets and Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.repairs.repair import to_sentences
from voltbus_gateway.domain.session.session import Dispatch, Session, Write
from voltbus_gateway.domain.translation.route import Context
from voltbus_gateway.domain.translation.routes import find_route
from voltbus_gateway.domain.translation.translation import translate
from voltbus_gateway.domain.wire.times import parse_time

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol

NOW = parse_time("2026-03-01T12:00:00Z")


def refuse_call(
    protocol: Protocol, action: str, payload: dict[str, Any], **session: Any
) -> str | None:
    """The code of the CALLERROR that this call gets; None when it is taken."""
    (effect,) = Session(protocol, **session).receive(_text(action, payload), 0.0)
    if isinstance(effect, Dispatch):
        return None
    assert isinstance(effect, Write)
    code: str = orjson.loads(effect.text)[2]
    return code


def translate_call(protocol: Protocol, action: str, payload: dict[str, Any]) -> Any:
    """The contract's message of this call, which must not be refused."""
    (effect,) = Session(protocol).receive(_text(action, payload), 0.0)
    assert isinstance(effect, Dispatch), effect
    route = find_route(protocol, action)
    assert route.to_contract is not None
    assert route.row is not None
    context = Context("CS-1", "c-1", protocol, NOW, repairs=to_sentences(effect.repairs))
    payload = effect.call.payload
    message = translate(route, route.to_contract, payload, context, Facts.LENIENT).message
    assert route.row.decoder.decode(msgspec.json.encode(message)) == message
    return message


def _text(action: str, payload: dict[str, Any]) -> bytes:
    return orjson.dumps([2, "1", action, payload])
