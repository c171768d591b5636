"""The consumer of `config.requests`, a module for each kind of message."""

from voltbus_config.handlers.requests.handler import TYPES, RequestHandler

__all__ = ["TYPES", "RequestHandler"]
