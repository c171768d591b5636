"""The ports of a stack."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from voltbus.embedded.ports import Ports, free_ports, is_free
from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def test_ten_in_a_row_in_the_order_of_the_manual() -> None:
    """`--ports-from 9000`: OCPP, four services' HTTP, Kafka twice, MongoDB, OCPP by TLS twice."""
    ports = Ports.consecutive(9000)
    assert (ports.ocpp, ports.gateway, ports.auth, ports.config) == (9000, 9001, 9002, 9003)
    assert (ports.agreements, ports.kafka, ports.controller, ports.mongod) == (
        *(9004, 9005),
        *(9006, 9007),
    )
    assert (ports.ocpp_tls, ports.ocpp_mtls) == (9008, 9009)


@pytest.mark.parametrize("first", [-1, 0, 80, 1023, 65_527, 70_000])
def test_a_first_port_that_leaves_no_room_is_refused(first: int) -> None:
    """Privileged ports and a row that would pass 65535 are refused, with the range."""
    with pytest.raises(CommandError, match=r"from 1024 to 65526"):
        Ports.consecutive(first)


def test_a_taken_port_is_named_with_what_to_do(taken: int) -> None:
    """The sentence names the port, whose it would be, and the flag that chooses others."""
    ports = Ports(*[*free_ports(1), taken, *free_ports(8)])
    with pytest.raises(CommandError, match=rf"Port {taken} \(for .*gateway.*--ports-from"):
        ports.refuse_taken(frozenset({"ocpp", "gateway"}))


def test_a_taken_port_that_nobody_needs_is_no_obstacle(taken: int) -> None:
    """With `--kafka`, the embedded broker's port may be in use."""
    ports = Ports(*[*free_ports(5), taken, *free_ports(4)])
    ports.refuse_taken(frozenset({"ocpp", "gateway", "auth", "config", "agreements", "mongod"}))


def test_free_ports_are_distinct_free_and_not_the_kernels(taken: int) -> None:
    """A restarted service finds its port again: the kernel gives it to no outgoing connection."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert taken not in ports
    assert all(is_free(port) for port in ports)
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:  # noqa: PTH123 - a proc file
        assert max(ports) < int(file.read().split()[0])
