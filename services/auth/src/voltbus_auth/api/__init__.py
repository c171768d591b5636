"""The REST interface of auth."""

from voltbus_auth.api.authorizations import authorizations_router
from voltbus_auth.api.bulk import bulk_router
from voltbus_auth.api.changes import changes_router
from voltbus_auth.api.credentials import credentials_router
from voltbus_auth.api.erasures import erasures_router
from voltbus_auth.api.fleets import fleets_router
from voltbus_auth.api.local_lists import local_lists_router
from voltbus_auth.api.roots import roots_router
from voltbus_auth.api.rotating import Beginning, rotating_router
from voltbus_auth.api.station_certificates import station_certificates_router
from voltbus_auth.api.tokens import tokens_router
from voltbus_auth.api.transactions import transactions_router

__all__ = [
    "Beginning",
    "authorizations_router",
    "bulk_router",
    "changes_router",
    "credentials_router",
    "erasures_router",
    "fleets_router",
    "local_lists_router",
    "roots_router",
    "rotating_router",
    "station_certificates_router",
    "tokens_router",
    "transactions_router",
]
