"""The agreements database: `agreements`, `revisions`, `claims`, `usage`, `sessions`, `outbox`.

A change, its line of history, the tokens it claims and its events commit in one transaction.
"""

from voltbus_agreements.store.agreements import Session, Store
from voltbus_agreements.store.lists import Filters

__all__ = ["Filters", "Session", "Store"]
