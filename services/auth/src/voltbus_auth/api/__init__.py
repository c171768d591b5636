"""The REST interface of auth."""

from voltbus_auth.api.authorizations import authorizations_router
from voltbus_auth.api.credentials import credentials_router
from voltbus_auth.api.tokens import tokens_router
from voltbus_auth.api.transactions import transactions_router

__all__ = [
    "authorizations_router",
    "credentials_router",
    "tokens_router",
    "transactions_router",
]
