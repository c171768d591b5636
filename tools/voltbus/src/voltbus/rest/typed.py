"""What a person types, and nobody else should see."""

from __future__ import annotations

import sys

import typer

from voltbus.errors import CommandError


def read_token_value() -> str:
    """Ask for a token's value without echo, or read the first line of stdin. Raises CommandError.

    It is never an argument: arguments end up in the shell's history and in the list of processes.
    """
    if sys.stdin.isatty():
        value = str(typer.prompt("Token's value", hide_input=True, err=True))
    else:
        value = sys.stdin.readline()
    if not value.strip():
        raise CommandError("no token's value was given on stdin.")
    return value.strip()
