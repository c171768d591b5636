"""What each part saw, as tables: the stations, auth, config, agreements, and Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from typing import Any

    from voltbus.demo.operator import Operator
    from voltbus.demo.scenario import Actor
    from voltbus.terminal import Console


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of all lie (nearest rank); 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def stations_table(actors: Sequence[Actor]) -> Table:
    """What the stations saw: a column for each."""
    table = Table(title="What the stations saw", title_justify="left")
    table.add_column("")
    for actor in actors:
        table.add_column(f"{actor.id} (OCPP {actor.protocol})")
    for question in dict.fromkeys(question for actor in actors for question in actor.answers):
        table.add_row(question, *(actor.answers.get(question, "") for actor in actors))
    table.add_row("charged", *(f"{_charged_wh(actor) / 1000:.2f} kWh" for actor in actors))
    table.add_row(
        "asked of it by config",
        *("\n".join(dict.fromkeys(name for name, _ in actor.station.received)) for actor in actors),
    )
    table.add_row(
        "Authorize p50 / p99",
        *(
            f"{percentile(actor.authorize_s, 0.5) * 1000:.1f} / "
            f"{percentile(actor.authorize_s, 0.99) * 1000:.1f} ms"
            for actor in actors
        ),
    )
    return table


def _charged_wh(actor: Actor) -> int:
    return actor.transaction.meter_wh - actor.transaction.begun_wh if actor.transaction else 0


async def services_table(operator: Operator, actors: Sequence[Actor], agreement_id: str) -> Table:
    """What the services have stored, by their own REST answers."""
    table = Table(title="What the services recorded", title_justify="left")
    for column in ("service", "about", "what it says"):
        table.add_column(column)
    table.add_row("gateway", "both", await _gateway(operator))
    for actor in actors:
        recorded = await operator.transactions(actor.id)
        wh = sum(one.get("energy_wh") or 0 for one in recorded)
        table.add_row("auth", actor.id, f"{_sessions(len(recorded))}, {wh / 1000:.2f} kWh")
    for actor in actors:
        settings = (await operator.settings(actor.id))["settings"]
        table.add_row("config", actor.id, _states(settings))
    agreement = await operator.agreement(agreement_id)
    usage = await operator.usage(agreement_id)
    table.add_row("agreements", str(agreement["name"]), _usage(agreement, usage))
    return table


async def _gateway(operator: Operator) -> str:
    calls = await operator.counted("gateway", "voltbus_gateway_calls_total")
    commands = await operator.counted("gateway", "voltbus_gateway_commands_total")
    refused = await operator.counted("gateway", "voltbus_gateway_refusals_total")
    return f"{calls} calls of stations, {commands} to them, {refused} refused"


def _sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"


def _states(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {str(setting['state']).replace('_', ' ')}"
        for name, setting in sorted(settings.items())
        if isinstance(setting, dict) and "state" in setting
    )


def _usage(agreement: dict[str, Any], usage: dict[str, Any]) -> str:
    sessions, wh = _sessions(int(usage["transactions"])), usage["energy_wh"]
    return f"{agreement['status']}, {sessions}, {wh / 1000:.2f} kWh used"


def events_table(counts: Counter[str]) -> Table:
    """What passed through Kafka."""
    table = Table(title="What passed through Kafka", title_justify="left")
    table.add_column("event")
    table.add_column("times", justify="right")
    for kind, count in sorted(counts.items()):
        table.add_row(kind, str(count))
    return table


async def show_summary(
    console: Console,
    operator: Operator,
    actors: Sequence[Actor],
    agreement_id: str,
    counts: Counter[str],
) -> None:
    """Print all tables and one closing line."""
    services = await services_table(operator, actors, agreement_id)
    for table in (stations_table(actors), services, events_table(counts)):
        console.print()
        console.print(table)
    wh = sum(_charged_wh(actor) for actor in actors)
    times = [took for actor in actors for took in actor.authorize_s]
    console.print(
        f"\n{_sessions(sum(1 for actor in actors if actor.transaction))}, {wh / 1000:.2f} kWh, "
        f"{sum(counts.values())} events; Authorize took {percentile(times, 0.5) * 1000:.1f} ms "
        f"(p50 of {len(times)})."
    )
