"""What the handlers need of the store; MongoDB and the tests' memory offer it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from voltbus_auth.domain.coverage import Coverage
    from voltbus_auth.domain.credentials import Credentials
    from voltbus_auth.domain.external import Answer
    from voltbus_auth.domain.journal import Decided
    from voltbus_auth.domain.places import Place
    from voltbus_auth.domain.record import Record
    from voltbus_auth.domain.reservations import Occupy, Release
    from voltbus_auth.domain.samples import SampleSet
    from voltbus_auth.domain.tokens import Token
    from voltbus_backbone.contract.agreements import AgreementSnapshot
    from voltbus_backbone.contract.stations import StationState
    from voltbus_backbone.contract.values import Sample

    Everything = tuple[
        dict[str, Token],
        dict[str, list[Coverage]],
        dict[str, Place],
        dict[tuple[str, str], Answer],
    ]


class Knowing(Protocol):
    """Reads what a decision needs."""

    async def everything(
        self, refs: Collection[str], token_refs: Collection[str], station_ids: Collection[str]
    ) -> Everything:
        """Tokens, agreements and stations as below, read together: one way to the server.

        With an external authorizer also what it said of these tokens at these stations.
        """
        ...

    async def tokens(self, refs: Collection[str]) -> dict[str, Token]:
        """The tokens that these presented references mean."""
        ...

    async def coverages(self, token_refs: Collection[str]) -> dict[str, list[Coverage]]:
        """The agreements that name these tokens."""
        ...

    async def places(self, station_ids: Collection[str]) -> dict[str, Place]:
        """The stations that config has told of."""
        ...


class Doors(Protocol):
    """Reads station credentials."""

    async def credentials(self, station_ids: Collection[str]) -> dict[str, Credentials]:
        """Those that exist."""
        ...

    async def registered(self, station_ids: Collection[str]) -> set[str]:
        """Those of the stations that config has told of."""
        ...


class Books(Protocol):
    """Keeps transactions."""

    async def records(
        self, refs: Collection[str], keys: Collection[str], stations: Collection[str] = ()
    ) -> list[Record]:
        """The transactions with these references, or called this, and what is open at stations."""
        ...

    async def take_ids(self, count: int) -> list[int]:
        """So many transaction ids for 1.6, unique in the fleet."""
        ...

    async def write(self, records: Sequence[Record], loaded: Mapping[str, int]) -> set[str]:
        """Store each unless it was changed since its loaded revision; those that were."""
        ...

    async def samples(self, refs: Collection[str]) -> dict[str, list[Sample]]:
        """The samples that were kept of these transactions."""
        ...

    async def keep_samples(self, samples: Sequence[SampleSet]) -> None:
        """Store samples; those that are there already stay as they are."""
        ...


class Occupancy(Protocol):
    """Counts open transactions against limits."""

    async def occupy(self, steps: Sequence[Occupy | Release]) -> set[tuple[str, str]]:
        """Do these in order, each atomically; the (transaction, key) pairs that hold afterwards."""
        ...


class Journal(Protocol):
    """Remembers decisions for whoever asks later."""

    def note(self, decided: Iterable[Decided]) -> None:
        """Remember soon, without being waited for."""
        ...


class Remembering(Protocol):
    """Remembers what the external authorizer said."""

    async def remember(self, answers: Sequence[Answer]) -> None:
        """Keep each until its time; a newer one replaces it."""
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
