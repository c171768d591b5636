"""Bodies of requests, checked: what is wrong with one is told without anything that it holds.

Neither values nor the names of unknown members are repeated: either may be a secret, or an
identifier in the wrong place. The keys of a mapping are (metadata): they are the operator's words.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
)

from voltbus_backbone.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

M = TypeVar("M", bound=BaseModel)


def _written(value: Any) -> Any:
    """Only text is a time: a bare number would be read as seconds since 1970."""
    if not isinstance(value, str | datetime):
        raise ValueError("write the time as RFC 3339 text with its offset")  # noqa: TRY004 - pydantic wants ValueError
    return value


# The bounds keep every time within what MongoDB and all time zones can hold.
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_written),
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC)),
]

# A short text of an operator.
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


def checked(kind: type[M], value: Any) -> M:
    """The value as a body, for what FastAPI did not check itself.

    Raises:
        Problem: 422 with the fields.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise misfit(error.errors(include_input=False, include_url=False), kind) from None


def misfit(errors: Iterable[Mapping[str, Any]], kind: Any) -> Problem:
    """The answer to a request with these errors; ``kind`` is the type that its body should have."""
    fields: list[dict[str, str]] = []
    for error in errors:
        mistake = _mistake(error, kind)
        if mistake not in fields:
            fields.append(mistake)
    return Problem(
        422, "invalid-request", "The request does not fit this operation.", errors=fields
    )


def known_place(kind: Any, way: Iterable[str | int]) -> str:
    """Name a place in a body of this type as far as its names are ours: others may be secrets."""
    place: list[str] = []
    for part in way:
        if isinstance(part, str) and part not in _members(kind, place):
            break
        place.append(str(part))
    return ".".join(place) or "body"


def _mistake(error: Mapping[str, Any], kind: Any) -> dict[str, str]:
    place = [part for part in error["loc"] if part != "body"]
    message = str(error["msg"])
    if error["type"] == "extra_forbidden":
        place = place[:-1]
        message = f"has a member that is unknown here{_those_known(_members(kind, place))}"
    return {"field": ".".join(str(part) for part in place) or "body", "message": message}


def _those_known(names: Sequence[str]) -> str:
    return f"; known: {', '.join(names)}" if names else ""


def _members(kind: Any, place: Iterable[int | str]) -> list[str]:
    """The members that a body of this type may have in a place."""
    there = list(_models(kind))
    for part in place:
        found = [fields[part] for fields in map(_fields, there) if part in fields]
        if found:  # else an index, or the key of a mapping: the models are the same ones
            there = [model for annotation in found for model in _models(annotation)]
    return list(dict.fromkeys(str(name) for model in there for name in _fields(model)))


def _fields(model: type[BaseModel]) -> dict[int | str, Any]:
    """What a model's members are called in JSON, and their types."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type: itself, or those of a union, a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
