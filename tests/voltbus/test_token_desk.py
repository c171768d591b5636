"""`voltbus token|station|agreement`: refusals without a service, and the desk with real ones."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import re
import secrets
import sys
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from operating import operating, until
from voltbus.__main__ import run
from voltbus.rest.service import Service
from voltbus.rest.services import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from operating import Operator
    from voltbus.embedded.stack import Stack

VALUE = "04A1B2C3D4E5F6"
GROUPS = ("token", "station", "agreement", "reservation")


@pytest.fixture(autouse=True)
def _no_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTH_URL", "CONFIG_URL", "AGREEMENTS_URL", "OPERATOR_TOKEN"):
        monkeypatch.delenv(f"VOLTBUS_{name}", raising=False)


@pytest.mark.parametrize(
    "command",
    [
        *(f"token {one}" for one in ("import", "export", "show", "block", "unblock", "delete")),
        "token explain",
        *(f"station {one}" for one in ("list", "show", "create", "rotate")),
        "rotations",
        *(f"reservation {one}" for one in ("list", "show", "create", "cancel")),
        *(f"agreement {one}" for one in ("list", "show", "create", "act")),
        *(f"transaction {one}" for one in ("list", "show", "close", "export")),
    ],
)
def test_every_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An example to copy says more than a list of flags."""
    assert run([*command.split(), "--help"]) == 0
    assert f"voltbus {command}" in capsys.readouterr().out.split("Examples")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("token show", "voltbus up"),
        ("token import {missing}.csv --url http://127.0.0.1:9", "set VOLTBUS_OPERATOR_TOKEN"),
        ("token import {missing}", "--format"),
        ("token block --url ftp://x", "--url takes an address"),
        ("token block --url http://me:secret@x", "--url takes an address"),
        ("station create", "name one station"),
        ("station create CP-1 --file x.json", "name one station"),
        ("station rotate", "name stations"),
        ("station rotate CP-1 --site s", "name stations"),
        ("rotations", "voltbus up"),
        ("agreement show x", "voltbus up"),
        ("reservation list", "voltbus up"),
        ("reservation create CP-1 --minutes 0", "--minutes"),
        ("agreement act dance x", "dance"),
        ("transaction list", "voltbus up"),
        ("transaction show x", "voltbus up"),
        ("transaction close x", "--reason"),
        ("transaction list --state lost", "lost"),
        ("transaction export --format pdf", "pdf"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on stdout, one line on stderr that says what to do."""
    arguments = words.format(missing=tmp_path / "missing").split()
    home = [] if "--url" in words else ["--home", str(tmp_path)]
    assert run([*arguments, *home]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert "secret" not in shown.err


@pytest.mark.parametrize("command", ["show", "block", "unblock", "delete", "explain --station C"])
def test_a_value_on_the_command_line_is_refused_and_not_repeated(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value where a reference belongs is not looked up and not shown again."""
    name, *more = command.split()
    assert run(["token", name, VALUE, *more, "--home", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert VALUE not in shown.out + shown.err


def test_the_bearer_token_is_not_shown() -> None:
    """Not even where a service's address is printed."""
    assert "secret" not in repr(Service("http://x", "secret"))


class Desk:
    """The command line as a process of its own, pointed at the real services."""

    def __init__(self, stack: Stack, operator: Operator) -> None:
        self.operator = operator
        names = ("auth", "config", "agreements")
        self._environment = {f"VOLTBUS_{one.upper()}_URL": stack.http(one) for one in names} | {
            TOKEN: stack.operator_token(),
            "COLUMNS": "200",
        }
        self.revealing = stack.operator_token("tokens:read tokens:reveal")

    async def start(self, *words: str, **more: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "voltbus", *words,
            env=self._environment | more,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *words: str, typed: str = "", **more: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr; ``typed`` is what stdin gives."""
        process = await self.start(*words, **more)
        out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
        return process.returncode or 0, out.decode(), err.decode()


@pytest_asyncio.fixture(loop_scope="session")
async def desk(stack: Stack) -> AsyncIterator[Desk]:
    """The desk of the shared stack."""
    async with operating(stack) as operator:
        yield Desk(stack, operator)


def fresh() -> str:
    return secrets.token_hex(7).upper()


@pytest.mark.stack
async def test_a_token_at_the_desk(desk: Desk) -> None:
    """By its value from stdin a token is shown, blocked, explained, unblocked and erased."""
    station, _ = await desk.operator.station("DESK")
    value, ref = await desk.operator.token()
    code, out, _ = await desk.run("token", "show", typed=value.lower())
    assert code == 0
    assert ref in out
    code, _, err = await desk.run("token", "block", typed=value)
    assert (code, "blocked" in err) == (0, True)
    code, out, _ = await desk.run("token", "explain", "--station", station, ref)
    assert (code, "Blocked" in out) == (1, True)
    code, _, err = await desk.run("token", "unblock", ref)
    assert (code, "accepted" in err) == (0, True)
    code, out, _ = await desk.run("token", "explain", "--station", station, typed=value)
    assert (code, "Accepted" in out) == (0, True)
    code, _, _ = await desk.run("token", "delete", ref, typed="n\n")
    assert code == 130
    code, _, err = await desk.run("token", "delete", ref, "--erase", "--yes")
    assert (code, "Erased" in err) == (0, True)
    code, out, err = await desk.run("token", "show", typed=value)
    assert (code, out) == (2, "")
    assert "no such token" in err
    assert value not in err


@pytest.mark.stack
async def test_a_file_comes_in_while_it_is_still_written(desk: Desk) -> None:
    """The first thousand is registered before the rest of the file exists: nobody holds it all."""
    values = [fresh() for _ in range(1500)]
    written = [f'{{"id_token": "{value}", "group_id": "STREAM"}}\n'.encode() for value in values]
    process = await desk.start("token", "import", "-", "--format", "ndjson")
    assert process.stdin is not None
    process.stdin.writelines(written[:1000])
    await process.stdin.drain()

    async def first() -> list[object]:
        answer = await desk.operator.done(
            "POST", "auth", "/v1/tokens/search", json={"id_token": values[999]}
        )
        found: list[object] = answer["data"]
        return found

    assert await until(first, bool)
    out, err = await asyncio.wait_for(process.communicate(b"".join(written[1000:])), 60)
    assert process.returncode == 0
    assert out == b""
    assert "1,500" in err.decode()


@pytest.mark.stack
async def test_errors_are_told_by_line(desk: Desk, tmp_path: Path) -> None:
    """A wrong line is named by number and reason, never by value; the exit code is 1."""
    good, bad = fresh(), fresh()
    file = tmp_path / "cards.csv"
    file.write_text(f"id_token,status\n{good},accepted\n{bad},{bad}\n", encoding="utf-8")
    code, _, err = await desk.run("token", "import", str(file), "--all-or-nothing")
    assert code == 1
    assert "line 3: status" in err
    code, _, err = await desk.run("token", "import", str(file), "--dry-run")
    assert (code, "What would happen" in err) == (1, True)
    code, _, _ = await desk.run("token", "show", typed=good)
    assert code == 2
    code, _, err = await desk.run("token", "import", str(file))
    assert (code, "What was imported" in err) == (1, True)
    assert bad not in err
    code, _, _ = await desk.run("token", "show", typed=good)
    assert code == 0


@pytest.mark.stack
async def test_export_again(desk: Desk, tmp_path: Path) -> None:
    """An export shows no value; with the scope it does, in a file that only its owner can read."""
    value, ref = await desk.operator.token(group_id="EXPORTED")
    code, out, _ = await desk.run("token", "export")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    (row,) = [one for one in rows if one["ref"] == ref]
    assert row["group_id"] == "EXPORTED"
    assert value not in out
    file = tmp_path / "moving.csv"
    words = ("token", "export", "--readable", "--format", "csv", "--out", str(file))
    code, _, err = await desk.run(*words)
    assert (code, "403" in err) == (2, True)
    assert not file.exists()
    code, _, _ = await desk.run(*words, **{TOKEN: desk.revealing})
    assert code == 0
    assert value in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.stack
async def test_a_reservation_at_the_desk(desk: Desk) -> None:
    """A place is kept by the value on stdin, listed, and given back; the value is nowhere."""
    station, _ = await desk.operator.station()
    value, ref = await desk.operator.token()
    words = ("reservation", "create", station, "--evse", "1")
    code, out, err = await desk.run(*words, typed=f"{value}\n")
    assert code == 0, err
    name = out.strip()
    code, out, _ = await desk.run("reservation", "list", "--station", station)
    assert (code, name in out, "pending" in out) == (0, True, True)
    code, shown, _ = await desk.run("reservation", "show", name)
    assert (code, ref in shown) == (0, True)
    assert value not in out + shown
    assert (await desk.run("reservation", "cancel", name))[:2] == (0, "cancelled\n")
    code, _, err = await desk.run(*words, typed="\n")
    assert (code, "no token's value" in err) == (2, True)


@pytest.mark.stack
async def test_stations_and_agreements_from_files(desk: Desk, tmp_path: Path) -> None:
    """Stations get passwords that can be used at once; an agreement is created and suspended."""
    name = f"DESK-{secrets.token_hex(3)}"
    file = tmp_path / "stations.ndjson"
    file.write_text(f'{{"id": "{name}-1"}}\n{{"id": "{name}-2"}}\n', encoding="utf-8")
    code, out, _ = await desk.run("station", "create", "--file", str(file), "--password")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [f"{name}-1", f"{name}-2"]
    assert all(len(line.split()[1]) == 40 for line in out.splitlines())
    code, out, _ = await desk.run("station", "show", f"{name}-1")
    assert (code, name in out) == (0, True)
    code, out, _ = await desk.run("station", "list", "--limit", "10000")
    assert f"{name}-2" in out
    _, ref = await desk.operator.token()
    file = tmp_path / "agreement.json"
    parties = [{"id": "p", "role": "provider"}, {"id": "c", "role": "customer"}]
    body = {
        "kind": "driver",
        "name": "Desk",
        "parties": parties,
        "valid_from": "2026-01-01T00:00:00Z",
        "tokens": [{"ref": ref, "type": "ISO14443"}],
    }
    file.write_text(json.dumps(body), encoding="utf-8")
    code, out, _ = await desk.run("agreement", "create", str(file), "--activate")
    assert code == 0
    made = out.strip()
    code, _, err = await desk.run("agreement", "act", "suspend", made, "--reason", "test")
    assert (code, "suspended" in err) == (0, True)
    code, out, _ = await desk.run("agreement", "list", "--token-ref", ref)
    assert (code, made in out) == (0, True)
    code, out, _ = await desk.run("agreement", "show", made)
    assert (code, "suspended" in out) == (0, True)


@pytest.mark.stack
async def test_a_ghost_is_closed_at_the_desk(desk: Desk, tmp_path: Path) -> None:
    """A transaction that never ended is found, closed with a reason, shown, and exported."""
    name, password = await desk.operator.station()
    token, _ = await desk.operator.token()
    async with desk.operator.connected("1.6", name, password) as station:
        await station.boot()
        await station.start(token, 1, 1000)
    code, out, _ = await desk.run("transaction", "list", "--station", name, "--state", "active")
    (reference,) = re.findall(r"^\s*([0-9a-f]{26})\b", out, re.MULTILINE)
    assert code == 0
    closing = ("transaction", "close", reference, "--reason", "the station is gone")
    code, _, err = await desk.run(*closing)
    assert (code, "ended" in err) == (0, True)
    code, _, err = await desk.run(*closing)
    assert (code, err.count("\n"), "409" in err) == (2, 1, True)
    code, out, _ = await desk.run("transaction", "show", reference)
    assert (code, "the station is gone" in out) == (0, True)
    file = tmp_path / "ended.csv"
    filters = ("--station", name, "--doubt", "closed_by_operator")
    code, _, _ = await desk.run(
        "transaction", "export", "--format", "csv", *filters, "--out", str(file)
    )
    assert code == 0
    (row,) = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    assert (row["transaction_ref"], row["closed_by"]) == (reference, "operator")


@pytest.mark.stack
async def test_nobody_there(desk: Desk, tmp_path: Path) -> None:
    """A service that does not answer is one line and exit code 2, also in the middle of a file."""
    server = await asyncio.start_server(_hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    file = tmp_path / "cards.ndjson"
    file.write_bytes(b'{"id_token": "04A1"}\n' * 50_000)
    async with server:
        for words in (("token", "import", str(file)), ("token", "export"), ("token", "show")):
            code, out, err = await desk.run(*words, "--url", url, typed=VALUE)
            assert (code, out, err.count("\n")) == (2, "", 1)


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.readline()
        writer.close()


@pytest.mark.stack
async def test_rotating_at_the_desk(desk: Desk) -> None:
    """One station, and several at a pace, watched to the end; no password is shown."""
    async with contextlib.AsyncExitStack() as stations:
        names = []
        for _ in range(3):
            name, old = await desk.operator.station()
            connected = desk.operator.connected("1.6", name, old)
            station = await stations.enter_async_context(connected)
            await station.boot()
            names.append(name)

        async def once() -> tuple[int, str, str]:
            return await desk.run("station", "rotate", names[0])

        # auth learns from config which stations are registered, soon.
        code, out, err = await until(once, lambda told: "Register" not in told[2])
        assert (code, out) == (0, "")
        assert f"{names[0]}: succeeded" in err
        code, _, err = await desk.run("station", "rotate", *names[1:], "--per-minute", "6000")
        assert (code, "2 succeeded, 0 failed" in err) == (0, True), err
        code, out, _ = await desk.run("rotations", "--station", names[1])
        assert (code, "succeeded" in out) == (0, True)
    code, _, err = await desk.run("station", "rotate", "nobody-1", "nobody-2")
    assert (code, "skipped nobody-1" in err) == (1, True)
    code, out, _ = await desk.run("station", "rotate", names[0], "--no-watch")
    assert (code, out.startswith("/v1/rotations/")) == (0, True)
