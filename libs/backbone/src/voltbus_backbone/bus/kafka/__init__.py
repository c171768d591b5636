"""The only package that knows aiokafka: publishing, consuming and creating topics."""

from voltbus_backbone.bus.kafka.admin import ensure_topics
from voltbus_backbone.bus.kafka.consumers import GroupConsumer, PartitionReader
from voltbus_backbone.bus.kafka.onlookers import Tail, event_of, read_all, read_one
from voltbus_backbone.bus.kafka.publisher import Publisher

__all__ = [
    "GroupConsumer",
    "PartitionReader",
    "Publisher",
    "Tail",
    "ensure_topics",
    "event_of",
    "read_all",
    "read_one",
]
