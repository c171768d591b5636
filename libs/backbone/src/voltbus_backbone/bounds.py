"""What one edge may send the next, in bytes (docs/adr/0011-edges.md).

A message grows on its way: a frame becomes a record, a record an event, a command's body a record
and then a frame. Each bound here leaves room for what the next edge adds, so that the largest
legal input of every edge still fits all that follow. ``tests/contract/test_edges.py`` holds them
to one another, and docs/operations.md lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltbus_backbone.bus.envelope import Headers

# Kafka's own default (message.max.bytes), which our topics state as max.message.bytes, so that a
# broker with another default keeps them alike. It counts a batch, as it is stored.
TOPIC_MESSAGE_BYTES = 1_048_588

# What one record may take there, with key, headers and all that Kafka adds; also what we put into
# one batch. The rest of the topic's limit is for whoever copies a record with further headers.
RECORD_BYTES = 1_000_000

# A message of a station, after decompression: the gateway's setting may be less. No text grows on
# its way, so that a single value, however long, fits what follows.
FRAME_BYTES = 512 * 1024

# The body of one record that a gateway makes of a frame: a fact, or the answer to a command. What
# comes to more goes in several (meter values), or leaves its side fields behind. The event that
# another service makes of it is as large, with that service's own fields.
FACT_BYTES = 700_000
# All of a transaction's message but its meter values: the rest of FACT_BYTES is theirs.
CORE_BYTES = 100_000

# The payload of a command, as JSON: it becomes a record to a gateway, and a frame.
COMMAND_BYTES = 256 * 1024
COMMAND_BODY_BYTES = COMMAND_BYTES  # of POST .../commands
COMMAND_NAME_LENGTH = 256  # characters of its action, its idempotency key and its cause, each

# An agreement as others see it: an event, an answer, a page of history.
AGREEMENT_BYTES = 256 * 1024
AGREEMENT_BODY_BYTES = AGREEMENT_BYTES  # of POST and PATCH

# What an operator wants of a station's settings; its opening hours become an event, beside those of
# an agreement.
SETTINGS_BODY_BYTES = 256 * 1024

BATCH_HEADER_BYTES = 61
_RECORD_HEADER = 21
_LENGTH = 5  # the longest varint of a length


def record_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """How much a record takes in Kafka at most (message format 2), alone in its batch."""
    size = BATCH_HEADER_BYTES + _RECORD_HEADER + 3 * _LENGTH + len(key or b"") + len(value or b"")
    for name, content in headers:
        size += 2 * _LENGTH + len(name.encode("utf-8", "replace")) + len(content or b"")
    return size
