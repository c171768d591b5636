"""What a stack is to start, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voltbus.embedded.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from voltbus.embedded.ports import Ports

SERVERS = ("kafka", "mongod")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start, and where."""

    home: Path
    ports: Ports
    fresh: bool = False
    kafka: str | None = None  # host:port of a broker that exists
    mongo: str | None = None  # connection string of a server that exists
    services: Sequence[str] = SERVICES
    servers: Sequence[str] = SERVERS  # those of "kafka" and "mongod" that are wanted at all
    topics: bool = True
    partitions: int | None = None
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def doors(self) -> frozenset[str]:
        """The names of the ports that this plan listens on."""
        names = set(self.services)
        if "gateway" in names:
            names |= {"ocpp", "ocpp_tls", "ocpp_mtls"}
        if self.starts_kafka:
            names |= {"kafka", "controller"}
        if self.starts_mongod:
            names.add("mongod")
        return frozenset(names)

    @property
    def starts_kafka(self) -> bool:
        """Whether a broker of our own is started."""
        return self.kafka is None and "kafka" in self.servers

    @property
    def starts_mongod(self) -> bool:
        """Whether a mongod of our own is started."""
        return self.mongo is None and "mongod" in self.servers
