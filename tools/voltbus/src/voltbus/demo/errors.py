"""What the demonstration says when the system does not do what it promises."""

from __future__ import annotations

from voltbus.errors import CommandError


class DemoError(CommandError):
    """Something did not go as promised; the message says what was expected and what came."""

    exit_code = 1
