"""What the handlers need of the projections; MongoDB and the tests' memory offer it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from voltbus_backbone.contract.agreements import AgreementSnapshot
    from voltbus_backbone.contract.stations import StationState


class RegisteredStations(Protocol):
    """Tells which stations config knows."""

    async def registered(self, station_ids: Collection[str]) -> set[str]:
        """Those of the stations that config has told of."""
        ...


class Projections(Protocol):
    """Keeps what other services tell."""

    async def put_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        """Store each unless a newer revision is there."""
        ...

    async def drop_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        """Forget these; an older snapshot that comes late must not bring them back."""
        ...

    async def put_stations(self, states: Sequence[StationState]) -> None:
        """Store each unless a newer revision is there."""
        ...

    async def drop_stations(self, removed: Mapping[str, datetime]) -> None:
        """Forget these stations and their credentials, unless either is newer than the removal."""
        ...
