"""`voltbus token show|block|unblock|delete|explain`, and the group that holds all its commands.

A token's value is asked for, or read from stdin, and is never an argument: arguments end up in the
shell's history and in the list of processes. Its reference is no secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from voltbus.commands.token.files import export_tokens, import_tokens
from voltbus.errors import CommandError
from voltbus.rest.services import Home, Url, open_service
from voltbus.rest.typed import read_token_value

if TYPE_CHECKING:
    from pathlib import Path

    from voltbus.rest.client import Body, Client

_REF = re.compile(r"[0-9a-f]{64}")
_ACCEPTED = "Accepted"

token = typer.Typer(
    name="token",
    help="Id tokens: import, export, show, block, delete, and why one is refused.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
token.command("import")(import_tokens)
token.command("export")(export_tokens)

Ref = Annotated[
    str | None,
    typer.Argument(
        metavar="[REF]",
        help="The token's reference. Without it the token's value is asked for, or read from "
        "stdin: it does not belong into the shell's history.",
        show_default=False,
    ),
]
Kind = Annotated[
    str,
    typer.Option("--type", metavar="TYPE", help="The value's type; empty: as OCPP 1.6 presents it"),
]


@token.command()
def show(ref: Ref = None, *, kind: Kind = "", url: Url = None, home: Home = None) -> None:
    """Show a token: its rights, never its value.

    [bold]Examples[/bold]

      voltbus token show
      voltbus token show 3f9a...c2
      pass show cards/mine | voltbus token show --type ISO14443
    """
    from voltbus.rest.tables import show_one  # noqa: PLC0415 - slow; --help does not need it

    with open_service("auth", url, home) as client:
        show_one(_found(client, ref, kind))


@token.command()
def block(ref: Ref = None, *, kind: Kind = "", url: Url = None, home: Home = None) -> None:
    """Block a token: it charges nowhere from now on.

    [bold]Examples[/bold]

      voltbus token block
      voltbus token block 3f9a...c2
    """
    _set_status("blocked", ref, kind, url, home)


@token.command()
def unblock(ref: Ref = None, *, kind: Kind = "", url: Url = None, home: Home = None) -> None:
    """Accept a token again.

    [bold]Examples[/bold]

      voltbus token unblock
      voltbus token unblock 3f9a...c2
    """
    _set_status("accepted", ref, kind, url, home)


@token.command()
def delete(
    ref: Ref = None,
    *,
    kind: Kind = "",
    erase: Annotated[
        bool,
        typer.Option("--erase", help="Forget the person too: what it charged gets a random name."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to.")] = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Delete a token; with --erase everything that leads to its holder.

    [bold]Examples[/bold]

      voltbus token delete 3f9a...c2
      voltbus token delete 3f9a...c2 --erase --yes
    """
    with open_service("auth", url, home) as client:
        found = _found(client, ref, kind)
        if not yes:
            verb = "Erase" if erase else "Delete"
            typer.confirm(f"{verb} token {found['masked']} ({found['type']})?", abort=True)
        params = {"erase": "true"} if erase else {}
        client.change("DELETE", f"/v1/tokens/{found['ref']}", params=params)
    typer.echo("Erased." if erase else "Deleted.", err=True)


@token.command()
def explain(
    ref: Ref = None,
    *,
    station: Annotated[str, typer.Option(metavar="ID", help="At which station.")],
    kind: Kind = "",
    evse: Annotated[int | None, typer.Option(min=0, help="At which EVSE.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When: 2026-05-01T12:00:00Z. Default: now.")
    ] = None,
    starting: Annotated[
        bool, typer.Option("--starting", help="Count open transactions, as a start does.")
    ] = False,
    url: Url = None,
    home: Home = None,
) -> int:
    """Would this token be accepted there and then, and why? Exit code 1: it would not.

    [bold]Examples[/bold]

      voltbus token explain --station CP-1
      voltbus token explain 3f9a...c2 --station CP-1 --evse 2 --at 2026-05-01T22:00:00+02:00
    """
    from voltbus.rest.tables import show_one  # noqa: PLC0415 - slow; --help does not need it

    where = {"station_id": station, "evse_id": evse, "at": at, "starting": starting}
    body: Body = {name: one for name, one in where.items() if one is not None}
    if _is_ref(ref):
        body["token_ref"] = ref
    else:
        body |= {"id_token": read_token_value(), "type": kind}
    with open_service("auth", url, home) as client:
        said = client.ask("POST", "/v1/authorizations/explain", body)
    show_one({name: one for name, one in said.items() if one not in (None, [])})
    if not said["station_known"]:
        typer.echo("No such station is registered: its hours and rules are not in this.", err=True)
    return 0 if said["status"] == _ACCEPTED else 1


def _set_status(
    status: str, ref: str | None, kind: str, url: str | None, home: Path | None
) -> None:
    with open_service("auth", url, home) as client:
        found = _found(client, ref, kind)
        changed = client.change("PATCH", f"/v1/tokens/{found['ref']}", {"status": status})
    typer.echo(f"{changed['masked']} ({changed['type']}): {changed['status']}", err=True)


def _found(client: Client, ref: str | None, kind: str) -> Body:
    """Find the token that a reference names, or a value that is typed."""
    if _is_ref(ref):
        return client.ask("GET", f"/v1/tokens/{ref}")
    wanted = {"id_token": read_token_value(), "type": kind}
    found: list[Body] = client.ask("POST", "/v1/tokens/search", wanted)["data"]
    if not found:
        raise CommandError("no such token is registered.")
    if len(found) > 1:
        types = ", ".join(sorted(one["type"] for one in found))
        raise CommandError(f"several tokens have this value ({types}): choose one with --type.")
    return found[0]


def _is_ref(ref: str | None) -> bool:
    """Tell a reference from nothing; anything else is refused without being repeated."""
    if ref is not None and not _REF.fullmatch(ref):
        raise CommandError(
            "REF is a token's reference (64 hex digits). Leave it out to be asked for the value, "
            "which does not belong on the command line."
        )
    return ref is not None
