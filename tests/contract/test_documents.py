"""The generated documents: up to date, valid, and true to the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
import yaml

from voltbus_backbone.contract.registry import FAULT, TYPES, MessageType, Topic
from voltbus_backbone.contract_docs.__main__ import documents, main, stale
from voltbus_backbone.contract_docs.asyncapi import asyncapi
from voltbus_backbone.contract_docs.examples import example_of
from voltbus_backbone.contract_docs.page import page
from voltbus_backbone.contract_docs.schemas import schema_of
from voltbus_backbone.contract_docs.topics import NOTES, kept, writer_of
from voltbus_backbone.contract_docs.yaml import to_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROWS = [pytest.param(row, id=name) for name, row in TYPES.items()]

Row = MessageType[Any]


def test_the_documents_are_up_to_date() -> None:
    """What is in docs is what the contract makes now; `make contract` brings it up to date."""
    assert stale(DOCS) == []


@pytest.mark.parametrize("row", ROWS)
def test_a_schema_is_a_valid_json_schema(row: Row) -> None:
    """Draft 2020-12's own meta-schema accepts it."""
    jsonschema.Draft202012Validator.check_schema(schema_of(row))


@pytest.mark.parametrize("full", [True, False], ids=["full", "required"])
@pytest.mark.parametrize("row", ROWS)
def test_a_message_on_the_wire_fits_its_schema(row: Row, full: bool) -> None:  # noqa: FBT001 - pytest gives it
    """What msgspec writes is what the schema describes, with all fields and with few."""
    body = msgspec.json.decode(msgspec.json.encode(example_of(row, full=full)))
    jsonschema.Draft202012Validator(schema_of(row)).validate(body)


@pytest.mark.parametrize("row", ROWS)
def test_a_schema_knows_every_time(row: Row) -> None:
    """Timestamps are marked as such, so that a generated client parses them."""
    marked = {
        f"{name}.{field}"
        for name, definition in schema_of(row)["$defs"].items()
        for field, inner in definition.get("properties", {}).items()
        if "date-time" in json.dumps(inner)
    }
    named = {
        f"{name}.{field}"
        for name, definition in schema_of(row)["$defs"].items()
        for field in definition.get("properties", {})
        if field.endswith("_at") or field == "at"
    }
    assert named <= marked


@pytest.mark.parametrize("row", ROWS)
def test_an_unknown_field_is_let_through(row: Row) -> None:
    """A consumer that validates does not break when an optional field is added."""
    body = json.loads(msgspec.json.encode(example_of(row))) | {"a_field_of_tomorrow": 1}
    jsonschema.Draft202012Validator(schema_of(row)).validate(body)
    assert row.decoder.decode(json.dumps(body)) == example_of(row)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_contract_is_sound(row: Row) -> None:
    """Its key is a required field, its answer is an answer's row, and its name has a version."""
    if row.topic is not None and not row.topic.endswith(".inbox"):
        assert row.key in schema_of(row)["$defs"][row.body.__name__]["required"]
    assert row.answer is None or TYPES[row.answer].topic is None
    assert row.name.startswith("voltbus.")
    assert row.name.rpartition(".v")[2].isdecimal()


def test_every_topic_is_described() -> None:
    """Who writes it, who reads it, and how long it is kept."""
    assert NOTES.keys() == set(Topic)
    assert all(kept(topic) for topic in Topic)


def test_the_documents_name_the_writers_that_have_the_right() -> None:
    """Who a fact is said to be written by is who may write that topic (deploy/k8s/access.yaml)."""
    users = yaml.safe_load((DOCS.parent / "deploy/k8s/access.yaml").read_text())["kafka"]
    for row in TYPES.values():
        if row.topic is not None and row.topic.endswith((".events", ".state")):
            assert row.topic in users[f"voltbus-{writer_of(row)}"]["write"]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def test_references_in_the_asyncapi_document_lead_somewhere() -> None:
    """Every $ref within it resolves, and every file that it names is there."""
    document = asyncapi()
    for node in nodes(document):
        reference = node.get("$ref", "#")
        if reference.startswith("./"):
            assert (DOCS / "contract" / reference).is_file()
            continue
        place: Any = document
        for part in reference.removeprefix("#").strip("/").split("/"):
            place = place[part] if part else place
        assert place


def test_the_asyncapi_document_has_every_topic_and_type() -> None:
    """A channel per topic, a message per type, and an operation for each that has a topic."""
    document = asyncapi()
    assert document["channels"].keys() == {*Topic, "replies"}
    assert document["components"]["messages"].keys() == TYPES.keys()
    assert document["operations"].keys() == {
        name for name, row in TYPES.items() if row.topic is not None
    }


def test_a_reply_goes_where_the_request_says() -> None:
    """AsyncAPI 3: reply.address.location names the header, and so does the correlation id."""
    document = asyncapi()
    components = document["components"]
    assert components["replyAddresses"]["asker"]["location"] == "$message.header#/reply-topic"
    assert components["correlationIds"]["asked"]["location"] == "$message.header#/correlation-id"
    assert document["channels"]["replies"]["address"] is None
    for row in TYPES.values():
        operation = document["operations"].get(row.name, {})
        assert ("reply" in operation) == (row.answer is not None)
        if row.answer is not None:
            names = [item["$ref"].rpartition("/")[2] for item in operation["reply"]["messages"]]
            assert names == [row.answer, FAULT.name]


def test_the_page_tells_of_every_topic_type_and_field() -> None:
    """Nothing of the contract is missing from docs/events.md."""
    text = page()
    assert all(f"\n## {topic}\n" in text for topic in Topic)
    assert all(f"`{name}`" in text for name in TYPES)
    for row in TYPES.values():
        for name, definition in schema_of(row)["$defs"].items():
            assert f"\n### {name}\n" in text
            assert all(f"| `{field}` |" in text for field in definition.get("properties", {}))


def test_the_written_yaml_is_read_back_the_same() -> None:
    """Our small writer agrees with PyYAML's reader, also on words that look like other types."""
    odd = {
        "on": ["no", "1", "1.0", "", "a: b", "é", None, True, 3, [], {}],
        "x": [[1, [2]], {"y": {}}],
    }
    assert yaml.safe_load(to_yaml(odd)) == odd
    assert yaml.safe_load(to_yaml(asyncapi())) == asyncapi()


def test_stale_documents_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` says what is stale and what to do, and writes nothing."""
    assert main(["--docs", str(tmp_path), "--check"]) == 2
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.count("\n") == 1


def test_writing_brings_everything_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing files are made, those of types that are no more are removed, the rest stays."""
    assert main(["--docs", str(tmp_path)]) == 0
    leftover = tmp_path / "contract/schemas/voltbus.gone.v1.json"
    leftover.write_text("{}")
    assert main(["--docs", str(tmp_path), "--check"]) == 2
    assert main(["--docs", str(tmp_path)]) == 0
    assert not leftover.exists()
    assert main(["--docs", str(tmp_path), "--check"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(documents()) + 1


def test_a_missing_folder_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is run at the top of the repository, and says so."""
    assert main(["--docs", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
