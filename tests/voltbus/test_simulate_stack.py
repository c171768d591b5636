"""`voltbus simulate` and `voltbus events` by themselves, against the running stack."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from operating import operating

if TYPE_CHECKING:
    from pathlib import Path

    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack
DEADLINE_S = 120


async def voltbus(*arguments: str) -> tuple[int | None, str, str]:
    """Run a command; its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voltbus",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
async def test_a_simulated_station_charges(
    stack: Stack, tmp_path: Path, protocol: Protocol
) -> None:
    """The command charges in every version, and the event that ends the charge is shown."""
    async with operating(stack) as operator:
        name, password = await operator.station()
        token, _ = await operator.token()
    file = tmp_path / "password"
    file.write_text(password)
    code, out, err = await voltbus(
        "simulate", "--station", name, "--id-token", token, "--ocpp", stack.ocpp(),
        "--protocol", protocol, "--password-file", str(file), "--charge-wh", "7500",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "7.50 kWh charged" in out
    code, out, err = await voltbus(
        "events", "--kafka", stack.kafka, "--from-beginning", "--json", "--count", "1",
        "--type", "transaction.ended", "--station", name,
    )  # fmt: skip
    assert (code, err) == (0, "")
    ended = json.loads(out)["data"]
    assert ended["energy_wh"] == 7500
    assert not ended.get("doubts")


async def test_a_blocked_token_does_not_charge(stack: Stack, tmp_path: Path) -> None:
    """The refusal is shown with the status, and the exit code says it."""
    async with operating(stack) as operator:
        name, password = await operator.station()
        token, _ = await operator.token(status="blocked")
    file = tmp_path / "password"
    file.write_text(password)
    code, out, _ = await voltbus(
        "simulate", "--station", name, "--id-token", token, "--ocpp", stack.ocpp(),
        "--password-file", str(file),
    )  # fmt: skip
    assert code == 1
    assert "Blocked" in out


async def test_a_wrong_password_is_one_line(stack: Stack) -> None:
    """The gateway's 401 is one line and exit code 2."""
    async with operating(stack) as operator:
        name, _ = await operator.station()
    code, _, err = await voltbus(
        "simulate", "--station", name, "--id-token", "04A2B3C4", "--ocpp", stack.ocpp(),
        "--password", "certainly-not-this-one",
    )  # fmt: skip
    assert code == 2
    assert "HTTP 401" in err
    assert err.count("\n") == 1
