"""`voltbus token`: the operator's token desk."""

from voltbus.commands.token.desk import token

__all__ = ["token"]
