"""REST: `/v1/agreements` and everything under it.

``bodies`` is the wire form, ``service`` what an operator may ask for, ``routes`` the paths.
"""

from voltbus_agreements.api.routes import router
from voltbus_agreements.api.service import AgreementService

__all__ = ["AgreementService", "router"]
