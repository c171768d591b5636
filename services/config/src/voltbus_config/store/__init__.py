"""The database of config: the only package that knows MongoDB."""

from voltbus_config.store.database import Session, Store
from voltbus_config.store.repository import Repository

__all__ = ["Repository", "Session", "Store"]
