"""The stores that local lists are made from and kept in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltbus_auth.local_lists.store.lists import LocalListStore
    from voltbus_auth.local_lists.store.plans import PlanStore
    from voltbus_auth.local_lists.store.tokens import ListedTokenStore
    from voltbus_auth.projections.store import ProjectionStore
    from voltbus_auth.tokens.store.tokens import TokenStore


@dataclass(frozen=True, slots=True)
class ListStores:
    """The room's own stores, and those of tokens and projections."""

    plan: PlanStore
    local_list: LocalListStore
    listed_token: ListedTokenStore
    token: TokenStore
    projection: ProjectionStore
