"""`voltbus demo`: the whole system in a minute, on real servers, with two simulated stations."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from voltbus.embedded import Stack
    from voltbus.terminal import Console

INTERRUPTED = 130


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")
    ] = False,
) -> int:
    """Start everything, let two simulated cars charge, show the events, and stop again.

    Real Kafka and real MongoDB run in a temporary folder on free ports; nothing is left behind.

    [bold]Examples[/bold]

      voltbus demo
      voltbus demo --keep
    """
    return asyncio.run(_run(keep=keep))


async def _run(*, keep: bool) -> int:
    """Play the demonstration in a task that Ctrl-C and SIGTERM cancel."""
    playing = asyncio.ensure_future(_play(keep=keep))
    told = False

    def stop() -> None:
        # Once: a second signal must not interrupt the orderly end that the first one began.
        nonlocal told
        if not told:
            told = True
            playing.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.wait({playing})
    if playing.cancelled():
        typer.echo("Interrupted; everything that was started has been stopped.", err=True)
        return INTERRUPTED
    playing.result()
    return 0


async def _play(*, keep: bool) -> None:
    from voltbus.embedded import Plan, Ports, Stack  # noqa: PLC0415 - likewise
    from voltbus.embedded.progress import OnStream  # noqa: PLC0415 - likewise
    from voltbus.terminal import Console  # noqa: PLC0415 - slow to import; --help does not need it

    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="voltbus-demo-", ignore_cleanup_errors=True) as folder:
        plan = Plan(home=Path(folder) / "home", ports=Ports.free())
        async with Stack(plan, OnStream()) as stack:
            await _unless_it_crashes(stack, _story(stack, console))
            if keep:
                _show_addresses(stack, console)
                with contextlib.suppress(asyncio.CancelledError):
                    raise await stack.crashed()
            typer.echo("Stopping ...", err=True)
    console.print("Stopped; nothing is left behind.")


async def _unless_it_crashes(stack: Stack, story: Coroutine[None, None, None]) -> None:
    """Play the story; a process that ends by itself ends it too, and is what gets reported."""
    playing = asyncio.ensure_future(story)
    crashing = asyncio.ensure_future(stack.crashed())
    try:
        await asyncio.wait({playing, crashing}, return_when=asyncio.FIRST_COMPLETED)
        if crashing.done():
            raise crashing.result()
        playing.result()
    finally:
        for task in (playing, crashing):
            task.cancel()
        await asyncio.gather(playing, crashing, return_exceptions=True)


async def _story(stack: Stack, console: Console) -> None:
    from voltbus.demo.operator import Operator  # noqa: PLC0415 - see _play
    from voltbus.demo.scenario import Scenario, cast  # noqa: PLC0415 - see _play
    from voltbus.demo.summary import show_summary  # noqa: PLC0415 - see _play
    from voltbus.demo.watching import Watching  # noqa: PLC0415 - see _play
    from voltbus.events.table import show_header, show_line  # noqa: PLC0415 - see _play
    from voltbus_backbone.settings import KafkaSettings  # noqa: PLC0415 - see _play

    where = stack.describe()
    actors = cast()
    show_header(console)
    watching = Watching(KafkaSettings(bootstrap=stack.kafka), lambda line: show_line(console, line))
    async with watching, Operator(where, stack.operator_token()) as operator:
        scenario = Scenario(
            operator, watching, stack.ocpp(), actors, lambda words: _say(console, words)
        )
        await scenario.play()
        await show_summary(console, operator, actors, scenario.agreement_id, watching.counts)


def _say(console: Console, words: str) -> None:
    console.print(f"[bold]▶ {words}[/bold]")


def _show_addresses(stack: Stack, console: Console) -> None:
    from voltbus.commands.up import summary  # noqa: PLC0415 - see _play

    # A token that is broken over lines cannot be copied.
    console.print(summary(stack.describe(), stack.home.path), markup=False, soft_wrap=True)
