"""What a session does with a payload that its schema refuses: read it leniently, or refuse it."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from voltbus_gateway.domain.repairs.fields import Field, join
from voltbus_gateway.domain.repairs.mending import mend
from voltbus_gateway.domain.repairs.repair import Kind as Mended
from voltbus_gateway.domain.repairs.repair import Repair
from voltbus_gateway.domain.repairs.table import ANSWERS, find_fact_rules
from voltbus_gateway.domain.wire.schemas import Kind, load_schema

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.wire.errors import CallFailed
    from voltbus_gateway.domain.wire.frames import Payload


class Facts(StrEnum):
    """How facts and answers are read that do not fit their schema [P]."""

    LENIENT = "lenient"
    STRICT = "strict"


class Reading(msgspec.Struct, frozen=True):
    """A payload as it is used, and what was mended in it."""

    payload: Payload
    repairs: tuple[Repair, ...]


def read_fact(protocol: Protocol, action: str, payload: Payload, failure: CallFailed) -> Reading:
    """Read a station's fact that its schema, or its translation, refused with ``failure``.

    Raises:
        CallFailed: the action is no fact, nothing of it can be read, or something core can't;
            ``failure`` itself where there is no better word.
    """
    # Asked first: what is kept must never grow by the names that a station thinks up.
    if find_fact_rules(protocol, action) is None:
        raise failure
    mended, repairs = mend(payload, _fact_shape(protocol, action))
    if not mended or not repairs:
        raise failure
    return Reading(mended, repairs)


def read_answer(protocol: Protocol, action: str, payload: Payload, failure: CallFailed) -> Reading:
    """Read a station's answer that its schema refused with ``failure``: nothing in it is core."""
    mended, repairs = mend(payload, _answer_shape(protocol, action))
    if not repairs:
        place, _, what = failure.description.partition(": ")
        repairs = (Repair(place, Mended.KEPT, what),)
    return Reading(mended, repairs)


@cache
def _fact_shape(protocol: Protocol, action: str) -> Field:
    rules = find_fact_rules(protocol, action)
    schema = load_schema(protocol, action, Kind.REQUEST)
    assert rules is not None and schema is not None  # noqa: PT018, S101 - the table has it
    return join(schema, rules)


@cache
def _answer_shape(protocol: Protocol, action: str) -> Field:
    schema = load_schema(protocol, action, Kind.RESPONSE)
    assert schema is not None  # noqa: S101 - it answers a call of ours, which has a schema
    return join(schema, ANSWERS)
