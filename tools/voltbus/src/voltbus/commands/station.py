"""`voltbus station`: register stations, see them, and give them a password."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated
from urllib.parse import quote

import typer

from voltbus.errors import CommandError
from voltbus.rest.services import Home, Url, open_service

station = typer.Typer(
    name="station",
    help="Stations: list, show, create, rotate passwords.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_COLUMNS = ("id", "registration", "connected", "protocol", "site_id", "group_id")

Identity = Annotated[str, typer.Argument(metavar="ID", help="The station's identity.")]
AuthUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The auth service, beside --url.", show_default=False),
]


@station.command("list")
def list_stations(
    *,
    site: Annotated[str | None, typer.Option(metavar="ID", help="Only of this site.")] = None,
    connected: Annotated[
        bool | None,
        typer.Option("--connected/--away", help="Only those.", show_default=False),
    ] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    url: Url = None,
    home: Home = None,
) -> None:
    """List stations.

    [bold]Examples[/bold]

      voltbus station list
      voltbus station list --site harbour --away
    """
    from voltbus.rest.tables import show_many  # noqa: PLC0415 - slow; --help does not need it

    there = None if connected is None else str(connected).lower()
    with open_service("config", url, home) as client:
        found = client.pages("/v1/stations", most, site_id=site, connected=there)
    show_many(found, _COLUMNS)


@station.command()
def show(station_id: Identity, *, url: Url = None, home: Home = None) -> None:
    """Show a station.

    [bold]Examples[/bold]

      voltbus station show CP-1
    """
    from voltbus.rest.station_page import readable  # noqa: PLC0415 - as below
    from voltbus.rest.tables import show_one  # noqa: PLC0415 - slow; --help does not need it

    with open_service("config", url, home) as client:
        show_one(readable(client.ask("GET", f"/v1/stations/{quote(station_id, safe='')}")))


@station.command()
def create(
    station_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The identity.", show_default=False)
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="JSON objects as POST /v1/stations takes them; - stdin."),
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Make a password too and show it, this once.")
    ] = False,
    profile: Annotated[
        int, typer.Option(min=1, max=3, help="The security profile, with --password.")
    ] = 1,
    url: Url = None,
    auth_url: AuthUrl = None,
    home: Home = None,
) -> None:
    """Register a station, or those in a file; each gets a line on stdout: ID, or 'ID PASSWORD'.

    Those lines are what `voltbus simulate --password-file` reads.

    [bold]Examples[/bold]

      voltbus station create CP-1 --password
      voltbus station create --file stations.ndjson --password > passwords.txt
    """
    bodies = _bodies(station_id, file)
    with open_service("config", url, home) as config:
        for body in bodies:
            made = str(config.ask("POST", "/v1/stations", body)["id"])
            if not password:
                typer.echo(made)
                continue
            with open_service("auth", auth_url, home) as auth:
                path = f"/v1/stations/{quote(made, safe='')}/credentials"
                given = auth.ask("PUT", path, {"security_profile": profile})
            typer.echo(f"{made} {given['password']}")


def _bodies(station_id: str | None, file: Path | None) -> list[dict[str, object]]:
    if (station_id is None) == (file is None):
        raise CommandError("name one station, or give --file.")
    if file is None:
        return [{"id": station_id}]
    from voltbus.rest.bodies import read_bodies  # noqa: PLC0415 - only a file needs it

    return read_bodies(file)
