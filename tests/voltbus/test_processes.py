"""The supervisor, with small real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from voltbus.embedded.processes import Part, Supervisor, describe_end
from voltbus.errors import PartCrashed
from voltbus_watching import eventually, is_running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OBEDIENT = "print('ready', flush=True); import time; time.sleep(600)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(600)"
)
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, "ready", flush=True)
time.sleep(600)
"""
DRIVER = """
import asyncio, sys
from pathlib import Path
from voltbus.embedded.processes import Part, Supervisor

async def main():
    folder = Path(sys.argv[1])
    async def ready(): return True
    part = Part("child", [sys.executable, "-c", sys.argv[2]], {}, folder, folder / "log", ready)
    supervisor = Supervisor()
    await supervisor.start(part)
    print(supervisor.pid("child"), flush=True)
    await supervisor.crashed()

asyncio.run(main())
"""


def part_of(folder: Path, code: str, name: str = "child", **changes: object) -> Part:
    """A Python process that is ready when its log says so."""
    log = folder / "logs" / f"{name}.log"

    async def ready() -> bool:
        return "ready" in log.read_text(encoding="utf-8")

    settings: dict[str, object] = {"patience": 10.0, "grace": 5.0} | changes
    return Part(
        name=name,
        command=[sys.executable, "-c", code],
        environment=dict(os.environ),
        directory=folder,
        log=log,
        ready=ready,
        **settings,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def supervisor() -> AsyncIterator[Supervisor]:
    """A supervisor whose children end with the test."""
    made = Supervisor()
    try:
        yield made
    finally:
        await made.stop_all()


async def test_sigterm_is_enough_for_an_orderly_process(tmp_path: Path) -> None:
    """A process that obeys ends by SIGTERM, not by the SIGKILL after its grace."""
    async with supervisor() as processes:
        await processes.start(part_of(tmp_path, OBEDIENT))
        await processes.wait_ready("child")
        pid = processes.pid("child")
        assert await processes.stop("child") == -signal.SIGTERM
        assert not is_running(pid)


async def test_a_deaf_process_is_killed_after_its_grace(tmp_path: Path) -> None:
    """SIGTERM, then SIGKILL at the deadline."""
    async with supervisor() as processes:
        await processes.start(part_of(tmp_path, DEAF, grace=0.2))
        await processes.wait_ready("child")
        pid = processes.pid("child")
        assert await processes.stop("child") == -signal.SIGKILL
        assert not is_running(pid)


async def test_a_halted_process_can_be_stopped(tmp_path: Path) -> None:
    """A halted process sees SIGTERM only when it is continued; it ends by that, not by SIGKILL."""
    async with supervisor() as processes:
        await processes.start(part_of(tmp_path, OBEDIENT))
        await processes.wait_ready("child")
        await processes.signal("child", signal.SIGSTOP)
        assert await processes.stop("child") == -signal.SIGTERM


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    """The whole process group goes, also a grandchild that nobody told."""
    part = part_of(tmp_path, PARENT)
    async with supervisor() as processes:
        await processes.start(part)
        await processes.wait_ready("child")
        grandchild = int(part.log.read_text(encoding="utf-8").split()[0])
        assert is_running(grandchild)
        await processes.stop("child")
        await eventually(lambda: not is_running(grandchild))


async def test_nothing_survives_a_killed_parent(tmp_path: Path) -> None:
    """Kill -9 of the parent itself: the kernel kills the child."""
    driver = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DRIVER, str(tmp_path), OBEDIENT),
        stdout=asyncio.subprocess.PIPE,
    )
    assert driver.stdout is not None
    child = int(await driver.stdout.readline())
    await eventually(lambda: "ready" in (tmp_path / "log").read_text(encoding="utf-8"))
    assert is_running(child)
    driver.kill()
    await driver.communicate()
    await eventually(lambda: not is_running(child))


async def test_a_crash_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    """Who ended, how, and what it said last."""
    code = "print('ready', flush=True); raise SystemExit('the disk is on fire')"
    async with supervisor() as processes:
        await processes.start(part_of(tmp_path, code))
        async with asyncio.timeout(60):
            crash = await processes.crashed()
    assert crash.name == "child"
    assert crash.exit_code == 1
    assert "child ended with exit code 1" in str(crash)
    assert "the disk is on fire" in str(crash)


async def test_killed_by_a_stranger_is_a_crash_killed_by_us_is_not(tmp_path: Path) -> None:
    """Fault tests kill parts on purpose; only what nobody asked for counts."""
    async with supervisor() as processes:
        for name in ("ours", "theirs"):
            await processes.start(part_of(tmp_path, OBEDIENT, name))
            await processes.wait_ready(name)
        await processes.signal("ours", signal.SIGKILL)
        assert not is_running(processes.pid("ours"))
        os.kill(processes.pid("theirs"), signal.SIGKILL)
        async with asyncio.timeout(60):
            crash = await processes.crashed()
    assert str(crash).startswith("theirs was killed by SIGKILL")


async def test_one_that_dies_before_it_is_ready(tmp_path: Path) -> None:
    """Waiting ends at once, with the log."""
    async with supervisor() as processes:
        await processes.start(part_of(tmp_path, "raise SystemExit('no')"))
        with pytest.raises(PartCrashed, match=r"ended with exit code 1(?s:.*)no"):
            await processes.wait_ready("child")


async def test_one_that_never_becomes_ready(tmp_path: Path) -> None:
    """Waiting ends at the part's patience."""
    code = "import time; print('working', flush=True); time.sleep(600)"
    async with supervisor() as processes:
        await processes.start(part_of(tmp_path, code, patience=0.3))
        with pytest.raises(PartCrashed, match="was not ready after 0 s"):
            await processes.wait_ready("child")


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """A wrong command is a crash with its reason in the log, not a trace."""
    part = part_of(tmp_path, OBEDIENT)
    wrong = Part("child", ["/nowhere/java"], {}, tmp_path, part.log, part.ready)
    async with supervisor() as processes:
        await processes.start(wrong)
        with pytest.raises(PartCrashed, match="/nowhere/java could not be started: No such file"):
            await processes.wait_ready("child")


async def test_services_stop_before_the_servers_they_use(tmp_path: Path) -> None:
    """Higher layers first: a service may still write its last offsets."""
    ended = tmp_path / "ended"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(ended)!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    processes = Supervisor()
    for name, layer in (("service", 1), ("server", 0)):
        part = part_of(tmp_path, code, name, layer=layer)
        await processes.start(replace(part, command=[*part.command, name]))
        await processes.wait_ready(name)
    await processes.stop_all()
    assert ended.read_text(encoding="utf-8").split() == ["service", "server"]


async def test_a_part_can_be_started_again_and_keeps_its_last_log(tmp_path: Path) -> None:
    """After a kill the same part runs anew; the log of the run before is kept beside."""
    async with supervisor() as processes:
        part = part_of(tmp_path, "print('ready', flush=True)\n" + OBEDIENT)
        await processes.start(part)
        await processes.wait_ready("child")
        first = processes.pid("child")
        await processes.signal("child", signal.SIGKILL)
        await processes.start(part)
        await processes.wait_ready("child")
        assert processes.pid("child") != first
        assert part.log.with_name("child.log.1").exists()


async def test_a_running_part_is_not_started_twice(tmp_path: Path) -> None:
    """That would lose sight of the first."""
    async with supervisor() as processes:
        part = part_of(tmp_path, OBEDIENT)
        await processes.start(part)
        with pytest.raises(RuntimeError, match="runs already"):
            await processes.start(part)


def test_ends_in_words() -> None:
    """Exit codes and signals read as an operator says them."""
    assert describe_end(3) == "ended with exit code 3"
    assert describe_end(-9) == "was killed by SIGKILL"
    assert describe_end(-250) == "was killed by signal 250"
