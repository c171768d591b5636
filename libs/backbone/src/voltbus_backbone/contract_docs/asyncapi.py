"""The AsyncAPI 3.0 description: channels, messages, and how to ask over Kafka.

It describes Voltbus as a whole: what it *sends* are facts for anyone, what it *receives* are
requests. A request's answer goes where the request says (``reply-topic``, ``reply-partition``).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.registry import FAULT, TYPES, MessageType, Topic
from voltbus_backbone.contract_docs.schemas import schema_of
from voltbus_backbone.contract_docs.topics import NOTES, kept, topic_config

if TYPE_CHECKING:
    from collections.abc import Iterable

Node = dict[str, Any]

BINDING = "0.5.0"
REPLIES = "replies"
_TEXT = {"type": "string"}
_DIGITS = {"type": "string", "pattern": "^[0-9]+$"}

_EVENT_HEADERS: Node = {
    "type": "object",
    "description": "CloudEvents 1.0, Kafka binding, binary mode.",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "With ce_source: the same for a duplicate."},
        "ce_source": {"type": "string", "format": "uri-reference"},
        "ce_type": _TEXT,
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "The record's key, as text."},
        "ce_dataschema": {"type": "string", "format": "uri"},
        "content-type": {"const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context."},
    },
}
_ASKING: Node = {
    "type": "object",
    "required": ["correlation-id", "reply-topic", "reply-partition", "deadline"],
    "properties": {
        "correlation-id": {"type": "string", "description": "The asker's, and new each time."},
        "reply-topic": {"type": "string", "description": "Where the answer goes, prefix included."},
        "reply-partition": _DIGITS,
        "deadline": {**_DIGITS, "description": "Milliseconds since 1970: of no use afterwards."},
    },
}
_ANSWERING: Node = {
    "type": "object",
    "required": ["correlation-id"],
    "properties": {"correlation-id": _TEXT},
}


def asyncapi() -> Node:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Voltbus",
            "version": version("voltbus-backbone"),
            "description": "Requests and events of the Voltbus services on Kafka. "
            "In words, with examples: docs/events.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": {row.name: _message(row) for row in TYPES.values()},
            "correlationIds": {
                "asked": {
                    "description": "Ties an answer to its request.",
                    "location": "$message.header#/correlation-id",
                }
            },
            "replyAddresses": {
                "asker": {
                    "description": "The topic that the asker reads, at `reply-partition`.",
                    "location": "$message.header#/reply-topic",
                }
            },
            "schemas": {
                "EventHeaders": _EVENT_HEADERS,
                "RequestHeaders": {"allOf": [_schema("EventHeaders"), _ASKING]},
                "ReplyHeaders": {"allOf": [_schema("EventHeaders"), _ANSWERING]},
            },
        },
    }


def _channels() -> Node:
    channels = {str(topic): _channel(topic) for topic in Topic}
    channels[REPLIES] = {
        "address": None,
        "title": "Answers, on the topic and partition that the request named",
        "messages": _references(row for row in TYPES.values() if row.topic is None),
    }
    return channels


def _channel(topic: Topic) -> Node:
    note = NOTES[topic]
    config = topic_config(topic)
    settings: Node = {"cleanup.policy": [config["cleanup.policy"]]}
    if "retention.ms" in config:
        settings["retention.ms"] = int(config["retention.ms"])
    return {
        "address": f"{{prefix}}{topic}",
        "title": note.about.partition(". ")[0].rstrip("."),
        "description": f"Key: {note.key}. Kept: {kept(topic)}. Written by {note.written_by}; "
        f"read by {note.read_by}.",
        "parameters": {
            "prefix": {"default": "voltbus.", "description": "VOLTBUS_TOPIC_PREFIX"},
        },
        "messages": _references(_rows_of(topic)),
        "bindings": {"kafka": {"topicConfiguration": settings, "bindingVersion": BINDING}},
    }


def _rows_of(topic: Topic) -> list[MessageType[Any]]:
    return [row for row in TYPES.values() if row.topic is topic]


def _operations() -> Node:
    operations: Node = {}
    for row in TYPES.values():
        if row.topic is None:
            continue
        asked = row.topic.endswith((".requests", ".inbox"))
        operation: Node = {
            "action": "receive" if asked else "send",
            "channel": {"$ref": f"#/channels/{row.topic}"},
            "summary": _summary(row),
            "messages": [{"$ref": f"#/channels/{row.topic}/messages/{row.name}"}],
        }
        if row.answer is not None:
            operation["reply"] = {
                "address": {"$ref": "#/components/replyAddresses/asker"},
                "channel": {"$ref": f"#/channels/{REPLIES}"},
                "messages": [
                    {"$ref": f"#/channels/{REPLIES}/messages/{name}"}
                    for name in (row.answer, FAULT.name)
                ],
            }
        operations[row.name] = operation
    return operations


def _message(row: MessageType[Any]) -> Node:
    message: Node = {
        "name": row.name,
        "title": row.body.__name__,
        "summary": _summary(row),
        "contentType": "application/json",
        "headers": _schema(_headers_of(row)),
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{row.name}.json"},
        },
    }
    if row.answer is not None or row.topic is None:
        message["correlationId"] = {"$ref": "#/components/correlationIds/asked"}
    if row.topic is not None and not row.topic.endswith(".inbox"):
        key = {"type": "string", "description": f"The field `{row.key}`."}
        message["bindings"] = {"kafka": {"key": key, "bindingVersion": BINDING}}
    return message


def _headers_of(row: MessageType[Any]) -> str:
    if row.topic is None:
        return "ReplyHeaders"
    return "RequestHeaders" if row.answer is not None and not row.fact else "EventHeaders"


def _summary(row: MessageType[Any]) -> str:
    definitions = schema_of(row)["$defs"]
    words: str = definitions[row.body.__name__]["description"]
    return words.partition("\n\n")[0].replace("\n", " ")


def _references(rows: Iterable[MessageType[Any]]) -> Node:
    return {row.name: {"$ref": f"#/components/messages/{row.name}"} for row in rows}


def _schema(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}
