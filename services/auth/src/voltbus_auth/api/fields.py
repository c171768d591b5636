"""Fields that several bodies and filters share."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from voltbus_backbone.rest.validation import Time

__all__ = ["Text", "Time"]

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
