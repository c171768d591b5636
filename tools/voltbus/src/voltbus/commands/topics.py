"""`voltbus topics`: create the topics on a broker that exists."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer


def topics(
    kafka: Annotated[str, typer.Option(metavar="HOST:PORT", help="The broker.")] = "127.0.0.1:9005",
    prefix: Annotated[str, typer.Option(help="What every topic's name begins with.")] = "voltbus.",
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of the keyed topics; by default each topic's own."),
    ] = None,
    replication: Annotated[
        int, typer.Option(min=1, help="Copies of every partition: 3 where there are three brokers.")
    ] = 1,
) -> None:
    """Create the topics that are missing, with their partition counts and retention.

    [bold]Examples[/bold]

      voltbus topics
      voltbus topics --kafka broker.example:9092 --partitions 24 --replication 3
    """
    # Imported here because they bring the Kafka client, which --help does not need.
    from voltbus.embedded.addresses import check_kafka  # noqa: PLC0415 - see above
    from voltbus.embedded.topics import make_topics  # noqa: PLC0415 - see above

    check_kafka(kafka)
    made = asyncio.run(make_topics(kafka, prefix, partitions, replication=replication))
    for name in made:
        typer.echo(name)
    if not made:
        typer.echo(f"All topics of {prefix}* were there.", err=True)
