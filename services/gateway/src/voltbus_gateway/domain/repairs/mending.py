"""A payload brought into the shape of its schema: one walk along it, linear in its size.

What fits stays as it is. What does not is converted where it can be understood, and otherwise left
out; the table's rules name the exceptions. Mending twice is mending once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltbus_backbone.values import storable
from voltbus_gateway.domain.repairs.fields import fold
from voltbus_gateway.domain.repairs.repair import Kind, Repair
from voltbus_gateway.domain.repairs.scalars import (
    is_name,
    to_boolean,
    to_integer,
    to_number,
    to_text,
)
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.times import is_time

if TYPE_CHECKING:
    from voltbus_gateway.domain.repairs.fields import Field
    from voltbus_gateway.domain.wire.frames import Payload

# So many different repairs are named; a message can have no more than its schema has places.
MOST_REPAIRS: Final = 20
WHOLE: Final = "payload"
_LEFT_OUT: Final = "left out"
_OCCURRENCE: Final = ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION


class _Absent:
    """The value could not be understood, or was not there."""


class _Unfit(_Absent):
    """It was there and decides the meaning of what holds it."""


ABSENT: Final = _Absent()
UNFIT: Final = _Unfit()


def mend(payload: Payload, shape: Field) -> tuple[Payload, tuple[Repair, ...]]:
    """Return the payload as it can be used, and its repairs.

    Raises:
        CallFailed: something that is core can't be understood.
    """
    mender = _Mender()
    mended = mender.mend_object(payload, shape)
    return (mended if isinstance(mended, dict) else {}), tuple(mender.repairs)


class _Mender:
    """One walk. ``repairs`` has each place and kind once, in the order in which they were met."""

    def __init__(self) -> None:
        self.repairs: dict[Repair, None] = {}
        self._noted: set[str] = set()

    def _note(self, shape: Field, kind: Kind, what: str) -> None:
        self._noted.add(shape.place)
        if len(self.repairs) < MOST_REPAIRS:
            self.repairs[Repair(shape.place or WHOLE, kind, what)] = None

    def mend_value(self, value: Any, shape: Field) -> Any:
        """What stands there afterwards, or ``ABSENT``."""
        if value is None and shape.type != "any":
            return self._drop_empty(shape, "null")
        return _READERS.get(shape.type, _Mender.check_anything)(self, value, shape)

    # What could not be understood.

    def _drop_empty(self, shape: Field, what: str) -> Any:
        """Null or an empty word: as good as not sent."""
        if shape.rule.core:
            raise _make_core_error(shape, "null or empty", ErrorCode.TYPE_CONSTRAINT_VIOLATION)
        self._note(shape, Kind.DROPPED, f"{what}, {_describe_substitute(shape)}")
        return ABSENT

    def _drop_unreadable(
        self, shape: Field, why: str, code: ErrorCode = ErrorCode.TYPE_CONSTRAINT_VIOLATION
    ) -> Any:
        if shape.rule.core:
            raise _make_core_error(shape, why, code)
        self._note(shape, Kind.DROPPED, f"{why}, {_describe_substitute(shape)}")
        return UNFIT if shape.rule.vital else ABSENT

    # Objects and lists.

    def mend_object(self, value: Any, shape: Field) -> Any:
        """An object with its members mended; without one that it can't do without, nothing."""
        if not isinstance(value, dict):
            return self._drop_unreadable(shape, "no object")
        if shape.members is None:
            return self.check_anything(value, shape)
        mended: dict[str, Any] = {}
        for name, inner in value.items():
            member = shape.members.get(name)
            if member is None:
                self._mend_extra(mended, name, inner, shape)
                continue
            found = self.mend_value(inner, member)
            if found is UNFIT:
                return self._drop_unreadable(shape, f"unusable without {name}")
            if found is not ABSENT:
                mended[name] = found
        if mended or shape.place:
            return self._complete(mended, shape)
        return mended

    def _mend_extra(self, mended: dict[str, Any], name: str, value: Any, shape: Field) -> None:
        """A property that the schema does not name."""
        if shape.open or shape.extras:
            try:
                storable.check({name: value})
            except storable.NotStorableError as error:
                self._note(shape, Kind.DROPPED, f"{error}, left out")
                return
            mended[name] = value
        if shape.open:
            return
        spoken = name if is_name(name) else "(unreadable)"
        kind, end = (Kind.KEPT, "") if shape.extras else (Kind.DROPPED, " left out")
        self._note(shape, kind, f"unknown property {spoken}{end}")

    def _complete(self, mended: dict[str, Any], shape: Field) -> Any:
        """With what stands for missing members; ``ABSENT`` when one is missing that it needs."""
        members = shape.members or {}
        for name in shape.required:
            if name in mended:
                continue
            member = members[name]
            rule = member.rule
            if rule.core:
                raise _make_core_error(member, "a required property is missing", _OCCURRENCE)
            if rule.filled is None and not rule.optional:
                return self._drop_unreadable(shape, f"without {name}", _OCCURRENCE)
            if rule.filled is not None:
                mended[name] = rule.filled
            if member.place not in self._noted:
                self._note(member, Kind.MISSING, f"missing{_describe_default(member)}")
        return mended

    def mend_array(self, value: Any, shape: Field) -> Any:
        if isinstance(value, dict):
            self._note(shape, Kind.CONVERTED, "a single object, read as a list")
            value = [value]
        if not isinstance(value, list):
            return self._drop_unreadable(shape, "no list")
        mended = value
        if shape.items is not None:
            entries = [self.mend_value(entry, shape.items) for entry in value]
            mended = [entry for entry in entries if not isinstance(entry, _Absent)]
        if shape.most is not None and len(mended) > shape.most and not shape.extras:
            self._note(shape, Kind.CUT, f"more than {shape.most} entries, the first ones kept")
            mended = mended[: shape.most]
        if len(mended) < shape.least and not shape.extras:
            return self._drop_empty(shape, "no readable entries")
        return mended

    def check_anything(self, value: Any, shape: Field) -> Any:
        try:
            storable.check(value)
        except storable.NotStorableError as error:
            return self._drop_unreadable(shape, str(error), ErrorCode.FORMAT_VIOLATION)
        return value

    # Single values.

    def mend_text(self, value: Any, shape: Field) -> Any:
        text = value if type(value) is str else to_text(value)
        if text is None:
            return self._drop_unreadable(shape, "no text")
        if shape.words is not None:
            return self._mend_word(text, shape)
        if shape.moment:
            return self._mend_moment(text, shape)
        if text is not value:
            self._note(shape, Kind.CONVERTED, "a number, read as text")
        return self._fit_length(text, shape)

    def _fit_length(self, text: str, shape: Field) -> Any:
        """A text of a length that can be kept."""
        if shape.limit is None or len(text) <= shape.limit:
            return text
        longest = max(shape.limit, shape.rule.longest)
        if len(text) <= longest:
            self._note(shape, Kind.KEPT, f"longer than {shape.limit} characters, kept whole")
            return text
        if shape.rule.identifier:
            why = f"longer than {longest} characters"
            return self._drop_unreadable(shape, why, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION)
        self._note(shape, Kind.CUT, f"cut to {longest} characters")
        return text[:longest]

    def _mend_word(self, text: str, shape: Field) -> Any:
        """One of the version's words, or what the rule says of another."""
        rule = shape.rule
        if text in shape.enum or text == rule.other:
            return text
        meant = (shape.words or {}).get(fold(text))
        if meant is not None:
            self._note(shape, Kind.CONVERTED, "another spelling of a known word")
            return meant
        stripped = text.strip()
        if rule.word and is_name(stripped):
            self._note(shape, Kind.KEPT, "a word that this version does not have, kept")
            return stripped
        if not stripped:
            return self._drop_empty(shape, "empty")
        if rule.other is not None:
            self._note(shape, Kind.REPLACED, f"an unknown word, read as {rule.other}")
            return rule.other
        return self._drop_unreadable(
            shape, "an unknown word", ErrorCode.PROPERTY_CONSTRAINT_VIOLATION
        )

    def _mend_moment(self, text: str, shape: Field) -> Any:
        if is_time(text):
            return text
        stripped = text.strip()
        if is_time(stripped):
            self._note(shape, Kind.CONVERTED, "blanks around a time")
            return stripped
        return self._drop_unreadable(shape, "no date-time", ErrorCode.PROPERTY_CONSTRAINT_VIOLATION)

    def mend_number(self, value: Any, shape: Field) -> Any:
        whole = shape.type == "integer"
        number = to_integer(value, rounded=shape.rule.rounded) if whole else to_number(value)
        if number is None:
            return self._drop_unreadable(shape, f"no {shape.type}")
        low, high = shape.minimum, shape.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            if not shape.extras:
                why = "out of its range"
                return self._drop_unreadable(shape, why, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION)
            self._note(shape, Kind.KEPT, "out of its range, kept")
        if type(value) is int or (type(value) is float and self._may_be_float(value, shape)):
            return value
        said = "rounded" if whole and number != to_number(value) else f"read as {shape.type}"
        self._note(shape, Kind.CONVERTED, said)
        return number

    def _may_be_float(self, value: float, shape: Field) -> bool:
        return shape.type == "number" or (shape.whole_floats and value.is_integer())

    def mend_boolean(self, value: Any, shape: Field) -> Any:
        found = to_boolean(value)
        if found is None:
            return self._drop_unreadable(shape, "no boolean")
        if found is not value:
            self._note(shape, Kind.CONVERTED, "read as true or false")
        return found


_READERS: Final = {
    "object": _Mender.mend_object,
    "array": _Mender.mend_array,
    "string": _Mender.mend_text,
    "integer": _Mender.mend_number,
    "number": _Mender.mend_number,
    "boolean": _Mender.mend_boolean,
}


def _describe_substitute(shape: Field) -> str:
    """What is done without the value."""
    rule = shape.rule
    if shape.wanted and rule.filled is not None:
        return f"read as {rule.filled or 'empty'}"
    if shape.moment and rule.optional:
        return "the message's time taken" if "." in shape.place else "the time of arrival taken"
    return _LEFT_OUT


def _describe_default(shape: Field) -> str:
    """What is done where nothing was sent."""
    done = _describe_substitute(shape)
    return "" if done == _LEFT_OUT else f", {done}"


def _make_core_error(shape: Field, why: str, code: ErrorCode) -> CallFailed:
    return CallFailed(code, f"{shape.place or WHOLE}: {why}")
