"""One service as the command line reaches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """One service's address and the bearer token for it."""

    url: str
    token: str

    def __repr__(self) -> str:
        """Show no token."""
        return f"Service({self.url!r})"
