"""`voltbus station rotate` and `voltbus rotations`: new passwords, watched to the end."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from voltbus.errors import CommandError
from voltbus.rest.services import Home, Url, open_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from voltbus.rest.client import Client
    from voltbus.terminal import Console

    Body = dict[str, Any]

_LOOK_EVERY_S = 0.5
_COLUMNS = ("id", "station_id", "state", "detail", "created_at", "fleet_id")
_PARTS = ("succeeded", "failed", "unsettled", "skipped")
_UNDER_WAY = frozenset({"starting", "commanded"})


def rotate(
    stations: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="The stations.")
    ] = None,
    *,
    group: Annotated[
        str | None, typer.Option(metavar="ID", help="All of this group.", show_default=False)
    ] = None,
    site: Annotated[
        str | None, typer.Option(metavar="ID", help="All of this site.", show_default=False)
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Commands under way at once.")] = 10,
    per_minute: Annotated[float, typer.Option(min=0.01, help="Stations begun.")] = 60.0,
    most_failures: Annotated[int, typer.Option(min=1, help="Stop at so many.")] = 10,
    wait: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="SECONDS", help="For a station that is away.", show_default=False
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Stay until it has ended.")
    ] = True,
    url: Url = None,
    home: Home = None,
) -> int:
    """Give stations new passwords. Nobody sees them; no station is locked out meanwhile.

    Exit code 1 when not all of them succeeded. Interrupted, it goes on at the service.

    [bold]Examples[/bold]

      voltbus station rotate CP-1
      voltbus station rotate --site harbour --at-once 5 --per-minute 30
      voltbus station rotate --group fast --no-watch
    """  # fmt: skip
    body = _chosen(stations or [], group, site)
    if wait is not None:
        body["wait_s"] = wait
    with open_service("auth", url, home) as client:
        where = _begin(client, body, at_once, per_minute, most_failures)
        if not watch:
            typer.echo(where)
            return 0
        return asyncio.run(_watch(client, where))


def rotations(
    *,
    state: Annotated[
        str | None, typer.Option(help="Only these, such as unsettled.", show_default=False)
    ] = None,
    station: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this station.", show_default=False)
    ] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    url: Url = None,
    home: Home = None,
) -> None:
    """List rotations of stations' passwords, the newest first.

    [bold]Examples[/bold]

      voltbus rotations --state unsettled
      voltbus rotations --station CP-1
    """
    from voltbus.rest.tables import show_many  # noqa: PLC0415 - slow; --help does not need it

    with open_service("auth", url, home) as client:
        found = client.pages("/v1/rotations", most, state=state, station_id=station)
    show_many(found, _COLUMNS)


def _chosen(stations: list[str], group: str | None, site: str | None) -> Body:
    if sum((bool(stations), group is not None, site is not None)) != 1:
        raise CommandError("name stations, or give one of --group and --site.")
    if stations:
        return {"stations": stations}
    return {"group_id": group} if group is not None else {"site_id": site}


def _begin(client: Client, body: Body, at_once: int, per_minute: float, most_failures: int) -> str:
    """Ask for it; the address that tells how it stands."""
    stations = body.get("stations", [])
    if len(stations) == 1:
        more = {name: value for name, value in body.items() if name == "wait_s"}
        path = f"/v1/stations/{quote(stations[0], safe='')}/credentials/rotate"
        return f"/v1/rotations/{client.ask('POST', path, more)['id']}"
    pace = {"at_once": at_once, "per_minute": per_minute, "most_failures": most_failures}
    made = client.ask("POST", "/v1/rotations", {**body, **pace})
    return f"/v1/rotations/fleets/{made['id']}"


async def _watch(client: Client, where: str) -> int:
    """Show how it goes until it has ended; the exit code."""
    from voltbus.terminal import Console  # noqa: PLC0415 - slow to import; --help does not need it

    console = Console(file=sys.stderr, highlight=False)
    last: Body = {}
    with _Bar(console) as show:
        async for last in _until_over(client, where):
            show(last)
    if "total" not in last:
        console.print(f"{last['station_id']}: {last['state']}, {last['detail']}", markup=False)
        return 0 if last["state"] == "succeeded" else 1
    counts = ", ".join(f"{last[name]} {name}" for name in _PARTS)
    words = f": {last['detail']}" if last["detail"] else ""
    console.print(f"{last['state']}{words} ({counts} of {last['total']})", markup=False)
    for one in last["skipped_stations"]:
        console.print(f"skipped {one['station_id']}: {one['reason']}", markup=False)
    return 0 if last["succeeded"] == last["total"] else 1


async def _until_over(client: Client, where: str) -> AsyncIterator[Body]:
    """How it stands, again and again, until only stations or an operator can go on."""
    while True:
        body = client.ask("GET", where)
        yield body
        if body["state"] not in _UNDER_WAY | {"running"}:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


class _Bar:
    """A bar of the stations that are done; without a terminal nothing."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (  # noqa: PLC0415 - slow to import; --help does not need it
            BarColumn,
            Progress,
            TextColumn,
        )

        told = TextColumn("{task.fields[told]}")
        columns = (TextColumn("Rotating"), BarColumn(), told)
        hidden = not console.is_terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._progress.add_task("", total=None, told="")

    def __enter__(self) -> Callable[[Body], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, body: Body) -> None:
        total = body.get("total")
        done = sum(body[name] for name in _PARTS) if total is not None else 0
        told = f"{done}/{total}" if total is not None else str(body["state"])
        self._progress.update(self._task, total=total, completed=done, told=told)
