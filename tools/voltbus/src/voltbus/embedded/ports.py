"""The TCP ports of one stack: ten in a row from a first one, or ten free ones."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass, fields
from pathlib import Path

from voltbus.errors import CommandError

LOOPBACK = "127.0.0.1"
COUNT = 10
LOWEST, HIGHEST = 1024, 65535
TITLES = {
    "ocpp": "the gateway's OCPP door",
    "gateway": "the gateway's HTTP",
    "auth": "auth",
    "config": "config",
    "agreements": "agreements",
    "kafka": "Kafka",
    "controller": "Kafka's controller",
    "mongod": "MongoDB",
    "ocpp_tls": "the gateway's OCPP door with TLS",
    "ocpp_mtls": "the gateway's OCPP door for station certificates",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each door of the stack, in the order of `--ports-from`."""

    ocpp: int
    gateway: int
    auth: int
    config: int
    agreements: int
    kafka: int
    controller: int
    mongod: int
    ocpp_tls: int
    ocpp_mtls: int

    @classmethod
    def consecutive(cls, first: int) -> Ports:
        """Ten ports in a row; a first port outside 1024..65526 is refused."""
        highest_first = HIGHEST - COUNT + 1
        if not LOWEST <= first <= highest_first:
            raise CommandError(
                f"--ports-from {first} is not possible: choose from {LOWEST} to {highest_first}, "
                f"as {COUNT} ports in a row are needed."
            )
        return cls(*range(first, first + COUNT))

    @classmethod
    def free(cls) -> Ports:
        """Ten ports that nobody listens on just now."""
        return cls(*free_ports(COUNT))

    def refuse_taken(self, doors: frozenset[str]) -> None:
        """Raise CommandError that names the first of these doors' ports that is in use."""
        for field in fields(self):
            port = getattr(self, field.name)
            if field.name in doors and not is_free(port):
                raise CommandError(
                    f"Port {port} (for {TITLES[field.name]}) is in use on {LOOPBACK}: stop what "
                    f"listens there, or choose {COUNT} other ports in a row with --ports-from N "
                    f"(now {self.ocpp})."
                )


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with contextlib.closing(socket.socket()) as probe:
        # As servers do: a connection of an earlier run in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int, chance: random.Random | None = None) -> list[int]:
    """Ports below the kernel's range for outgoing connections.

    The kernel hands out ports of that range as source ports: a service that is killed and
    started again could find its own port taken by somebody's outgoing connection.
    """
    chance = chance or random.SystemRandom()
    top = _first_outgoing_port()
    tried = chance.sample(range(min(10_000, top - 2_000), top), k=2_000)
    found: list[int] = []
    for port in tried:
        if is_free(port):
            found.append(port)
            if len(found) == count:
                return sorted(found)
    raise CommandError(f"There are no {count} free ports on {LOOPBACK}.")


def _first_outgoing_port() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        return max(int(text.split()[0]), LOWEST + 4_000)
    except (OSError, ValueError, IndexError):
        return 32_768
