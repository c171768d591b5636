"""docs/events.md: every topic and message in words, with an example of each."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.contract.registry import TYPES, MessageType, Topic
from voltbus_backbone.contract_docs.examples import AT, example_of
from voltbus_backbone.contract_docs.schemas import REF, Schema, schema_of
from voltbus_backbone.contract_docs.topics import NOTES, kept, writer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_UNITS = {"_wh": "Wh", "_w": "W", "_s": "seconds", "_ms": "milliseconds"}

_HEAD = """\
# Events and requests

<!-- Written by `make contract` from libs/backbone/src/voltbus_backbone/contract. Do not edit. -->

Everything that the services tell one another, and all that other systems may listen to, is a record
on Kafka. This page says what each one means. For programs there are the
[JSON Schemas](contract/schemas) and the [AsyncAPI 3 description](contract/asyncapi.yaml).

## How a record looks

A CloudEvent 1.0 in Kafka's binary mode: the body is JSON, everything about it is in headers.

| header | holds |
|---|---|
| `ce_specversion` | `1.0` |
| `ce_id`, `ce_source` | together the identity: a record that comes twice has the same two |
| `ce_type` | the type, as on this page |
| `ce_time` | when it was written (RFC 3339, UTC) |
| `ce_subject` | the key as text; on `gateway.inbox` the gateway that is meant |
| `ce_dataschema` | `urn:voltbus:schema:` and the type |
| `content-type` | `application/json` |
| `traceparent` | W3C trace context, where there is one |

- **Topics** carry the operator's prefix (`VOLTBUS_TOPIC_PREFIX`, by default `voltbus.`).
- **Order** holds per key. **Delivery** is at least once: a duplicate has the same `ce_id` and
  `ce_source`.
- **Times** are RFC 3339 in UTC. **A field that is left out** stands at its default.
- **New optional fields** may come at any time: ignore what you do not know. Anything else that
  changes a type's meaning makes a new version (`….v2`), and both are written for a while.
- **Private**: events name a token by `token_ref` only. Readable identifiers exist on the request
  topics and in replies, which are kept for an hour and which no subscriber may read.
- On a compacted topic, a record **without data** (`voltbus.tombstone.v1`) removes its key.

## How to ask

Put four headers on a request: `correlation-id` (new each time), `reply-topic` (full name),
`reply-partition` (be reading it from its end first) and `deadline` (milliseconds since 1970). The
answer carries the same `correlation-id`. `voltbus.fault.v1` means that it could not be decided,
which is neither yes nor no. A request past its deadline is dropped, unless it is a fact.

Replies go to Voltbus's own inboxes and to topics that its operator named
([`VOLTBUS_REPLY_TOPICS`](operations.md#who-is-answered)), to partitions that exist. With another
address a fact is recorded without a reply; a question is not decided, and becomes a dead letter.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_overview(), *_topics(), *_answers(), *_values()]).rstrip() + "\n"


def _overview() -> Iterator[str]:
    yield "## Topics"
    yield ""
    yield "| topic | key | kept | written by | read by |"
    yield "|---|---|---|---|---|"
    for topic in Topic:
        note = NOTES[topic]
        link = f"[`{topic}`](#{_anchor(topic)})"
        yield f"| {link} | {note.key} | {kept(topic)} | {note.written_by} | {note.read_by} |"
    yield ""


def _topics() -> Iterator[str]:
    for topic in Topic:
        note = NOTES[topic]
        yield f"## {topic}"
        yield ""
        yield note.about
        yield ""
        rows = [row for row in TYPES.values() if row.topic is topic]
        if not rows:
            continue
        yield from _types(rows)
        yield from _record(rows[0])
        yield from _bodies(rows)


def _answers() -> Iterator[str]:
    rows = [row for row in TYPES.values() if row.topic is None]
    yield "## Answers"
    yield ""
    yield "On the topic and partition that the request named."
    yield ""
    yield from _types(rows)
    yield from _bodies(rows)


def _values() -> Iterator[str]:
    """What several messages hold, once."""
    bodies = {row.body.__name__ for row in TYPES.values()}
    shared = {
        name: definition
        for row in TYPES.values()
        for name, definition in schema_of(row)["$defs"].items()
        if name not in bodies
    }
    yield "## Values"
    yield ""
    for name, definition in sorted(shared.items()):
        yield f"### {name}"
        yield ""
        yield _words(definition["description"])
        yield ""
        if "enum" in definition:
            yield "One of " + ", ".join(f"`{word}`" for word in definition["enum"]) + "."
            yield ""
        else:
            yield from _fields(definition)


def _types(rows: list[MessageType[Any]]) -> Iterator[str]:
    yield "| type | body | key | written by | answer |"
    yield "|---|---|---|---|---|"
    for row in rows:
        body = row.body.__name__
        keyed = row.topic is not None and not row.topic.endswith(".inbox")
        key = f"`{row.key}`" if keyed else "none"
        answer = f"`{row.answer}`" if row.answer else ("none: a fact" if row.fact else "none")
        link = f"[{body}](#{_anchor(body)})"
        yield f"| `{row.name}` | {link} | {key} | {writer_of(row)} | {answer} |"
    yield ""


def _record(row: MessageType[Any]) -> Iterator[str]:
    """A whole record with its headers, as it lies on the topic."""
    message = example_of(row)
    keyed = row.topic is not None and not row.topic.endswith(".inbox")
    key = str(getattr(message, row.key)) if keyed else ""
    yield "A record:"
    yield ""
    yield "```"
    yield f"topic              voltbus.{row.topic}"
    yield f"key                {key or '(none)'}"
    yield "ce_specversion     1.0"
    yield "ce_id              7f3a90c1-42"
    yield f"ce_source          /voltbus/{writer_of(row).split(',')[0].split()[-1]}/1"
    yield f"ce_type            {row.name}"
    yield f"ce_time            {AT}"
    yield f"ce_subject         {key or 'gateway-1'}"
    yield f"ce_dataschema      {row.schema_id}"
    yield "content-type       application/json"
    if row.answer:
        yield "correlation-id     gateway-1-9b2f-4711"
        yield "reply-topic        voltbus.gateway.inbox"
        yield "reply-partition    3"
        yield "deadline           1773480423589"
    yield ""
    yield msgspec.json.encode(message).decode()
    yield "```"
    yield ""


def _bodies(rows: Iterable[MessageType[Any]]) -> Iterator[str]:
    """Each distinct body once."""
    shown: set[str] = set()
    for row in rows:
        name = row.body.__name__
        if name in shown:
            continue
        shown.add(name)
        definition = schema_of(row)["$defs"][name]
        yield f"### {name}"
        yield ""
        yield _words(definition["description"])
        yield ""
        yield from _fields(definition)
        example = json.loads(msgspec.json.encode(example_of(row)))
        yield "<details><summary>Example</summary>"
        yield ""
        yield "```json"
        yield json.dumps(example, indent=2, ensure_ascii=False)
        yield "```"
        yield ""
        yield "</details>"
        yield ""


def _fields(definition: Schema) -> Iterator[str]:
    yield "| field | what | needed |"
    yield "|---|---|---|"
    for name, schema in definition["properties"].items():
        needed = "yes" if name in definition["required"] else f"no{_default(schema)}"
        yield f"| `{name}` | {_kind(schema)}{_unit(name)} | {needed} |"
    yield ""


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default in (None, "", [], {}):
        return ""
    return f": {json.dumps(default)}"


def _unit(name: str) -> str:
    return next((f", in {unit}" for ending, unit in _UNITS.items() if name.endswith(ending)), "")


_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "any JSON object",
}


def _kind(schema: Schema) -> str:
    """What a field holds, in words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return f"[{name}](#{_anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return " and ".join(_kind(part) for part in schema["prefixItems"])
        return f"list of {_kind(schema['items'])}"
    if "additionalProperties" in schema:
        return f"by name, {_kind(schema['additionalProperties'])}"
    return "time" if schema.get("format") == "date-time" else _KINDS[schema["type"]]


def _words(description: str) -> str:
    """A docstring as Markdown; what marks a request there is in the table here."""
    text = re.sub(r"\s*\((?:request|[^()]*\ba fact)\)", "", description)
    return text.replace("``", "`")


def _anchor(heading: str) -> str:
    """The anchor that Markdown renderers give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
