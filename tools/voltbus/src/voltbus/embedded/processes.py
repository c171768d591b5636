"""The processes of a stack: started, watched, stopped, and never left behind.

Each child leads its own process group and session (Ctrl-C in a terminal reaches only us), writes
into its own log file, and is killed by the kernel when we die, even by SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voltbus.errors import PartCrashed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

LEASH = Path(__file__).with_name("leash.py")
POLL = 0.03  # seconds between two questions whether a part is ready
TAIL_LINES, TAIL_BYTES = 20, 16_384
HALTED = frozenset("TtZX")  # stopped, traced, a zombie, dead


@dataclass(frozen=True, slots=True)
class Part:
    """What is needed to start one process, and to start it again after it was killed."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    ready: Callable[[], Awaitable[bool]]
    patience: float = 120.0  # seconds until it must be ready
    layer: int = 0  # higher layers are stopped first
    grace: float = 9.0  # seconds from SIGTERM to SIGKILL


@dataclass(slots=True)
class _Child:
    part: Part
    process: asyncio.subprocess.Process
    watcher: asyncio.Task[None] | None = None
    expected_to_end: bool = False


@dataclass(slots=True)
class Supervisor:
    """Keeps the processes of one stack; all methods belong to one event loop."""

    inherited: tuple[int, ...] = ()  # descriptors that every child keeps open
    _children: dict[str, _Child] = field(default_factory=dict)
    _crash: PartCrashed | None = None
    _crashed: asyncio.Event = field(default_factory=asyncio.Event)

    def pid(self, name: str) -> int:
        """The process id of a part that was started."""
        return self._children[name].process.pid

    def names(self) -> tuple[str, ...]:
        """The parts that were started, in that order."""
        return tuple(self._children)

    def part(self, name: str) -> Part:
        """How this part was started last."""
        return self._children[name].part

    async def start(self, part: Part) -> None:
        """Start a part without waiting for its readiness; its log begins anew."""
        running = self._children.get(part.name)
        if running is not None and running.process.returncode is None:
            raise RuntimeError(f"{part.name} runs already")
        process = await self._spawn(part)
        child = _Child(part, process)
        # A part that is started again moves to the end, and so is stopped earlier.
        self._children.pop(part.name, None)
        self._children[part.name] = child
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {part.name}")

    async def wait_ready(self, name: str) -> None:
        """Return when the part is ready; raise PartCrashed when it ends or takes too long."""
        child = self._children[name]
        part = child.part
        deadline = time.monotonic() + part.patience
        while True:
            if child.process.returncode is not None:
                raise _crash_of(child)
            if await part.ready():
                return
            if time.monotonic() > deadline:
                reason = f"was not ready after {part.patience:.0f} s"
                raise PartCrashed(part.name, reason, tail(part.log))
            await asyncio.sleep(POLL)

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part's process group; a deadly one does not count as a crash.

        After SIGKILL this returns when the process is gone; after SIGSTOP when no thread of it
        runs any more, for the kernel stops a busy process some time after kill(2) returned.
        """
        child = self._children[name]
        if number in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}:
            child.expected_to_end = True
        _signal_group(child.process.pid, number)
        if number == signal.SIGKILL:
            await child.process.wait()
        while number == signal.SIGSTOP and _runs(child.process.pid):  # noqa: ASYNC110 - /proc has no event
            await asyncio.sleep(POLL)

    async def stop(self, name: str, grace: float | None = None) -> int:
        """SIGTERM, then SIGKILL after the part's grace; the exit code when the process is gone.

        As asyncio gives it: a negative one is the signal that ended it.
        """
        child = self._children[name]
        child.expected_to_end = True
        if child.process.returncode is None:
            _signal_group(child.process.pid, signal.SIGTERM)
            # One that was halted (SIGSTOP) would not see SIGTERM.
            _signal_group(child.process.pid, signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(child.part.grace if grace is None else grace):
                    await child.process.wait()
        # Also after an orderly end: what it left in its group ends with it.
        _signal_group(child.process.pid, signal.SIGKILL)
        code = await child.process.wait()
        if child.watcher is not None:
            await child.watcher
        return code

    async def stop_all(self, grace: float | None = None) -> None:
        """Stop everything, layer by layer from the highest, the parts of one layer together.

        `grace` in seconds holds for each layer instead of its parts' own.
        """
        for child in self._children.values():
            child.expected_to_end = True
        layers = sorted({child.part.layer for child in self._children.values()}, reverse=True)
        for layer in layers:
            names = [name for name, child in self._children.items() if child.part.layer == layer]
            await asyncio.gather(*(self.stop(name, grace) for name in names))
        self._children.clear()

    async def crashed(self) -> PartCrashed:
        """Wait until a part ends that nobody asked to end."""
        await self._crashed.wait()
        if self._crash is None:
            raise RuntimeError("a crash without its cause")
        return self._crash

    async def _watch(self, child: _Child) -> None:
        await child.process.wait()
        if not child.expected_to_end and self._crash is None:
            self._crash = _crash_of(child)
            self._crashed.set()

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        part.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if part.log.exists():
            part.log.replace(part.log.with_name(part.log.name + ".1"))
        descriptor = os.open(part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                *leashed(part.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd=part.directory,
                env=dict(part.environment),
                pass_fds=self.inherited,
                start_new_session=True,
            )
        except OSError as error:
            raise PartCrashed(part.name, f"could not be started: {error.strerror}") from None
        finally:
            os.close(descriptor)


def leashed(command: Sequence[str]) -> list[str]:
    """A command that the kernel kills when this process dies."""
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command]


async def run_to_end(
    command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command that ends by itself: its exit code and the end of what it printed.

    It is killed when the caller is cancelled, and when this process dies.
    """
    process = await asyncio.create_subprocess_exec(
        *leashed(command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env=dict(quiet_environment() if environment is None else environment),
        start_new_session=True,
    )
    try:
        output, _nothing = await process.communicate()
    except asyncio.CancelledError:
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")[-TAIL_BYTES:].strip()


def quiet_environment() -> dict[str, str]:
    """What a server needs from our environment: nothing that changes how it behaves."""
    kept = ("PATH", "HOME", "LANG", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ}


def tail(log: Path) -> str:
    """The last lines of a log, as much as fits a screen."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])


def describe_end(code: int) -> str:
    """What a process's return code says, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _crash_of(child: _Child) -> PartCrashed:
    code = child.process.returncode
    return PartCrashed(child.part.name, describe_end(code or 0), tail(child.part.log))


def _runs(pid: int) -> bool:
    """Whether a thread of this process may still be executing (proc(5): state of each task)."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name before the state is in parentheses and may hold spaces and parentheses.
            state = stat.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][:1]
            if state not in HALTED:
                return True
    return False


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
