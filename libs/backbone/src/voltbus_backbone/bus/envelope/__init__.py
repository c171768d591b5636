"""CloudEvents 1.0 in Kafka's binary mode, and the headers by which we ask and answer.

Pure: values in, values out. ``Record`` is what goes out, ``Event`` what came in.
Headers: ``ce_specversion ce_id ce_source ce_type ce_time ce_subject ce_dataschema content-type
traceparent`` and, for asking, ``correlation-id reply-topic reply-partition deadline``.
"""

from voltbus_backbone.bus.envelope.reading import decode_value, header, parse, parse_record
from voltbus_backbone.bus.envelope.records import Asking, Event, Headers, Record
from voltbus_backbone.bus.envelope.writing import (
    TOMBSTONE,
    asking_headers,
    encode,
    event,
    forward,
    reply,
    timestamp,
    tombstone,
)

__all__ = [
    "TOMBSTONE",
    "Asking",
    "Event",
    "Headers",
    "Record",
    "asking_headers",
    "decode_value",
    "encode",
    "event",
    "forward",
    "header",
    "parse",
    "parse_record",
    "reply",
    "timestamp",
    "tombstone",
]
