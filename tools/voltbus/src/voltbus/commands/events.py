"""`voltbus events`: what passes through Kafka, in words."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus.events.feed import Choice
    from voltbus_backbone.bus.envelope import Event


def events(
    *,
    kafka: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The broker; by default that of the stack which runs in the home.",
            show_default=False,
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(help="The home of `voltbus up`.", show_default=False),
    ] = None,
    prefix: Annotated[str, typer.Option(help="What every topic's name begins with.")] = "voltbus.",
    type_glob: Annotated[
        str, typer.Option("--type", metavar="GLOB", help="Only these types: 'transaction.*'.")
    ] = "",
    station: Annotated[str, typer.Option(metavar="ID", help="Only this station.")] = "",
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Show what Kafka still keeps, then go on.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One CloudEvent as JSON per line.")
    ] = False,
    count: Annotated[
        int, typer.Option(min=0, metavar="N", help="Stop after N events; 0: never.")
    ] = 0,
) -> None:
    """Show the events of all services as they pass, until Ctrl-C.

    The gateways' beats are left out unless --type asks for them.

    [bold]Examples[/bold]

      voltbus events
      voltbus events --type 'transaction.*' --station CP-1
      voltbus events --json --from-beginning --count 10 | jq .data
    """
    # Imported here because they bring the Kafka client, which --help does not need.
    from voltbus.embedded.addresses import check_kafka  # noqa: PLC0415 - see above
    from voltbus.events.feed import Choice  # noqa: PLC0415 - see above

    if kafka is not None:
        check_kafka(kafka)
    broker = kafka or broker_of(home)
    choice = Choice(type_glob, station)
    asyncio.run(
        _run(broker, prefix, choice, from_beginning=from_beginning, count=count, as_json=as_json)
    )


def broker_of(home: Path | None) -> str:
    """Return the broker of the stack that runs in a home; raises CommandError."""
    from voltbus.embedded.folders import default_home, running_stack  # noqa: PLC0415 - see above

    folder = home or default_home()
    stack = running_stack(folder)
    if stack is None or not stack.get("kafka"):
        raise CommandError(
            f"No stack runs in {folder}: start one with 'voltbus up', or name a broker with "
            "--kafka."
        )
    return str(stack["kafka"])


def _shower(*, as_json: bool) -> Callable[[Event], None]:
    """Return what prints an event."""
    from voltbus.events.feed import line, structured  # noqa: PLC0415 - likewise
    from voltbus.events.table import show_header, show_line  # noqa: PLC0415 - likewise
    from voltbus.terminal import Console  # noqa: PLC0415 - slow to import; --help does not need it

    if as_json:
        return lambda event: typer.echo(structured(event))
    console = Console(highlight=False)
    show_header(console)
    return lambda event: show_line(console, line(event))


async def _run(
    broker: str, prefix: str, choice: Choice, *, from_beginning: bool, count: int, as_json: bool
) -> None:
    """Follow the topics until told to stop."""
    following = asyncio.ensure_future(
        _follow(broker, prefix, choice, from_beginning=from_beginning, count=count, as_json=as_json)
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, following.cancel)
    await asyncio.wait({following})
    if not following.cancelled():
        following.result()


async def _follow(
    broker: str, prefix: str, choice: Choice, *, from_beginning: bool, count: int, as_json: bool
) -> None:
    from voltbus.events.feed import PUBLIC_TOPICS  # noqa: PLC0415 - see events
    from voltbus_backbone.bus.kafka import Tail  # noqa: PLC0415 - see events
    from voltbus_backbone.settings import KafkaSettings, load  # noqa: PLC0415 - see events

    settings = load(KafkaSettings, bootstrap=broker)
    tail = Tail(settings, PUBLIC_TOPICS, prefix=prefix, from_beginning=from_beginning)
    async with tail as passing:
        show = _shower(as_json=as_json)
        shown = 0
        async for event in passing:
            if choice.takes(event):
                show(event)
                shown += 1
                if shown == count:
                    return
