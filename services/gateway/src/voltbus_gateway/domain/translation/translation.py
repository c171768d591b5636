"""A station's message as the contract's: the row's translation, or that of the mended message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from voltbus_gateway.domain.repairs.reading import Facts, read_fact
from voltbus_gateway.domain.repairs.repair import Repair, to_sentences
from voltbus_gateway.domain.wire.errors import CallFailed

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Message
    from voltbus_gateway.domain.translation.route import Context, Route, ToContract
    from voltbus_gateway.domain.wire.frames import Payload


class Translation(msgspec.Struct, frozen=True):
    """The message for Kafka, and what had to be mended for it beyond its schema."""

    message: Message
    repairs: tuple[Repair, ...] = ()


def translate(
    route: Route, to_contract: ToContract, payload: Payload, context: Context, facts: Facts
) -> Translation:
    """Translate a payload that fits its schema, or was mended.

    A number of more than 64 bits may fit the schema and can still not be kept: where it stands in a
    side field of a fact, that field alone is left out.

    Raises:
        CallFailed: it can't be translated, and is no fact or has the fault in its core.
    """
    try:
        return Translation(to_contract(payload, context))
    except CallFailed as failure:
        if facts is Facts.STRICT:
            raise
        reading = read_fact(route.protocol, route.action, payload, failure)
    said = (*context.repairs, *to_sentences(reading.repairs))
    mended = msgspec.structs.replace(context, repairs=said)
    return Translation(to_contract(reading.payload, mended), reading.repairs)
