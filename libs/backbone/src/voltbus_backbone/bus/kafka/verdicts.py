"""What an error of Kafka's says about the records of a batch: never, not there, or not now."""

from __future__ import annotations

import re
from enum import Enum, auto

from aiokafka import errors

_LEGAL_TOPIC = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")


# aiokafka has no types.
class InvalidRecordError(errors.BrokerResponseError):  # type: ignore[misc]
    """Kafka's INVALID_RECORD, which aiokafka does not know: no key on a compacted topic, say."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The broker's validation of the record failed."


errors.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)


class Verdict(Enum):
    """What whoever produces does next."""

    TOO_LARGE = auto()  # never, in a batch of this size
    MALFORMED = auto()  # never, with one of these records
    NO_TOPIC = auto()  # not on this topic, until somebody creates it or grants us to write there
    NOT_NOW = auto()  # again, by a new producer


_VERDICTS: dict[type[errors.KafkaError], Verdict] = {
    errors.MessageSizeTooLargeError: Verdict.TOO_LARGE,
    errors.RecordListTooLargeError: Verdict.TOO_LARGE,
    errors.CorruptRecordException: Verdict.MALFORMED,
    errors.InvalidTimestampError: Verdict.MALFORMED,
    errors.UnsupportedForMessageFormatError: Verdict.MALFORMED,
    InvalidRecordError: Verdict.MALFORMED,
    errors.InvalidTopicError: Verdict.NO_TOPIC,
    errors.TopicAuthorizationFailedError: Verdict.NO_TOPIC,
    errors.UnknownTopicOrPartitionError: Verdict.NO_TOPIC,
}


def verdict_of(error: Exception) -> Verdict:
    """What this failure of a produce means for its records."""
    return next(
        (_VERDICTS[kind] for kind in type(error).__mro__ if kind in _VERDICTS), Verdict.NOT_NOW
    )


def is_legal_topic(name: str) -> bool:
    """Whether a topic may have this name at all (Kafka: letters, digits, '.', '_', '-')."""
    return _LEGAL_TOPIC.fullmatch(name) is not None
