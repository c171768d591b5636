"""`voltbus up`: the whole system on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from voltbus.embedded import Plan, Stack
    from voltbus.embedded.given import Given
    from voltbus.errors import PartCrashed

INTERRUPTED = 130
Json = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON on stdout when all is ready.")
]


def up(  # noqa: PLR0917 - one argument per flag; typer passes them by name
    home: Annotated[
        Path | None,
        typer.Option(
            help="The folder of all data and logs; by default in the user's cache folder.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Empty the home first.")] = False,  # noqa: FBT002 - typer's flags are booleans
    kafka: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Use this broker instead of an embedded one."),
    ] = None,
    mongo: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Use this MongoDB (a replica set) instead."),
    ] = None,
    ports_from: Annotated[
        int, typer.Option(metavar="N", help="The first of ten ports in a row.")
    ] = 9000,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of the keyed topics; by default each topic's own."),
    ] = None,
    as_json: Json = False,  # noqa: FBT002 - typer's flags are booleans
) -> int:
    """Start MongoDB, Kafka and the four services, and stop them on Ctrl-C or SIGTERM.

    Stations connect to ws://127.0.0.1:9000/ocpp/STATION-ID. The services' settings
    (VOLTBUS_..., docs/operations.md) are taken from the environment.

    [bold]Examples[/bold]

      voltbus up
      voltbus up --fresh --ports-from 9100
      VOLTBUS_HEARTBEAT_S=60 voltbus up
      voltbus up --kafka 127.0.0.1:9092 --mongo mongodb://127.0.0.1/
      voltbus up --json | jq -r .operator_token
    """
    # Imported here because they bring cryptography and more, which --help does not need.
    from voltbus.embedded import Plan, Ports  # noqa: PLC0415 - see above
    from voltbus.embedded.addresses import check_kafka, check_mongo  # noqa: PLC0415 - see above
    from voltbus.embedded.folders import default_home  # noqa: PLC0415 - see above
    from voltbus.embedded.given import settings_given  # noqa: PLC0415 - see above

    if kafka is not None:
        check_kafka(kafka)
    if mongo is not None:
        check_mongo(mongo)
    given = settings_given(os.environ, own_kafka=kafka is None)
    plan = Plan(
        home=home or default_home(),
        ports=Ports.consecutive(ports_from),
        fresh=fresh,
        kafka=kafka,
        mongo=mongo,
        partitions=partitions,
        environment=given.by_service,
    )
    return asyncio.run(run_plan(plan, as_json=as_json, given=given))


async def run_plan(plan: Plan, *, as_json: bool, given: Given | None = None) -> int:
    """Run a stack in the foreground until a signal; returns the exit code.

    Raises PartCrashed, after the rest was stopped, when one of its processes ends by itself.
    """
    from voltbus.embedded import Stack  # noqa: PLC0415 - slow to import; --help does not need it
    from voltbus.embedded.progress import OnStream  # noqa: PLC0415 - likewise

    reporter = OnStream()
    for sentence in given.sentences() if given is not None else ():
        reporter.note(sentence)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stack = Stack(plan, reporter)
    if not await _start_or_stop(stack, stop):
        reporter.note("Interrupted; everything that was started has been stopped.")
        return INTERRUPTED
    crash: PartCrashed | None = None
    try:
        what = stack.describe()
        typer.echo(json.dumps(what) if as_json else summary(what, stack.home.path))
        crash = await _crash_or_stop(stack, stop)
        reporter.note(
            f"{crash.name} {crash.reason}; stopping the rest ..." if crash else "Stopping ..."
        )
    finally:
        await stack.stop()
    if crash:
        raise crash
    reporter.note("Stopped.")
    return 0


async def _start_or_stop(stack: Stack, stop: asyncio.Event) -> bool:
    """Whether the stack is up; False when it was told to stop on the way."""
    starting = asyncio.create_task(stack.start())
    stopping = asyncio.create_task(stop.wait())
    crashing = asyncio.create_task(stack.crashed())
    try:
        await asyncio.wait({starting, stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        starting.cancel()
        await asyncio.wait({starting})
        if crashing.done():
            raise crashing.result()
        return False
    finally:
        stopping.cancel()
        crashing.cancel()


async def _crash_or_stop(stack: Stack, stop: asyncio.Event) -> PartCrashed | None:
    stopping = asyncio.create_task(stop.wait())
    crashing = asyncio.create_task(stack.crashed())
    try:
        await asyncio.wait({stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
        return crashing.result() if crashing.done() else None
    finally:
        stopping.cancel()
        crashing.cancel()


def summary(what: dict[str, Any], home: Path) -> str:
    """Where everything is, for a person; `what` is what `--json` prints."""
    lines = [
        ("Stations", f"{what['ocpp']}/STATION-ID"),
        ("by TLS", f"{what['ocpp_tls']}/STATION-ID"),
        ("by certificate", f"{what['ocpp_mtls']}/STATION-ID  (authority: {what['authority']})"),
        *((name, what[name]) for name in ("gateway", "auth", "config", "agreements")),
        ("Kafka", what["kafka"]),
        ("MongoDB", f"{what['mongo']}  (passwords: {home / 'mongo-users.json'})"),
        ("Logs", str(home / "logs")),
        ("Operator token", what["operator_token"]),
    ]
    width = max(len(title) for title, _value in lines)
    rows = [f"  {title:<{width}}  {value}" for title, value in lines]
    return "\n".join(["", "Voltbus is up.", *rows, "", "Ctrl-C stops it."])
