"""`voltbus reservation`: keep a place at a station for a token, see it, and give it back.

A token's value is asked for, or read from stdin.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import quote

import typer

from voltbus.rest.services import Home, Url, open_service
from voltbus.rest.typed import read_token_value

reservation = typer.Typer(
    name="reservation",
    help="Reservations: list, show, create, cancel.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_COLUMNS = ("id", "station_id", "evse_id", "connector_id", "token_ref", "state", "expires_at")

Name = Annotated[str, typer.Argument(metavar="ID", help="The reservation, as create shows it.")]


@reservation.command("list")
def list_reservations(
    *,
    station: Annotated[str | None, typer.Option(metavar="ID", help="Only of this station.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only in this state, such as active.")
    ] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    url: Url = None,
    home: Home = None,
) -> None:
    """List reservations.

    [bold]Examples[/bold]

      voltbus reservation list
      voltbus reservation list --station CP-1 --state active
    """
    from voltbus.rest.tables import show_many  # noqa: PLC0415 - slow; --help does not need it

    with open_service("config", url, home) as client:
        found = client.pages("/v1/reservations", most, station_id=station, state=state)
    show_many(found, _COLUMNS)


@reservation.command()
def show(name: Name, *, url: Url = None, home: Home = None) -> None:
    """Show a reservation.

    [bold]Examples[/bold]

      voltbus reservation show rsv-019c8f2c61d0000001a1b2c3d4
    """
    from voltbus.rest.tables import show_one  # noqa: PLC0415 - slow; --help does not need it

    with open_service("config", url, home) as client:
        show_one(client.ask("GET", f"/v1/reservations/{quote(name, safe='')}"))


@reservation.command()
def create(
    station: Annotated[str, typer.Argument(metavar="STATION", help="The station's identity.")],
    *,
    minutes: Annotated[
        float, typer.Option(min=1, max=10_080, help="For how long the place is kept.")
    ] = 30,
    evse: Annotated[int | None, typer.Option(min=0, help="This EVSE; by default any.")] = None,
    connector: Annotated[
        int | None, typer.Option(min=0, help="This connector, as OCPP 1.6 counts them.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="By default the registered one.")
    ] = None,
    url: Url = None,
    home: Home = None,
) -> None:
    """Keep a place for a token, whose value is asked for or read from stdin; its id on stdout.

    [bold]Examples[/bold]

      voltbus reservation create CP-1 --evse 1
      voltbus reservation create CP-1 --connector 2 --minutes 15 < card.txt
    """
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    wanted = {
        "station_id": station,
        "evse_id": evse,
        "connector_id": connector,
        "type": kind,
        "expires_at": until.isoformat(timespec="seconds"),
    }
    body = {name: value for name, value in wanted.items() if value is not None}
    with open_service("config", url, home) as client:
        body["id_token"] = read_token_value()
        typer.echo(str(client.ask("POST", "/v1/reservations", body)["id"]))


@reservation.command()
def cancel(name: Name, *, url: Url = None, home: Home = None) -> None:
    """Give a reservation back; its state on stdout (active until the station has answered).

    [bold]Examples[/bold]

      voltbus reservation cancel rsv-019c8f2c61d0000001a1b2c3d4
    """
    with open_service("config", url, home) as client:
        answer = client.ask("DELETE", f"/v1/reservations/{quote(name, safe='')}")
    typer.echo(str(answer["state"]))
