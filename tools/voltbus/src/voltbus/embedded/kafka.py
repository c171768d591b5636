"""Apache Kafka as one KRaft process: broker and controller together, kept small and quick."""

from __future__ import annotations

import base64
import shutil
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from voltbus.embedded.ports import LOOPBACK
from voltbus.embedded.processes import Part, quiet_environment, run_to_end
from voltbus.embedded.readiness import kafka_ready
from voltbus.errors import CommandError, PartCrashed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from voltbus.embedded.folders import Home
    from voltbus.embedded.ports import Ports

HEAP_MEGABYTES = 256
# A small machine's settings, each measured: they keep start, stop and recovery after a kill short.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.initial.task.delay.ms": "500",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Controlled shutdown stays on (the default): without it the next start takes 12 s.
}
LOG4J = """\
status = error
shutdownHook = disable
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(frozen=True, slots=True)
class Kafka:
    """One broker: its Java, its class path, its home and its ports."""

    java: Path
    classpath: str
    home: Home
    ports: Ports
    aot_cache: Path | None = None  # see voltbus.embedded.quickstart

    @property
    def bootstrap(self) -> str:
        """The broker's address, host:port."""
        return f"{LOOPBACK}:{self.ports.kafka}"

    async def prepare(self, java_options: Sequence[str] = ()) -> Part:
        """Write the settings, format a new data folder, and say how to start the broker."""
        folder = self.home.folder("kafka")
        # Native libraries are unpacked here; a killed broker leaves them, so they are cleared.
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        self.home.folder("kafka", "tmp")
        settings = folder / "server.properties"
        settings.write_text(server_properties(folder / "data", self.ports), encoding="utf-8")
        (folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        if not (folder / "data" / "meta.properties").exists():
            await self._format(settings)
        return Part(
            name="kafka",
            command=[*self.java_command(java_options), "kafka.Kafka", str(settings)],
            environment=quiet_environment(),
            directory=folder,
            log=self.home.folder("logs") / "kafka.log",
            ready=partial(kafka_ready, LOOPBACK, self.ports.kafka),
            grace=5.0,
        )

    def java_command(self, options: Sequence[str] = ()) -> list[str]:
        """Java with our options and the broker's class path; a main class comes after it."""
        folder = self.home.path / "kafka"
        return [
            str(self.java),
            f"-Xmx{HEAP_MEGABYTES}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",  # leaves nothing in /tmp
            # What Kafka's libraries do and Java 25 would remark on at every start.
            *("--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"),
            "-Xlog:disable",  # the JVM's own remarks, such as those on an AOT cache
            "-Xlog:all=error:stderr",
            f"-XX:ErrorFile={self.home.path / 'logs' / 'kafka-jvm-crash.log'}",
            *([f"-XX:AOTCache={self.aot_cache}"] if self.aot_cache else []),
            *options,
            f"-Djava.io.tmpdir={folder / 'tmp'}",
            f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
            *("-cp", self.classpath),
        ]

    async def _format(self, settings: Path) -> None:
        """Give the data folder its cluster id (KRaft demands it before the first start)."""
        arguments = ["format", "-t", new_cluster_id(), "-c", str(settings)]
        command = [*self.java_command(), "kafka.tools.StorageTool", *arguments]
        code, output = await run_to_end(command, settings.parent)
        if code:
            raise PartCrashed("kafka", "could not format its data folder", output[-2000:])


def server_properties(data: Path, ports: Ports) -> str:
    """The broker's settings file for this data folder and these ports."""
    settings = SETTINGS | {
        "controller.quorum.voters": f"1@{LOOPBACK}:{ports.controller}",
        "listeners": (
            f"PLAINTEXT://{LOOPBACK}:{ports.kafka},CONTROLLER://{LOOPBACK}:{ports.controller}"
        ),
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka}",
        "log.dirs": _escaped(data),
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def new_cluster_id() -> str:
    """Sixteen random bytes in URL-safe base64 without padding, not beginning with a dash.

    A leading dash would read as an option on the formatter's command line.
    """
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _escaped(path: Path) -> str:
    """A path as a properties file and `log.dirs`, a comma-separated list, can hold it."""
    text = str(path)
    if "," in text:
        raise CommandError(f"Kafka cannot keep data in {text}: choose a --home without a comma.")
    return text.replace("\\", "\\\\")
