"""The samples of a message as they are kept beside the transaction's record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.tokens.domain.identifiers import short_id
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.auth import TransactionMessage
    from voltbus_backbone.contract.values import Sample


@dataclass(frozen=True, slots=True)
class SampleSet:
    """The samples of one message, kept as they came. ``id`` is made from their content."""

    id: str
    ref: str
    at: datetime
    samples: tuple[Sample, ...]


def sample_set(ref: str, message: TransactionMessage) -> SampleSet:
    """A message's samples under an id that a resend has again."""
    content = msgspec.json.encode(message.samples).decode()
    name = short_id(ref, message.at.timestamp(), content)
    return SampleSet(name, ref, to_milliseconds(message.at), message.samples)
