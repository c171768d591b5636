"""`voltbus agreement`: list, show, create from a file, and move along the life cycle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated
from urllib.parse import quote

import typer

from voltbus.rest.services import Home, Url, open_service

agreement = typer.Typer(
    name="agreement",
    help="Service agreements: list, show, create, and change their state.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_COLUMNS = ("id", "status", "kind", "name", "valid_from", "valid_to")

Identity = Annotated[str, typer.Argument(metavar="ID", help="The agreement's id.")]


class Step(StrEnum):
    """What an operator may do with an agreement."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    REOPEN = "reopen"
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"
    CANCEL = "cancel"


@agreement.command("list")
def list_agreements(
    *,
    status: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    token_ref: Annotated[
        str | None, typer.Option(metavar="REF", help="Only those that name this token.")
    ] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    url: Url = None,
    home: Home = None,
) -> None:
    """List agreements, the newest first.

    [bold]Examples[/bold]

      voltbus agreement list --status active
    """
    from voltbus.rest.tables import show_many  # noqa: PLC0415 - slow; --help does not need it

    with open_service("agreements", url, home) as client:
        found = client.pages("/v1/agreements", most, status=status, token_ref=token_ref)
    show_many(found, _COLUMNS)


@agreement.command()
def show(agreement_id: Identity, *, url: Url = None, home: Home = None) -> None:
    """Show an agreement.

    [bold]Examples[/bold]

      voltbus agreement show agr_01JZ...
    """
    from voltbus.rest.tables import show_one  # noqa: PLC0415 - slow; --help does not need it

    with open_service("agreements", url, home) as client:
        show_one(client.ask("GET", _path(agreement_id)))


@agreement.command()
def create(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON as POST /v1/agreements takes it; - stdin.")
    ],
    *,
    activate: Annotated[
        bool, typer.Option("--activate", help="And activate it, if the policy allows.")
    ] = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Create the agreements in a file: one object, a list, or one a line. Prints their ids.

    [bold]Examples[/bold]

      voltbus agreement create fleet.json
      voltbus agreement create drivers.ndjson --activate
    """
    from voltbus.rest.bodies import read_bodies  # noqa: PLC0415 - --help does not need it

    with open_service("agreements", url, home) as client:
        for body in read_bodies(file):
            made = str(client.ask("POST", "/v1/agreements", body)["id"])
            if activate:
                client.ask("POST", f"{_path(made)}/{Step.ACTIVATE}")
            typer.echo(made)


@agreement.command()
def act(
    step: Annotated[Step, typer.Argument(help="What to do.")],
    agreement_id: Identity,
    *,
    reason: Annotated[str, typer.Option(help="Kept in its history.")] = "",
    url: Url = None,
    home: Home = None,
) -> None:
    """Move an agreement along its life cycle.

    [bold]Examples[/bold]

      voltbus agreement act suspend agr_01JZ... --reason 'invoice open'
    """
    with open_service("agreements", url, home) as client:
        body = {"reason": reason} if reason else None
        found = client.ask("POST", f"{_path(agreement_id)}/{step}", body)
    typer.echo(f"{found['id']}: {found['status']}", err=True)


def _path(agreement_id: str) -> str:
    return f"/v1/agreements/{quote(agreement_id, safe='')}"
