"""`voltbus simulate`: a simulated station, or many, charge at any OCPP central system."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from voltbus.simulator.visit import Step, Visit, Wish
    from voltbus.terminal import Console

Result = TypeVar("Result")

MOST_AT_ONCE = 200
REGISTER_UP_TO_WH = 1_000_000


class Version(StrEnum):
    """The OCPP versions a simulated station speaks."""

    V16 = "1.6"
    V201 = "2.0.1"
    V21 = "2.1"


def simulate(
    *,
    station: Annotated[str, typer.Option(metavar="ID", help="The station's identity.")],
    id_token: Annotated[str, typer.Option(metavar="TOKEN", help="Who wants to charge.")],
    ocpp: Annotated[
        str, typer.Option(metavar="URL", help="Where stations connect; the identity is added.")
    ] = "ws://127.0.0.1:9000/ocpp",
    protocol: Annotated[Version, typer.Option(help="The OCPP version.")] = Version.V16,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="VOLTBUS_STATION_PASSWORD",
            help="The station's password. Others may see it in the process list: prefer the "
            "environment or a file.",
            show_default=False,
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="One line: the password. Several: 'ID PASSWORD' each."),
    ] = None,
    token_type: Annotated[str, typer.Option(help="The token's type (2.x).")] = "ISO14443",  # noqa: S107 - a type, no password
    charge_wh: Annotated[int, typer.Option(min=0, help="How much to charge, in Wh.")] = 5000,
    meter_values: Annotated[int, typer.Option(min=0, help="Meter values on the way.")] = 4,
    power_w: Annotated[
        int, typer.Option(min=1, help="How fast, in W: sets the session's times (time-lapse).")
    ] = 11_000,
    connector: Annotated[int, typer.Option(min=1, help="Which connector (2.x: EVSE).")] = 1,
    pace: Annotated[float, typer.Option(min=0, help="Seconds between meter values.")] = 0.0,
    stations: Annotated[
        int, typer.Option(min=1, max=100_000, help="So many stations: ID-1, ID-2, ...")
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Repeat a run's meter readings.", show_default=False)
    ] = None,
) -> int:
    """Boot a simulated station, authorize a token, charge, and stop.

    The charge is told in time-lapse: the station's clock begins as far back as it would take.

    Exit codes: 0 charged; 1 the central system refused the boot or the token; 2 no connection,
    unknown station or wrong password.

    [bold]Examples[/bold]

      voltbus simulate --station CP-1 --id-token 04A2B3C4D5E6
      voltbus simulate --station CP-2 --id-token 04A2B3C4D5E6 --protocol 2.0.1 --password-file p.txt
      voltbus simulate --station LOAD --id-token 04A2B3C4D5E6 --stations 50 --password-file p.txt
    """
    # Imported here because they bring the OCPP library, which --help does not need.
    from voltbus.simulator.visit import Wish  # noqa: PLC0415 - see above

    passwords = read_passwords(password, password_file)
    names = [station] if stations == 1 else [f"{station}-{n}" for n in range(1, stations + 1)]
    rng = random.Random(seed)  # noqa: S311 - meter readings, no secrets
    wishes = {
        name: Wish(
            id_token,
            token_type,
            connector,
            charge_wh,
            meter_values,
            begin_wh=rng.randrange(REGISTER_UP_TO_WH),
            pace=pace,
            power_w=power_w,
        )
        for name in names
    }
    return asyncio.run(_run(ocpp, protocol, wishes, passwords))


class Passwords:
    """One password for all stations, or one each."""

    def __init__(self, shared: str | None, by_station: dict[str, str]) -> None:
        self._shared = shared
        self._by_station = by_station

    def of(self, station: str) -> str | None:
        """Return a station's password; None: it connects without."""
        return self._by_station.get(station, self._shared)


def read_passwords(password: str | None, file: Path | None) -> Passwords:
    """Take the password given, or those in the file; raises CommandError."""
    if file is None:
        return Passwords(password, {})
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(f"the password file {file} can't be read: {why}.") from None
    if not lines:
        raise CommandError(f"the password file {file} is empty.")
    if len(lines) == 1:
        return Passwords(lines[0].strip(), {})
    by_station = {}
    for number, line in enumerate(lines, 1):
        name, _, secret = line.strip().partition(" ")
        if not secret.strip():
            raise CommandError(f"line {number} of {file} is not 'ID PASSWORD'.")
        by_station[name] = secret.strip()
    return Passwords(None, by_station)


async def _run(ocpp: str, protocol: Version, wishes: dict[str, Wish], passwords: Passwords) -> int:
    """Let every station make its visit and say what came of them."""
    from voltbus.simulator import SimulatorError  # noqa: PLC0415 - likewise
    from voltbus.terminal import Console  # noqa: PLC0415 - slow to import; --help does not need it

    console = Console(highlight=False)
    single = len(wishes) == 1
    report = _teller(console) if single else _silent
    limit = asyncio.Semaphore(MOST_AT_ONCE)

    async def visit(name: str) -> Visit | SimulatorError:
        async with limit:
            try:
                return await _visit(
                    ocpp,
                    protocol,
                    name,
                    password=passwords.of(name),
                    wish=wishes[name],
                    report=report,
                )
            except SimulatorError as failure:
                return failure

    if single:
        results = [await visit(next(iter(wishes)))]
    else:
        results = await _with_progress(console, [visit(name) for name in wishes])
    visits = [one for one in results if not isinstance(one, SimulatorError)]
    failures = [one for one in results if isinstance(one, SimulatorError)]
    if not single and visits:
        _summarise(console, visits)
    if failures:
        more = f" (and {len(failures) - 1} more failed)" if len(failures) > 1 else ""
        raise CommandError(f"{failures[0]}.{more}")
    return 0 if all(one.charged for one in visits) else 1


async def _visit(
    ocpp: str,
    protocol: Version,
    name: str,
    *,
    password: str | None,
    wish: Wish,
    report: Callable[[Step], None],
) -> Visit:
    from voltbus.simulator import Options, Surroundings, make_station  # noqa: PLC0415 - see _run
    from voltbus.simulator.lapse import Lapse, lasting  # noqa: PLC0415 - see _run
    from voltbus.simulator.visit import Step, Visitor  # noqa: PLC0415 - see _run

    options = Options(connectors=max(2, wish.connector), serial=name[-25:])
    lapse = Lapse(lasting(wish.charge_wh, wish.power_w))
    async with make_station(protocol.value, options, Surroundings(now=lapse)) as station:
        began = time.perf_counter()
        await station.connect(ocpp, name, password)
        report(
            Step(name, "connect", f"{name} to {ocpp}, OCPP {protocol}", time.perf_counter() - began)
        )
        return await Visitor(station, wish, report, lapse).whole()


def _silent(_: Step) -> None:
    """Report nothing: with many stations only the summary is readable."""


def _teller(console: Console) -> Callable[[Step], None]:
    """Return what prints one line a step."""

    def tell(step: Step) -> None:
        sign = "[green]ok[/green]" if step.good else "[red]no[/red]"
        words = step.words.replace("[", r"\[")
        console.print(f"  {sign}  {step.name:<10} {words:<52} {step.seconds * 1000:7.1f} ms")

    return tell


async def _with_progress(
    console: Console, visits: list[Coroutine[None, None, Result]]
) -> list[Result]:
    from rich.progress import Progress  # noqa: PLC0415 - see _run

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Charging", total=len(visits))

        async def counted(visit: Coroutine[None, None, Result]) -> Result:
            result = await visit
            progress.advance(task)
            return result

        return await asyncio.gather(*map(counted, visits))


def _summarise(console: Console, visits: list[Visit]) -> None:
    from rich.table import Table  # noqa: PLC0415 - see _run

    outcomes = Counter(visit.status for visit in visits)
    energy = sum(visit.charged_wh for visit in visits) / 1000
    table = Table("step", "stations", "p50 ms", "p99 ms", title="What the stations saw")
    for step in ("boot", "authorize", "start", "meter", "stop"):
        took = sorted(visit.seconds[step] * 1000 for visit in visits if step in visit.seconds)
        if took:
            late = took[min(len(took) - 1, len(took) * 99 // 100)]
            table.add_row(step, str(len(took)), f"{took[len(took) // 2]:.1f}", f"{late:.1f}")
    console.print(table)
    said = ", ".join(f"{count} {status}" for status, count in outcomes.most_common())
    console.print(f"{len(visits)} stations: {said}; {energy:.2f} kWh charged.")
