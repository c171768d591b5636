"""What is wrong with a request, and in which of its members."""

from typing import NamedTuple


class Mistake(NamedTuple):
    """A mistake in words, never with the value."""

    field: str
    message: str

    def __str__(self) -> str:
        """Both in one line."""
        return f"{self.field}: {self.message}"
