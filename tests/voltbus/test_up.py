"""`voltbus up` as a process: what it prints, and that nothing outlives it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pymongo import AsyncMongoClient

from voltbus.embedded.ports import Ports, free_ports, is_free
from voltbus_watching import eventually, is_running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

pytestmark = pytest.mark.stack

SCRIPT = Path(__file__).with_name("up_with_stand_ins.py")


class Up:
    """One running `voltbus up`."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self.process = process
        self.home = home
        self.printed: dict[str, Any] = {}

    @property
    def pids(self) -> list[int]:
        """What it said it started."""
        return [pid for pid in self.printed["pids"].values() if pid]

    async def ready(self) -> None:
        """Read its one line."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            _out, err = await self.process.communicate()
            pytest.fail(f"it did not start: {err.decode()}")
        self.printed = json.loads(line)

    async def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, the rest of stdout, and stderr."""
        async with asyncio.timeout(120):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()

    async def all_gone(self) -> None:
        """Every process that it started is gone."""
        await eventually(lambda: not any(is_running(pid) for pid in self.pids))

    def documents(self) -> AsyncMongoClient[dict[str, Any]]:
        """A client of its MongoDB."""
        passwords = json.loads((self.home / "mongo-users.json").read_bytes())
        address = self.printed["mongo"].removeprefix("mongodb://").partition("/")[0]
        return AsyncMongoClient(
            f"mongodb://config:{passwords['config']}@{address}/?authSource=admin&replicaSet=rs0"
        )


def ten_free_in_a_row() -> int:
    """A first port after which nine more are free."""
    while True:
        first = free_ports(1)[0]
        ports = Ports.consecutive(first)
        if all(is_free(getattr(ports, name)) for name in Ports.__slots__):
            return first


@asynccontextmanager
async def up(
    home: Path,
    *words: str,
    first_port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Up]:
    """Start it; it and all it started are gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), str(home), str(first_port or ten_free_in_a_row())),
        *words,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Up(process, home)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_settings_in_the_environment_reach_the_services(tmp_path: Path) -> None:
    """They are named, values are not; what the stack sets stays as it is, a slip gets a hint."""
    environment = {
        "VOLTBUS_HEARTBEAT_S": "61",
        "VOLTBUS_HEARTBEATS_S": "made-up",
        "VOLTBUS_INSTANCE_ID": "not-mine",
    }
    async with up(tmp_path, environment=environment) as running:
        await running.ready()
        async with httpx.AsyncClient() as client:
            seen = (await client.get(running.printed["config"])).json()
        assert (seen["VOLTBUS_HEARTBEAT_S"], seen["VOLTBUS_INSTANCE_ID"]) == ("61", "config-1")
        running.process.send_signal(signal.SIGTERM)
        _code, _out, err = await running.end()
    assert "Passed on from the environment: VOLTBUS_HEARTBEAT_S." in err
    assert "stack sets it itself: VOLTBUS_INSTANCE_ID" in err
    assert "VOLTBUS_HEARTBEATS_S. Did you mean VOLTBUS_HEARTBEAT_S?" in err
    assert not any(value in err for value in ("made-up", "not-mine", "61."))


async def test_one_line_when_ready_and_sigterm_stops_all(tmp_path: Path) -> None:
    """Addresses, token and process ids as documented; exit code 0; nothing left."""
    first = ten_free_in_a_row()
    async with up(tmp_path, first_port=first) as running:
        await running.ready()
        printed = running.printed
        assert printed["ocpp"] == f"ws://127.0.0.1:{first}/ocpp"
        assert printed["gateway"] == f"http://127.0.0.1:{first + 1}"
        assert printed["kafka"] == f"127.0.0.1:{first + 5}"
        assert printed["mongo"] == f"mongodb://127.0.0.1:{first + 7}/?replicaSet=rs0"
        assert printed["operator_token"].count(".") == 2
        parts = {"gateway", "auth", "config", "agreements", "kafka", "mongod"}
        assert set(printed["pids"]) == parts
        assert all(is_running(pid) for pid in running.pids)
        running.process.send_signal(signal.SIGTERM)
        code, rest, _err = await running.end()
        assert (code, rest) == (0, "")
        assert not any(is_running(pid) for pid in running.pids)
        assert all(is_free(first + offset) for offset in range(8))
    logs = {log.stem for log in (tmp_path / "logs").iterdir()}
    assert parts <= logs
    auth_log = (tmp_path / "logs" / "auth.log").read_text(encoding="utf-8")
    assert auth_log == "ended in good order\n"


async def test_kill_9_leaves_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """The kernel takes the children along; the next start, on other ports, finds the data."""
    async with up(tmp_path) as running:
        await running.ready()
        async with running.documents() as client:
            await client["voltbus_config"]["stations"].insert_one({"_id": "kept"})
        running.process.kill()
        await running.process.communicate()
        await running.all_gone()
    async with up(tmp_path, "mongod-only") as running:
        await running.ready()
        async with running.documents() as client:
            assert await client["voltbus_config"]["stations"].find_one() == {"_id": "kept"}


async def test_a_crash_of_a_child_ends_the_rest_with_exit_code_1(tmp_path: Path) -> None:
    """It is reported by name, on stderr."""
    async with up(tmp_path) as running:
        await running.ready()
        os.kill(running.printed["pids"]["kafka"], signal.SIGKILL)
        code, rest, err = await running.end()
        assert (code, rest) == (1, "")
        assert "kafka was killed by SIGKILL" in err
        assert not any(is_running(pid) for pid in running.pids)


async def test_a_service_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    """Exit code 1, its last words, and nothing left of what was up already."""
    first = ten_free_in_a_row()
    async with up(tmp_path, "STAND_IN=dies", first_port=first) as running:
        code, out, err = await running.end()
        assert (code, out) == (1, "")
        assert "auth ended with exit code 1" in err
        assert "no wish to live" in err
        assert all(is_free(first + offset) for offset in range(8))


async def test_fresh_empties_the_home(tmp_path: Path) -> None:
    """Data, users and keys are new."""
    async with up(tmp_path, "mongod-only") as running:
        await running.ready()
        async with running.documents() as client:
            await client["voltbus_config"]["stations"].insert_one({"_id": "gone"})
        running.process.send_signal(signal.SIGINT)
        assert (await running.end())[0] == 0
    before = (tmp_path / "mongo-users.json").read_bytes()
    async with up(tmp_path, "mongod-only", "fresh") as running:
        await running.ready()
        async with running.documents() as client:
            assert await client["voltbus_config"]["stations"].find_one() is None
    assert (tmp_path / "mongo-users.json").read_bytes() != before


async def test_a_second_one_in_the_same_home_is_refused(tmp_path: Path) -> None:
    """Exit code 2 and a sentence with the holder; the first goes on."""
    async with up(tmp_path, "mongod-only") as running:
        await running.ready()
        async with up(tmp_path, "mongod-only") as second:
            code, out, err = await second.end()
            assert (code, out) == (2, "")
            assert f"(process {running.process.pid}) uses {tmp_path}" in err
        assert all(is_running(pid) for pid in running.pids)


async def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 2, the port, the flag."""
    first = ten_free_in_a_row()
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", first + 7))
        taken.listen(1)
        async with up(tmp_path, first_port=first) as running:
            code, out, err = await running.end()
    assert (code, out) == (2, "")
    assert f"Port {first + 7} (for MongoDB)" in err
    assert "--ports-from" in err
    assert not (tmp_path / "mongod").exists()


async def test_interrupted_on_the_way_up(tmp_path: Path) -> None:
    """SIGINT while servers start: all of it is stopped, exit code 130."""
    first = ten_free_in_a_row()
    async with up(tmp_path, "STAND_IN=never-ready", first_port=first) as running:
        auth_log = tmp_path / "logs" / "auth.log"
        await eventually(auth_log.exists, seconds=30)
        running.process.send_signal(signal.SIGINT)
        code, out, err = await running.end()
    assert (code, out) == (130, "")
    assert "Interrupted" in err
    assert all(is_free(first + offset) for offset in range(8))


async def test_what_the_home_holds_is_for_its_owner_only(tmp_path: Path) -> None:
    """Passwords, keys, data and logs: no file or folder that others could enter."""
    home = tmp_path / "home"
    async with up(home, "mongod-only") as running:
        await running.ready()
        secrets = [home, *home.glob("keys/*"), home / "mongo-users.json", home / "stack.json"]
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in secrets} == {0}
        assert json.loads((home / "stack.json").read_bytes()) == running.printed
