"""What transactions need of the store; MongoDB and the tests' memory offer it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.domain.samples import SampleSet
    from voltbus_backbone.contract.values import Sample


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
