"""A JSON schema and the table's rules, joined to a tree that ``mending`` walks along a payload.

Reads the keywords that OCPP's schemas use (type, properties, required, additionalProperties, enum,
maxLength, format, items, minItems, maxItems, minimum, maximum, $ref).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# The longest text that is kept whole where the schema wants a shorter one: 2.1's longest idToken.
LONGEST: Final = 255


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a field that does not fit.

    ``core``: it can't be missed; a value that can't be understood refuses the message.
    ``vital``: it goes together with the object that holds it, whose meaning it decides (a unit).
    ``optional``: the schema requires it; the fact is worth keeping without.
    ``identifier``: never cut, since what is cut names something else.
    ``rounded``: a quantity, whose fraction may go.
    ``word``: a name that the version does not have is kept. ``other``: the word that stands for
    one that can't be kept. ``filled``: the value that stands for a missing one.
    ``longest``: how many characters are kept whole at least.
    """

    core: bool = False
    vital: bool = False
    optional: bool = False
    identifier: bool = False
    rounded: bool = False
    word: bool = False
    other: str | None = None
    filled: Any = None
    longest: int = LONGEST


@dataclass(frozen=True, slots=True)
class Rules:
    """The table's part for one message.

    ``fields`` maps a place (dotted names, without positions in lists) to its rule; ``default``
    holds for all others. ``extras``: unknown properties are kept, for nobody reads them by name.
    """

    fields: Mapping[str, Rule] = field(default_factory=dict)
    default: Rule = Rule()
    extras: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One node: a place of a message with what may stand there; ``wanted``: its holder requires it.

    ``members`` is None where the schema says nothing of an object's properties. ``words`` maps a
    folded spelling to the version's word. ``whole_floats``: 3.0 is an integer (JSON Schema draft 6
    and later, so 2.x).
    """

    place: str
    type: str
    rule: Rule
    extras: bool
    whole_floats: bool
    wanted: bool = False
    members: dict[str, Field] | None = None
    required: tuple[str, ...] = ()
    open: bool = True
    items: Field | None = None
    least: int = 0
    most: int | None = None
    words: dict[str, str] | None = None
    enum: frozenset[str] = frozenset()
    limit: int | None = None
    moment: bool = False
    minimum: float | None = None
    maximum: float | None = None


def fold(word: str) -> str:
    """A word without case, blanks and signs: how spellings are compared."""
    return "".join(filter(str.isalnum, word)).casefold()


def join(schema: dict[str, Any], rules: Rules) -> Field:
    """The tree of a schema under these rules."""
    draft_4 = "draft-04" in schema.get("$schema", "")
    return _Joiner(schema.get("definitions", {}), rules, whole_floats=not draft_4).make_field(
        schema, ""
    )


class _Joiner:
    """Follows a schema's references while its tree is made."""

    def __init__(self, definitions: dict[str, Any], rules: Rules, *, whole_floats: bool) -> None:
        self._definitions = definitions
        self._rules = rules
        self._whole_floats = whole_floats

    def make_field(self, schema: dict[str, Any], place: str, *, wanted: bool = False) -> Field:
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        properties: dict[str, Any] | None = schema.get("properties")
        required = tuple(schema.get("required", ()))
        words = [word for word in schema.get("enum", ()) if isinstance(word, str)]
        items = schema.get("items")
        return Field(
            place=place,
            type=schema.get("type", "object" if properties else "any"),
            rule=self._rules.fields.get(place, self._rules.default),
            extras=self._rules.extras,
            whole_floats=self._whole_floats,
            wanted=wanted,
            members=None
            if properties is None
            else {
                name: self.make_field(inner, f"{place}.{name}".lstrip("."), wanted=name in required)
                for name, inner in properties.items()
            },
            required=required,
            open=schema.get("additionalProperties") is not False,
            items=self.make_field(items, place) if isinstance(items, dict) else None,
            least=schema.get("minItems", 0),
            most=schema.get("maxItems"),
            words=_list_spellings(words) if words else None,
            enum=frozenset(words),
            limit=schema.get("maxLength"),
            moment=schema.get("format") == "date-time",
            minimum=schema.get("minimum"),
            maximum=schema.get("maximum"),
        )


def _list_spellings(words: list[str]) -> dict[str, str]:
    """Each word by its folded spelling, but for those that only their spelling tells apart."""
    often = Counter(map(fold, words))
    return {fold(word): word for word in words if often[fold(word)] == 1}
