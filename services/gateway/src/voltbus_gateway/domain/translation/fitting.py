"""What a frame's fact comes to where one record could not hold it (docs/adr/0011-edges.md).

Samples are what grows: ``{"value":"1"}`` becomes three times as long. They go in several messages,
each a fact of its own that its readers know; what is the same in every respect is told once, and
nothing else is lost. The core of a transaction's message (its start or stop, with the register)
never depends on them. Free-form parts,
such as customData, are left out where they do not fit, and ``repairs`` says so.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from voltbus_backbone.bounds import CORE_BYTES, FACT_BYTES
from voltbus_backbone.bus.envelope import encode
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.stations import MeterValuesReported, StationReported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltbus_backbone.contract.values import Message, Sample
    from voltbus_gateway.domain.wire.frames import Payload

_SAMPLE_BYTES = FACT_BYTES - CORE_BYTES
_LONGEST_TEXT = 1000  # where a message is too large; none of ours is meant to be longer
_LONGEST_NAME = 50
_MOST_REPAIRS = 20
_ENVELOPE_BYTES = 2000  # what stands around a payload
_REGISTER = "Energy.Active.Import.Register"
_json = msgspec.json.Encoder()


class FittedFact(NamedTuple):
    """The messages that tell one fact, in their order. ``core`` is the one that wants an answer."""

    before: tuple[Message, ...]
    core: Message
    after: tuple[Message, ...]


def fit(message: Message) -> FittedFact:
    """Return the message, or those that replace it: each body has at most FACT_BYTES bytes."""
    if len(encode(message)) <= FACT_BYTES:
        return FittedFact((), message, ())
    match message:
        case TransactionMessage():
            return _fit_transaction(message)
        case MeterValuesReported():
            parts = [
                replace(message, samples=samples)
                for samples in _split(tuple(dict.fromkeys(message.samples)), _SAMPLE_BYTES)
            ]
            return (
                FittedFact((), parts[0], tuple(parts[1:])) if parts else FittedFact((), message, ())
            )
        case StationReported():
            payload, repairs = shrink(message.payload, FACT_BYTES - _ENVELOPE_BYTES)
            lean = replace(message, payload=payload, repairs=(*message.repairs, *repairs))
            return FittedFact((), lean, ())
        case _:
            return FittedFact((), message, ())


def shrink(payload: Payload, most: int) -> tuple[Payload, tuple[str, ...]]:
    """Shrink a payload to at most ``most`` bytes; return it with what was left out.

    First every customData, then of the largest member as much as is too much.
    """
    if _size(payload) <= most:
        return payload, ()
    found: Payload = _without_custom_data(payload)
    repairs = [] if found == payload else ["customData: left out, the message is too large"]
    while (excess := _size(found) - most) > 0:
        name = max(found, key=lambda member: _size(found[member]))
        value = found[name]
        size = _size(value)
        kept = int(len(value) * 0.9 * (size - excess) / size) if type(value) is list else 0
        if kept > 0:
            found = {**found, name: value[:kept]}
            repair = (
                f"{_show_member(name)}: cut after some of its entries, the message is too large"
            )
        else:
            found = {member: other for member, other in found.items() if member != name}
            repair = f"{_show_member(name)}: left out, the message is too large"
        if repair not in repairs:
            repairs.append(repair)
    return found, tuple(repairs)


def _show_member(member: str) -> str:
    """A member as a sentence may name it: what is no name of OCPP's could be anything."""
    known = member.isascii() and member.isidentifier() and len(member) <= _LONGEST_NAME
    return member if known else "a member"


def _without_custom_data(value: Any) -> Any:
    if type(value) is dict:
        return {
            name: _without_custom_data(inner)
            for name, inner in value.items()
            if name != "customData"
        }
    return [_without_custom_data(inner) for inner in value] if type(value) is list else value


def _fit_transaction(message: TransactionMessage) -> FittedFact:
    """The core with the samples that matter most to it, the others as updates beside it.

    They are published before an end and after a start, as if they had been messages of their own
    (1.6 MeterValues); without a sequence number, which is the core's.
    """
    lean = _strip(message)
    # Two parts that are the same would be taken for one that was sent twice.
    ordered = sorted(
        dict.fromkeys(message.samples), key=lambda sample: _weigh(sample, message.phase)
    )
    chunks = list(_split(tuple(ordered), _SAMPLE_BYTES))
    if not chunks:
        return FittedFact((), lean, ())
    if message.phase is Phase.STARTED:
        core, *others = chunks
    else:
        *others, core = chunks
    updates = tuple(
        TransactionMessage(
            station_id=message.station_id,
            protocol=message.protocol,
            phase=Phase.UPDATED,
            at=message.at,
            transaction_id=lean.transaction_id,
            evse_id=message.evse_id,
            connector_id=message.connector_id,
            samples=samples,
        )
        for samples in others
    )
    whole = replace(lean, samples=core)
    if message.phase is Phase.STARTED:
        return FittedFact((), whole, updates)
    return FittedFact(updates, whole, ())


def _weigh(sample: Sample, phase: Phase) -> tuple[int, float, float]:
    """Which sample goes where: a start takes the first ones with it, an end the last ones.

    The register that the station itself marks as the transaction's, then any register, then time.
    """
    marked = {Phase.STARTED: "Transaction.Begin", Phase.ENDED: "Transaction.End"}.get(phase)
    rank = 2 if sample.context == marked else int(sample.measurand == _REGISTER)
    if phase is Phase.STARTED:
        rank = -rank
    value = 0.0 if isinstance(sample.value, str) else sample.value
    return rank, sample.at.timestamp(), value


def _strip(message: TransactionMessage) -> TransactionMessage:
    """The message without samples, and without what makes even that too large."""
    lean = replace(message, samples=())
    if len(encode(lean)) <= CORE_BYTES:
        return lean
    repairs = list(message.repairs[:_MOST_REPAIRS])
    changes: dict[str, Any] = {}
    for name in lean.__struct_fields__:
        value = getattr(lean, name)
        if type(value) is str and len(value) > _LONGEST_TEXT:
            changes[name] = value[:_LONGEST_TEXT]
            repairs.append(f"{name}: cut, the message is too large")
    if lean.id_token is not None and len(_json.encode(lean.id_token)) > CORE_BYTES // 4:
        value = lean.id_token.value[:_LONGEST_TEXT]
        changes["id_token"] = replace(lean.id_token, value=value, additional=())
        repairs.append("idToken.additionalInfo: left out, the message is too large")
    details, left = shrink(lean.details, CORE_BYTES // 4)
    changes["details"] = details
    repairs.extend(left)
    return replace(lean, **changes, repairs=tuple(repairs))


def _split(samples: tuple[Sample, ...], most: int) -> Iterator[tuple[Sample, ...]]:
    """The samples in their order, in as few parts as hold at most so many bytes each."""
    if not samples:
        return
    size = len(_json.encode(samples))
    if size <= most or len(samples) == 1:
        yield samples
        return
    count = min(ceil(size / most), len(samples))
    length = ceil(len(samples) / count)
    for start in range(0, len(samples), length):
        # They differ in length: a part that is still too large is divided again.
        yield from _split(samples[start : start + length], most)


def _size(value: Any) -> int:
    return len(_json.encode(value))
