"""Which numbers of a station's answer its command's events repeat.

Answers may hold secrets and identifiers, so this is a table of what cannot: the version of a local
list, and the limits within which one may be sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELDS = {"GetLocalListVersion": ("listVersion", "versionNumber")}

# 1.6 §9.2; 2.x LocalAuthListCtrlr. All are whole numbers.
_KEYS = frozenset({"LocalAuthListMaxLength", "SendLocalListMaxLength"})
_LIST = "localauthlistctrlr"
_VARIABLES = {
    ("bytespermessage", "actual"): "LocalAuthListCtrlr.BytesPerMessage",
    ("itemspermessage", "actual"): "LocalAuthListCtrlr.ItemsPerMessage",
    # How many entries there are, and how many there may be.
    ("entries", "actual"): "LocalAuthListCtrlr.Entries",
    ("entries", "maxset"): "LocalAuthListCtrlr.Entries.MaxSet",
}
_LONGEST = 9


def extract_numbers(action: str, answer: dict[str, Any]) -> dict[str, int]:
    """Extract the numbers of an answer to ``action`` that events may repeat, by OCPP's names."""
    match action:
        case "GetConfiguration":
            found = dict(_read_keys(answer))
        case "GetVariables":
            found = dict(_read_variables(answer))
        case _:
            found = {name: answer.get(name) for name in _FIELDS.get(action, ())}
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _read_keys(answer: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    for item in answer.get("configurationKey") or ():
        name = item.get("key")
        if name in _KEYS:
            yield name, _parse_whole(item.get("value"))


def _read_variables(answer: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    for item in answer.get("getVariableResult") or ():
        if _name_of(item, "component") != _LIST:
            continue
        attribute = item.get("attributeType", "Actual").casefold()
        name = _VARIABLES.get((_name_of(item, "variable"), attribute))
        if name is not None:
            yield name, _parse_whole(item.get("attributeValue"))


def _name_of(item: dict[str, Any], what: str) -> str:
    """Return the folded name of a component or variable; empty where an answer left it out."""
    name = item.get(what, {}).get("name", "")
    return str(name).casefold()


def _parse_whole(value: object) -> int | None:
    """Parse a number that stations write as text; None where it is something else."""
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST else None
