"""Times as the services store them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def to_milliseconds(at: datetime) -> datetime:
    """Cut off what is finer than a millisecond: MongoDB's dates hold no more."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
