"""What decisions need of the store; MongoDB and the tests' memory offer it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from voltbus_auth.decisions.domain.external import Answer
    from voltbus_auth.decisions.domain.journal import Decided
    from voltbus_auth.decisions.domain.reservations import Occupy, Release
    from voltbus_auth.projections.domain.coverage import Coverage
    from voltbus_auth.projections.domain.places import Place
    from voltbus_auth.tokens.domain.token import Token

    DecisionInputs = tuple[
        dict[str, Token],
        dict[str, list[Coverage]],
        dict[str, Place],
        dict[tuple[str, str], Answer],
    ]


class DecisionInputReader(Protocol):
    """Reads what a decision needs."""

    async def load_decision_inputs(
        self, refs: Collection[str], token_refs: Collection[str], station_ids: Collection[str]
    ) -> DecisionInputs:
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
