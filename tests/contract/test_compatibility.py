"""The gate: a type of the contract may gain optional fields, and change in no other way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voltbus_backbone.contract.registry import TYPES
from voltbus_backbone.contract_docs.__main__ import main
from voltbus_backbone.contract_docs.compatibility import breaking_changes
from voltbus_backbone.contract_docs.schemas import schema_of

BASELINE = Path(__file__).parents[2] / "docs/contract/baseline"

BASE: dict[str, Any] = {
    "$ref": "#/$defs/Start",
    "$defs": {
        "Start": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "kind": {"$ref": "#/$defs/Kind"},
                "meter_wh": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
                "samples": {"type": "array", "items": {"$ref": "#/$defs/Sample"}, "default": []},
                "hours": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["id", "kind", "hours"],
        },
        "Sample": {
            "type": "object",
            "properties": {"value": {"type": "number"}},
            "required": ["value"],
        },
        "Kind": {"enum": ["rfid", "app"]},
    },
}


def changed(*way: str, to: Any) -> dict[str, Any]:
    """BASE with one place replaced, or removed where ``to`` is None."""
    copy: dict[str, Any] = json.loads(json.dumps(BASE))
    place = copy["$defs"]
    for part in way[:-1]:
        place = place[part]
    if to is None:
        del place[way[-1]]
    else:
        place[way[-1]] = to
    return copy


def test_the_same_schema_breaks_nothing() -> None:
    """No change, no sentence."""
    assert breaking_changes(BASE, BASE) == []


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(
            changed("Start", "properties", "note", to={"type": "string", "default": ""}),
            id="another optional field",
        ),
        pytest.param(
            changed("Sample", "properties", "unit", to={"type": "string", "default": "Wh"}),
            id="another optional field further in",
        ),
        pytest.param(changed("Start", "description", to="In other words."), id="other words"),
        pytest.param(
            changed("Sample", "properties", "value", to={"type": "number", "title": "V"}),
            id="a title",
        ),
    ],
)
def test_what_may_change(new: dict[str, Any]) -> None:
    """Additions that are optional, and words, break nobody."""
    assert breaking_changes(BASE, new) == []


def test_a_definition_may_be_renamed() -> None:
    """The name of a struct is not on the wire."""
    text = json.dumps(BASE).replace("#/$defs/Sample", "#/$defs/Reading")
    assert breaking_changes(BASE, json.loads(text.replace('"Sample":', '"Reading":'))) == []


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        pytest.param(
            changed("Start", "properties", "meter_wh", to=None),
            "meter_wh: the field was removed",
            id="an optional field goes",
        ),
        pytest.param(
            changed("Start", "required", to=["id", "kind", "hours", "meter_wh"]),
            "meter_wh: the field was optional and is required now",
            id="an optional field becomes required",
        ),
        pytest.param(
            changed("Start", "required", to=["id", "hours"]),
            "kind: the field was required and is optional now",
            id="a required field becomes optional",
        ),
        pytest.param(
            changed("Start", "properties", "id", to={"type": "integer"}),
            "id: type was 'string', is 'integer'",
            id="another type",
        ),
        pytest.param(
            changed("Start", "properties", "meter_wh", "anyOf", to=[{"type": "integer"}]),
            "meter_wh: anyOf was [{'type': 'integer'}, {'type': 'null'}], is [{'type': 'integer'}]",
            id="null no longer allowed",
        ),
        pytest.param(
            changed(
                "Start",
                "properties",
                "meter_wh",
                "anyOf",
                to=[{"type": "number"}, {"type": "null"}],
            ),
            "meter_wh: type was 'integer', is 'number'",
            id="another type beside null",
        ),
        pytest.param(
            changed("Start", "properties", "meter_wh", "default", to=0),
            "meter_wh: the default was None, is 0",
            id="another default: it is left out on the wire",
        ),
        pytest.param(
            changed("Start", "properties", "hours", "additionalProperties", to={"type": "number"}),
            "hours[]: type was 'string', is 'number'",
            id="another type of map value",
        ),
        pytest.param(
            changed("Sample", "properties", "value", to={"type": "string"}),
            "samples[].value: type was 'number', is 'string'",
            id="another type within a list",
        ),
        pytest.param(
            changed("Kind", "enum", to=["rfid"]),
            "kind: enum was ['rfid', 'app'], is ['rfid']",
            id="a word goes",
        ),
        pytest.param(
            changed("Kind", "enum", to=["rfid", "app", "plug"]),
            "kind: enum was ['rfid', 'app'], is ['rfid', 'app', 'plug']",
            id="a word that old readers do not know",
        ),
        pytest.param(
            changed("Start", "properties", "id", to={"type": "string", "maxLength": 5}),
            "id: maxLength was None, is 5",
            id="a new limit",
        ),
    ],
)
def test_what_may_not_change(new: dict[str, Any], sentence: str) -> None:
    """Each of these breaks an old reader or an old writer, and the sentence says where."""
    assert breaking_changes(BASE, new) == [sentence]


def test_a_new_field_must_be_optional() -> None:
    """A record of yesterday does not have it."""
    new = changed("Start", "properties", "site", to={"type": "string"})
    new["$defs"]["Start"]["required"].append("site")
    assert breaking_changes(BASE, new) == ["site: the new field is required"]


def test_a_struct_that_holds_itself_is_compared_once() -> None:
    """Recursion in the schema ends."""
    nested = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    assert breaking_changes(nested, nested) == []


@pytest.mark.parametrize("path", sorted(BASELINE.glob("*.json")), ids=lambda path: path.stem)
def test_a_type_of_the_baseline_is_still_understood(path: Path) -> None:
    """What was recorded with a release holds: full and transitive compatibility (rules, E)."""
    assert path.stem in TYPES, "a type that others use was removed: write both versions for a while"
    assert breaking_changes(json.loads(path.read_text()), schema_of(TYPES[path.stem])) == []


def test_every_type_has_a_baseline() -> None:
    """Recorded with `python -m voltbus_backbone.contract_docs --record-baseline`."""
    assert {path.stem for path in BASELINE.glob("*.json")} == TYPES.keys()


def test_recording_never_changes_what_was_recorded(tmp_path: Path) -> None:
    """A baseline is made once per type: otherwise it would forgive every change."""
    assert main(["--docs", str(tmp_path), "--record-baseline"]) == 0
    first = next((tmp_path / "contract/baseline").iterdir())
    first.write_text("{}")
    assert main(["--docs", str(tmp_path), "--record-baseline"]) == 0
    assert first.read_text() == "{}"
