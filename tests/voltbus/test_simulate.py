"""`voltbus simulate` against an independent central system."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sim_central import Central
from voltbus.__main__ import run
from voltbus.simulator.visit import masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "correct-horse-battery"
TOKEN = "04A2B3C4D5E6F7"


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """A central system that knows CP-1 and a small fleet."""
    names = ["CP-1", *(f"F-{n}" for n in range(1, 6))]
    async with Central(dict.fromkeys(names, PASSWORD.encode())) as running:
        yield running


async def simulate(central: Central, *more: str) -> int:
    """Run the command beside the central system and return its exit code."""
    arguments = ["simulate", "--ocpp", central.url, "--id-token", TOKEN, *more]
    return await asyncio.to_thread(run, arguments)


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
async def test_one_station_charges(
    central: Central, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    """Every step is shown, the energy arrives, and neither password nor token is printed."""
    code = await simulate(
        central, "--station", "CP-1", "--password", PASSWORD, "--protocol", protocol,
        "--charge-wh", "7500",
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 0
    assert "7.50 kWh charged" in shown.out
    assert "…E6F7 Accepted" in shown.out
    assert TOKEN not in shown.out + shown.err
    assert PASSWORD not in shown.out + shown.err
    assert central.asked("StatusNotification")


async def test_the_password_comes_from_the_environment(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VOLTBUS_STATION_PASSWORD keeps it out of the process list."""
    monkeypatch.setenv("VOLTBUS_STATION_PASSWORD", PASSWORD)
    assert await simulate(central, "--station", "CP-1") == 0


async def test_a_fleet_with_a_password_file(
    central: Central, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Many stations, each with its own line in the file, and one summary."""
    file = tmp_path / "passwords.txt"
    file.write_text("".join(f"F-{n} {PASSWORD}\n" for n in range(1, 6)))
    code = await simulate(
        central, "--station", "F", "--stations", "5", "--password-file", str(file), "--seed", "3"
    )
    assert code == 0
    assert "5 stations: 5 Accepted; 25.00 kWh charged." in capsys.readouterr().out
    assert len(central.asked("StopTransaction")) == 5


async def test_the_same_seed_gives_the_same_meter(central: Central) -> None:
    """A run with a seed can be repeated."""
    for _ in range(2):
        await simulate(central, "--station", "CP-1", "--password", PASSWORD, "--seed", "7")
    first, second = central.asked("StartTransaction")
    assert first["meterStart"] == second["meterStart"]


async def test_the_session_takes_as_long_as_its_power_says(central: Central) -> None:
    """Time-lapse: 5 kWh at 10 kW last half an hour by the station's clock, and end now."""
    await simulate(
        central, "--station", "CP-1", "--password", PASSWORD, "--charge-wh", "5000",
        "--power-w", "10000",
    )  # fmt: skip
    (start,), (stop,) = central.asked("StartTransaction"), central.asked("StopTransaction")
    began, ended = (datetime.fromisoformat(one["timestamp"]) for one in (start, stop))
    assert timedelta(minutes=29) < ended - began < timedelta(minutes=31)
    assert abs(datetime.now(UTC) - ended) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("station", "password", "sentence"),
    [
        ("CP-1", "wrong-password-here", "HTTP 401: wrong or missing password"),
        ("nobody", PASSWORD, "HTTP 404: unknown station"),
    ],
)
async def test_a_refused_station_is_one_line_and_exit_code_2(
    central: Central,
    capsys: pytest.CaptureFixture[str],
    station: str,
    password: str,
    sentence: str,
) -> None:
    """A wrong password and an unknown station say so, in one line without the password."""
    assert await simulate(central, "--station", station, "--password", password) == 2
    shown = capsys.readouterr()
    assert re.fullmatch(rf"voltbus: .*{sentence}\.\n", shown.err)
    assert password not in shown.err + shown.out
    assert not shown.out


async def test_nobody_listens(central: Central, capsys: pytest.CaptureFixture[str]) -> None:
    """A closed port is one line and exit code 2."""
    await central.hang_up()
    assert await simulate(central, "--station", "CP-1") == 2
    assert capsys.readouterr().err.endswith("can't be reached: nothing listens there.\n")


@pytest.mark.parametrize("status", ["Blocked", "Invalid"])
async def test_a_refused_token_is_exit_code_1(
    central: Central, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    """A refused token is shown with its status and no transaction is begun."""
    central.answers["Authorize"] = lambda _: {"idTagInfo": {"status": status}}
    assert await simulate(central, "--station", "CP-1", "--password", PASSWORD) == 1
    assert status in capsys.readouterr().out
    assert not central.asked("StartTransaction")


async def test_a_pending_station_does_not_charge(
    central: Central, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the central system answers Pending the station asks for nothing (A21, B02)."""
    central.answers["BootNotification"] = lambda _: {
        "currentTime": "2026-01-01T00:00:00Z",
        "interval": 30,
        "status": "Pending",
    }
    assert await simulate(central, "--station", "CP-1", "--password", PASSWORD) == 1
    assert "Pending, the operator has to accept it" in capsys.readouterr().out
    assert [name for name, _ in central.calls] == ["BootNotification"]


async def test_a_start_that_is_refused_is_stopped(central: Central) -> None:
    """A token that StartTransaction refuses leads to a stop with DeAuthorized (1.6 §4.8)."""
    central.answers["StartTransaction"] = lambda _: {
        "transactionId": 8,
        "idTagInfo": {"status": "ConcurrentTx"},
    }
    assert await simulate(central, "--station", "CP-1", "--password", PASSWORD) == 1
    assert central.asked("StopTransaction")[0]["reason"] == "DeAuthorized"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "can't be read: No such file"),
        ("", "is empty"),
        ("A secret-one\nB\n", "line 2"),
    ],
)
async def test_a_bad_password_file(
    central: Central,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str | None,
    sentence: str,
) -> None:
    """A password file that can't be used is named, with the line, and nothing of it is shown."""
    file = tmp_path / "passwords.txt"
    if text is not None:
        file.write_text(text)
    assert await simulate(central, "--station", "CP-1", "--password-file", str(file)) == 2
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "secret-one" not in shown


@pytest.mark.parametrize(("token", "shown"), [(TOKEN, "…E6F7"), ("1234567", "…"), ("", "…")])
def test_tokens_are_masked(token: str, shown: str) -> None:
    """Never a whole token, and nothing of a short one."""
    assert masked(token) == shown
