"""REST: `/v1/agreements` and everything under it.

``bodies`` is the wire form, ``desk`` what an operator may ask for, ``routes`` the paths.
"""

from voltbus_agreements.api.desk import Desk
from voltbus_agreements.api.routes import router

__all__ = ["Desk", "router"]
