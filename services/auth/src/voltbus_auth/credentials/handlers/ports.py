"""What a log-in needs of the store; MongoDB and the tests' memory offer it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from voltbus_auth.credentials.domain.credentials import Credentials


class CredentialReader(Protocol):
    """Reads station credentials."""

    async def credentials(self, station_ids: Collection[str]) -> dict[str, Credentials]:
        """Those that exist."""
        ...
