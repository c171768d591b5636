"""Where the services are, and what opens their doors: the environment, or the stack in the home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from voltbus.errors import CommandError
from voltbus.rest.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltbus.rest.client import Client

TOKEN = "VOLTBUS_OPERATOR_TOKEN"  # noqa: S105 - the variable's name

Home = Annotated[
    Path | None,
    typer.Option(
        help="The home of `voltbus up`, whose stack is asked when nothing else is named.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The service; the bearer token is then read from VOLTBUS_OPERATOR_TOKEN.",
        show_default=False,
    ),
]


def find_service(name: str, url: str | None, home: Path | None) -> Service:
    """Find a service: by --url, by VOLTBUS_<NAME>_URL, or that of the stack in the home.

    Raises:
        CommandError: there is none, or no bearer token for it.
    """
    url = url or os.environ.get(f"VOLTBUS_{name.upper()}_URL")
    token = os.environ.get(TOKEN)
    if url is not None:
        if not token:
            raise CommandError(f"set {TOKEN} to a bearer token for {_checked(url)}.")
        return Service(_checked(url), token)
    stack = _running(name, home)
    return Service(str(stack[name]), token or str(stack["operator_token"]))


def open_service(name: str, url: str | None, home: Path | None) -> Client:
    """Find a service, and open a client to it, to be closed with `with`. Raises CommandError."""
    from voltbus.rest.client import Client  # noqa: PLC0415 - brings httpx; --help does not need it

    return Client(find_service(name, url, home))


def _running(name: str, home: Path | None) -> Mapping[str, object]:
    # Imported here because --help does not need it.
    from voltbus.embedded.folders import default_home, running_stack  # noqa: PLC0415 - see above

    folder = home or default_home()
    stack = running_stack(folder)
    if stack is None or not stack.get(name):
        raise CommandError(
            f"No stack runs in {folder}: start one with 'voltbus up', or name the {name} service "
            f"with --url or VOLTBUS_{name.upper()}_URL."
        )
    return stack


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None:
        raise CommandError("--url takes an address such as http://127.0.0.1:9002.")
    return url.rstrip("/")
