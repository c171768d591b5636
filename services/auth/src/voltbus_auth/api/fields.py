"""Fields that several bodies and filters share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints


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
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
