"""`voltbus dead-letters`: what could not be processed, and sending it again."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voltbus.errors import CommandError

if TYPE_CHECKING:
    from voltbus_backbone.bus.dead_letters import Letter
    from voltbus_backbone.settings import KafkaSettings

SERVICES = ("auth", "config", "agreements", "gateway")


def dead_letters(
    *,
    service: Annotated[
        str, typer.Option(metavar="NAME", help="Only this service's: auth, config, agreements.")
    ] = "",
    replay: Annotated[
        bool, typer.Option("--replay", help="Send the listed records again to their own topics.")
    ] = False,
    reason: Annotated[
        str, typer.Option(metavar="WORDS", help="Only letters whose reason has these words.")
    ] = "",
    kafka: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The broker; by default that of the stack which runs in the home.",
            show_default=False,
        ),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="The home of `voltbus up`.", show_default=False)
    ] = None,
    prefix: Annotated[str, typer.Option(help="What every topic's name begins with.")] = "voltbus.",
) -> None:
    """List the records that services could not process, or send them again.

    A record is sent again as it was, under its own id: what was handled already is not doubled.
    Bodies of requests are not kept in a letter; they can be sent again while the request topic
    still has them (an hour).

    [bold]Examples[/bold]

      voltbus dead-letters
      voltbus dead-letters --service auth --reason 'handler failed'
      voltbus dead-letters --service auth --reason 'handler failed' --replay
    """
    # Imported here because they bring the Kafka client, which --help does not need.
    from voltbus.commands.events import broker_of  # noqa: PLC0415 - see above
    from voltbus.embedded.addresses import check_kafka  # noqa: PLC0415 - see above
    from voltbus_backbone.settings import KafkaSettings, load  # noqa: PLC0415 - see above

    if service and service not in SERVICES:
        raise CommandError(f"there is no service '{service}': take one of {', '.join(SERVICES)}")
    if kafka is not None:
        check_kafka(kafka)
    settings = load(KafkaSettings, bootstrap=kafka or broker_of(home))
    chosen = [service] if service else list(SERVICES)
    letters = asyncio.run(_letters(settings, prefix, chosen, reason))
    _show(letters)
    if replay and letters:
        sent, gone = asyncio.run(_replay(settings, prefix, letters))
        typer.echo(f"{sent} sent again, {gone} no longer kept by their topics.", err=True)


async def _letters(
    settings: KafkaSettings, prefix: str, services: list[str], reason: str
) -> list[Letter]:
    from voltbus_backbone.bus.dead_letters import letter_of  # noqa: PLC0415 - see above
    from voltbus_backbone.bus.kafka import read_all  # noqa: PLC0415 - see above
    from voltbus_backbone.errors import InvalidRecord  # noqa: PLC0415 - see above

    found: list[Letter] = []
    for service in services:
        for record in await read_all(settings, f"{prefix}{service}.dead-letter"):
            try:
                letter = letter_of(list(record.headers), record.key, record.value)
            except InvalidRecord:
                continue
            if reason in letter.reason:
                found.append(letter)
    return sorted(found, key=lambda letter: letter.time)


def _show(letters: list[Letter]) -> None:
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    from voltbus.terminal import Console  # noqa: PLC0415 - see above
    from voltbus_backbone.bus.dead_letters import NEVER_STORED  # noqa: PLC0415 - see above

    if not letters:
        typer.echo("No dead letters.", err=True)
        return
    table = Table(title=f"{len(letters)} dead letters")
    for name in ("time", "type", "reason", "from"):
        table.add_column(name, overflow="fold")
    for letter in letters:
        stored = letter.offset != NEVER_STORED
        place = f"{letter.topic} " + (
            f"{letter.partition}:{letter.offset}" if stored else "(never stored there)"
        )
        cells = (letter.time, letter.type, letter.reason, place)
        table.add_row(*(Text(cell) for cell in cells))  # text, whatever brackets are in it
    Console().print(table)


async def _replay(settings: KafkaSettings, prefix: str, letters: list[Letter]) -> tuple[int, int]:
    """How many were sent again, and how many are gone or cannot be sent."""
    from voltbus_backbone.bus.dead_letters import again  # noqa: PLC0415 - see above
    from voltbus_backbone.bus.kafka import Publisher  # noqa: PLC0415 - see above
    from voltbus_backbone.errors import Refused  # noqa: PLC0415 - see above

    publisher = Publisher(settings, prefix)
    await publisher.start()
    sent = 0
    try:
        for letter in letters:
            body = letter.body
            if letter.withheld:
                kept = await _kept(settings, letter)
                if kept is None:
                    continue
                body = kept.value
            try:
                await publisher.publish([again(letter, body)])
            except Refused:
                continue
            sent += 1
    finally:
        await publisher.stop()
    return sent, len(letters) - sent


async def _kept(settings: KafkaSettings, letter: Letter) -> Any | None:
    """The record at a letter's place, if it was ever there and still is."""
    from voltbus_backbone.bus.dead_letters import NEVER_STORED  # noqa: PLC0415 - see above
    from voltbus_backbone.bus.kafka import read_one  # noqa: PLC0415 - see above

    if letter.offset == NEVER_STORED:
        return None
    return await read_one(settings, letter.topic, letter.partition, letter.offset)
