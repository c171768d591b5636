"""The trusted roots in memory: read at the start, after each change here, and now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from voltbus_backbone.lookout import Lookout

if TYPE_CHECKING:
    from voltbus_auth.plug_and_charge.domain.authorities import Authority
    from voltbus_auth.plug_and_charge.domain.chain import Root

log = structlog.get_logger(__name__)


class Keeping(Protocol):
    """Where roots are kept."""

    async def roots(self) -> list[Authority]:
        """All of them."""
        ...


class Trust:
    """What the other replicas were told is known here ``every_s`` seconds later."""

    def __init__(self, source: Keeping, *, every_s: float) -> None:
        self._source = source
        # The process has read them before it serves: the first look is a period later.
        self._lookout = Lookout("roots", self.refresh, every_s=every_s, first_after_s=every_s)
        self._known: dict[str, Authority] = {}
        self.roots: tuple[Root, ...] = ()

    async def refresh(self) -> None:
        """Read them all. While MongoDB is away, those that are known stay."""
        found = {one.fingerprint: one for one in await self._source.roots()}
        if found != self._known:
            self.roots = tuple(one.root() for one in found.values())
            self._known = found
            log.info("roots.changed", count=len(found))

    async def run(self) -> None:
        """Refresh for the life of the process."""
        await self._lookout.run()
