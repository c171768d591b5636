"""The life of a service process: start, readiness, work, and an orderly end.

A service is a ``compose`` coroutine that turns a ``Runtime`` into ``Parts``; everything else is the
same for all four. Settings that cannot be used are one line on standard error and exit code 2.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import socket
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
import uvloop

from voltbus_backbone import rest as http
from voltbus_backbone.bus.consumption import Consumption, Loop
from voltbus_backbone.bus.kafka import GroupConsumer, PartitionReader, Publisher
from voltbus_backbone.bus.replies import ReplyAddresses, reply_topics
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import SettingsError, Unavailable, VoltbusError
from voltbus_backbone.observability import READY, log_to_stderr
from voltbus_backbone.rest.access import Operators
from voltbus_backbone.rest.server import make_server
from voltbus_backbone.settings import ServiceSettings, load
from voltbus_backbone.supervision import Supervised

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastapi import APIRouter

    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.bus.ports import Inbox
    from voltbus_backbone.rest.app import RestKeeping

log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)

_START_TRIES_S = 60.0
_GC_THRESHOLDS = (20_000, 20, 50)
_LAST_S = 1.0  # for what a task still does when it is told to end
_OUTAGE_S = 5.0  # a produce unacknowledged for longer means that Kafka is not there


@dataclass
class Parts:
    """What a service consists of. ``close`` runs before the publisher stops, in this order.

    ``background`` work goes on for the life of the process; its names stand in /readyz.
    ``rest`` keeps what its REST interface needs: idempotency keys and who changed what.
    """

    routers: Sequence[APIRouter] = ()
    rest: RestKeeping | None = None
    consumptions: Sequence[Consumption] = ()
    background: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    close: Sequence[Callable[[], Awaitable[None]]] = ()


class Runtime(Generic[S]):
    """What ``compose`` gets: the settings, the bus, the clock and the signal to stop."""

    def __init__(self, name: str, settings: S, publisher: Publisher) -> None:
        self.name = name
        self.settings = settings
        self.publisher = publisher
        self.source = f"/voltbus/{name}/{settings.instance_id}"
        self.stopping = asyncio.Event()
        self._requester: Requester | None = None

    @staticmethod
    def now() -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)

    async def requester(
        self, on_message: Callable[[Event], Awaitable[None]] | None = None
    ) -> Requester:
        """A started Requester on this service's inbox; the same one each time."""
        if self._requester is None:
            topic = Topic(f"{self.name}.inbox")
            requester = Requester(
                instance_id=self.settings.instance_id,
                source=self.source,
                inbox_topic=self.settings.topic_prefix + topic,
                publisher=self.publisher,
                start_mark=secrets.token_hex(3),
                now=self.now,
                on_message=on_message,
                dead_letters_to=Topic(f"{self.name}.dead-letter"),
            )
            await requester.start(self._open_inbox, await self.publisher.learn(topic))
            self._requester = requester
        return self._requester

    def readiness(self) -> dict[str, bool]:
        """Whether answers and messages to this instance are read, where it reads any."""
        if self._requester is None:
            return {}
        return {"inbox": self._requester.hearing(self.settings.stuck_s)}

    def _open_inbox(self, topic: str, partition: int) -> Inbox:
        return PartitionReader(self.settings.kafka, topic, partition)

    async def close(self) -> None:
        """Stop reading answers."""
        if self._requester is not None:
            await self._requester.stop()


def main(
    name: str, settings_type: type[S], compose: Callable[[Runtime[S]], Awaitable[Parts]]
) -> None:
    """Run a service until SIGTERM or SIGINT; exits 0, 1 (it broke) or 2 (it cannot start so)."""
    try:
        settings = load(settings_type)
        log_to_stderr(settings.log_level, service=name, instance=settings.instance_id)
        code = uvloop.run(_Process(name, settings, compose).run())
    except SettingsError as error:
        sys.stderr.write(f"voltbus-{name}: {error}\n")
        code = 2
    sys.exit(code)


class _Process(Generic[S]):
    """One run of a service."""

    def __init__(
        self, name: str, settings: S, compose: Callable[[Runtime[S]], Awaitable[Parts]]
    ) -> None:
        self._name = name
        self._settings = settings
        self._compose = compose
        self._replies = reply_topics(settings.topic_prefix, settings.reply_topics)
        self._publisher = Publisher(settings.kafka, settings.topic_prefix)
        self._runtime = Runtime(name, settings, self._publisher)
        self._parts: Parts | None = None
        self._loops: list[Loop] = []
        self._consuming: list[Supervised] = []
        self._background: list[Supervised] = []

    async def run(self) -> int:
        """Start, serve until told to stop, leave in order."""
        listener = _listen(self._settings.http_host, self._settings.http_port)
        stopping = self._runtime.stopping
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        operators = Operators(self._settings)
        app = http.build_app(self._name, operators, self.readiness)
        server = make_server(app, most_connections=self._settings.http_connections)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        failures: list[BaseException] = []
        try:
            await self._start()
            assert self._parts is not None  # noqa: S101 - set by _start
            http.include(app, self._parts.routers, self._parts.rest)
            _spare_the_collector()
            work = self._work()
            READY.set(1)
            log.info("service.started", http_port=listener.getsockname()[1])
            await _until(stopping, work)
            failures = await self._leave(work)
        except SettingsError:
            raise  # main() says it in one line
        except VoltbusError as error:
            log.error("service.failed", reason=str(error))  # noqa: TRY400 - one line is the point
            failures = [error]
        finally:
            READY.set(0)
            await self._publisher.stop()
            server.should_exit = True
            await asyncio.wait([serving])
            listener.close()
        log.info("service.stopped", failed=bool(failures))
        return 1 if failures else 0

    def readiness(self) -> dict[str, bool]:
        """What /readyz shows."""
        checks = {
            "started": self._parts is not None,
            "staying": not self._runtime.stopping.is_set(),
            "kafka": self._publisher.pending_s() < _OUTAGE_S,
        }
        for loop, reader in zip(self._loops, self._consuming, strict=True):
            checks[reader.name] = reader.ready() and loop.ready()
            checks[f"committing-{loop.group}"] = loop.committing()
        checks.update({job.name: job.ready() for job in self._background})
        checks.update(self._runtime.readiness())
        if self._parts is not None:
            checks.update({name: check() for name, check in self._parts.checks.items()})
        return checks

    async def _start(self) -> None:
        """Connect and compose, trying again while a server is still coming up."""
        deadline = asyncio.get_running_loop().time() + _START_TRIES_S
        while True:
            try:
                await self._publisher.start()
                parts = await self._compose(self._runtime)
            except Unavailable as error:
                if asyncio.get_running_loop().time() > deadline or self._runtime.stopping.is_set():
                    raise
                log.warning("service.waiting", reason=str(error))
                await self._publisher.stop()
                await asyncio.sleep(0.5)
            else:
                break
        addresses = ReplyAddresses(self._replies, self._publisher.partition_counts)
        self._loops = [
            Loop(
                consumption,
                consumer=GroupConsumer(
                    self._settings.kafka,
                    self._settings.topic_prefix,
                    consumption.group,
                    awaited=consumption.awaited,
                ),
                publisher=self._publisher,
                addresses=addresses,
                dead_letters=Topic(f"{self._name}.dead-letter"),
                batch_records=self._settings.batch_records,
                stuck_s=self._settings.stuck_s,
            )
            for consumption in parts.consumptions
        ]
        self._consuming = [Supervised(f"consuming-{loop.group}", loop.run) for loop in self._loops]
        self._background = [
            Supervised(f"working-{name}", job) for name, job in parts.background.items()
        ]
        self._parts = parts

    def _work(self) -> list[asyncio.Task[None]]:
        work = [asyncio.create_task(reader.run(), name="consume") for reader in self._consuming]
        work.extend(asyncio.create_task(job.run(), name="work") for job in self._background)
        return work

    async def _leave(self, work: list[asyncio.Task[None]]) -> list[BaseException]:
        """Finish what is in hand within the grace period, then close the parts."""
        assert self._parts is not None  # noqa: S101 - only called after _start
        self._runtime.stopping.set()
        for loop in self._loops:
            loop.stop()
        consuming = [task for task in work if task.get_name() == "consume"]
        if consuming:
            await asyncio.wait(consuming, timeout=self._settings.grace_s)
        for close in self._parts.close:
            await close()
        for task in work:
            task.cancel()
        # Ending, a task may wait for a server that hangs: it is interrupted there too.
        if work:
            _, hanging = await asyncio.wait(work, timeout=_LAST_S)
            for task in hanging:
                task.cancel()
        results = await asyncio.gather(*work, return_exceptions=True)
        await self._runtime.close()
        failures = [
            result
            for result in results
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError)
        ]
        for failure in failures:
            log.error("service.broke", exc_info=failure)
        return failures


def _spare_the_collector() -> None:
    """Keep what a process is made of out of garbage collection, and collect less often.

    Schemas, validators and modules live as long as the process; walking them again and again
    costs several per cent, in pauses of tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


async def _until(stopping: asyncio.Event, work: list[asyncio.Task[None]]) -> None:
    """Until told to stop, or until a task that should never end has ended."""
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiting, *work], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit it; asyncio sets it only on sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): set VOLTBUS_HTTP_PORT"
        ) from None
    listener.listen(128)
    listener.setblocking(False)
    return listener
