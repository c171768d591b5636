"""What a changed schema breaks for those who wrote against the old one.

Full and transitive compatibility (old readers of new records, new readers of old records) leaves
one change: another optional field. Anything else takes a new version of the type.
"""

from __future__ import annotations

from typing import Any

from voltbus_backbone.contract_docs.schemas import REF

Schema = dict[str, Any]

# What the words say does not change what is on the wire.
_WORDS = frozenset({"$schema", "$id", "$defs", "title", "description", "examples"})


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """One sentence for each change that is not an added optional field; empty when compatible."""
    return _Comparison(old.get("$defs", {}), new.get("$defs", {})).differences(old, new, "")


class _Comparison:
    """Two schemas side by side, each with its definitions."""

    def __init__(self, old: dict[str, Schema], new: dict[str, Schema]) -> None:
        self._old = old
        self._new = new
        self._seen: set[tuple[str, str]] = set()

    def differences(self, old: Schema, new: Schema, path: str) -> list[str]:
        """The breaking differences at and below this place."""
        names = (old.get("$ref", ""), new.get("$ref", ""))
        if any(names):
            if names in self._seen:
                return []
            self._seen.add(names)
        # A definition may be renamed: only what it describes is on the wire.
        old = _resolved(old, self._old)
        new = _resolved(new, self._new)
        found = self._fields(old, new, path)
        for word in sorted((old.keys() | new.keys()) - _WORDS - {"properties", "required"}):
            found += self._word(word, old, new, path)
        return found

    def _fields(self, old: Schema, new: Schema, path: str) -> list[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
        found = []
        for name in before:
            place = f"{path}.{name}".lstrip(".")
            if name not in after:
                found.append(f"{place}: the field was removed")
                continue
            if name in needed_after - needed_before:
                found.append(f"{place}: the field was optional and is required now")
            if name in needed_before - needed_after:
                found.append(f"{place}: the field was required and is optional now")
            found += self.differences(before[name], after[name], place)
        found += [
            f"{path}.{name}: the new field is required".lstrip(".")
            for name in after
            if name not in before and name in needed_after
        ]
        return found

    def _word(self, word: str, old: Schema, new: Schema, path: str) -> list[str]:
        place = path or "the message"
        before, after = old.get(word), new.get(word)
        if word == "default":
            # Defaults are left out on the wire: another default is another meaning.
            return [] if before == after else [f"{place}: the default was {before!r}, is {after!r}"]
        if isinstance(before, dict) and isinstance(after, dict):
            return self.differences(before, after, f"{path}[]")
        if (
            word in {"anyOf", "prefixItems"}
            and isinstance(before, list)
            and isinstance(after, list)
            and len(before) == len(after)
        ):
            return [
                sentence
                for one, other in zip(before, after, strict=True)
                for sentence in self.differences(one, other, path)
            ]
        if before == after:
            return []
        return [f"{place}: {word} was {before!r}, is {after!r}"]


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """A schema with its reference replaced by what it names; words beside the reference stay."""
    if "$ref" not in schema:
        return schema
    beside = {word: value for word, value in schema.items() if word != "$ref"}
    return {**definitions[schema["$ref"].removeprefix(REF)], **beside}
