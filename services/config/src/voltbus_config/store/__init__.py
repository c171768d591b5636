"""The database of config: the only package that knows MongoDB."""

from voltbus_config.store.database import Session, Store
from voltbus_config.store.shelf import Shelf

__all__ = ["Session", "Shelf", "Store"]
