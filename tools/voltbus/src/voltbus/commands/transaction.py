"""`voltbus transaction`: list, show and export what was charged, close what nobody ended."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from voltbus.rest.services import Home, Url, open_service

if TYPE_CHECKING:
    from collections.abc import Mapping

transaction = typer.Typer(
    name="transaction",
    help="Transactions: list, show, export, and close those whose end was never told.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_COLUMNS = (
    "transaction_ref",
    "station_id",
    "state",
    "started_at",
    "ended_at",
    "energy_wh",
    "doubts",
)

Reference = Annotated[
    str, typer.Argument(metavar="REF", help="The transaction's reference (26 hex digits).")
]
Station = Annotated[
    str | None, typer.Option(metavar="ID", help="Only of this station.", show_default=False)
]
Site = Annotated[
    str | None, typer.Option(metavar="ID", help="Only of this site's.", show_default=False)
]
TokenRef = Annotated[
    str | None, typer.Option(metavar="REF", help="Only of this token.", show_default=False)
]
Doubt = Annotated[
    str | None,
    typer.Option(help="Only with this doubt, such as superseded.", show_default=False),
]
EndedFrom = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Ended then or later (RFC 3339).", show_default=False),
]
EndedTo = Annotated[
    str | None, typer.Option(metavar="TIME", help="Ended before then.", show_default=False)
]


class State(StrEnum):
    """Whether it still charges."""

    ACTIVE = "active"
    ENDED = "ended"


class Form(StrEnum):
    """How a file of transactions is written."""

    NDJSON = "ndjson"
    CSV = "csv"


OnlyState = Annotated[State | None, typer.Option(help="Only in this state.", show_default=False)]


@transaction.command("list")
def list_transactions(
    *,
    station: Station = None,
    site: Site = None,
    token_ref: TokenRef = None,
    state: OnlyState = None,
    doubt: Doubt = None,
    ended_from: EndedFrom = None,
    ended_to: EndedTo = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    url: Url = None,
    home: Home = None,
) -> None:
    """List transactions, the newest first.

    [bold]Examples[/bold]

      voltbus transaction list --state active --doubt superseded
      voltbus transaction list --site harbour --ended-from 2026-03-01T00:00:00Z
    """  # fmt: skip
    from voltbus.rest.tables import show_many  # noqa: PLC0415 - slow; --help does not need it

    filters = _filters(station, site, token_ref, state, doubt, ended_from, ended_to)
    with open_service("auth", url, home) as client:
        found = client.pages("/v1/transactions", most, **filters)
    show_many(found, _COLUMNS)


@transaction.command()
def show(reference: Reference, *, url: Url = None, home: Home = None) -> None:
    """Show a transaction with its samples.

    [bold]Examples[/bold]

      voltbus transaction show 0f3a9c5b7d1e2f4a6b8c0d2e4f
    """
    from voltbus.rest.tables import show_one  # noqa: PLC0415 - slow; --help does not need it

    with open_service("auth", url, home) as client:
        show_one(client.ask("GET", _path(reference)))


@transaction.command()
def close(
    reference: Reference,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with the transaction.")],
    url: Url = None,
    home: Home = None,
) -> None:
    """Close a transaction whose end its station never told; a stop that comes later corrects it.

    [bold]Examples[/bold]

      voltbus transaction close 0f3a9c5b7d1e2f4a6b8c0d2e4f --reason 'station replaced'
    """
    with open_service("auth", url, home) as client:
        found = client.ask("POST", f"{_path(reference)}/close", {"reason": reason})
    typer.echo(f"{found['transaction_ref']}: {found['state']}", err=True)


@transaction.command()
def export(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Into this file, which only you can read.", dir_okay=False
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = Form.NDJSON,
    station: Station = None,
    site: Site = None,
    token_ref: TokenRef = None,
    state: OnlyState = None,
    doubt: Doubt = None,
    ended_from: EndedFrom = None,
    ended_to: EndedTo = None,
    url: Url = None,
    home: Home = None,
) -> None:
    """Export transactions, however many, the newest first.

    [bold]Examples[/bold]

      voltbus transaction export --format csv --state ended > march.csv
      voltbus transaction export --ended-from 2026-03-01T00:00:00Z --out march.ndjson
    """  # fmt: skip
    from voltbus.rest.download import download  # noqa: PLC0415 - --help does not need it

    filters = _filters(station, site, token_ref, state, doubt, ended_from, ended_to)
    wanted = {name: value for name, value in filters.items() if value is not None}
    with open_service("auth", url, home) as client:
        download(client.lines("/v1/transactions/export", format=form.value, **wanted), out)


def _filters(  # noqa: PLR0917 - a query parameter each
    station: str | None,
    site: str | None,
    token_ref: str | None,
    state: State | None,
    doubt: str | None,
    ended_from: str | None,
    ended_to: str | None,
) -> Mapping[str, str | None]:
    return {
        "station_id": station,
        "site_id": site,
        "token_ref": token_ref,
        "state": state.value if state is not None else None,
        "doubt": doubt,
        "ended_from": ended_from,
        "ended_to": ended_to,
    }


def _path(reference: str) -> str:
    return f"/v1/transactions/{quote(reference, safe='')}"
