"""Sockets that listen: bound once, accepted on by one server after another."""

from __future__ import annotations

import asyncio
import socket as network

BACKLOG = 4096


async def bind_sockets(host: str, port: int, buffer_bytes: int) -> list[network.socket]:
    """Sockets that listen at the addresses of the host, with buffers of so many bytes each way.

    Raises:
        OSError: there is no such address, or it is taken.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=network.SOCK_STREAM, flags=network.AI_PASSIVE
    )
    bound: list[network.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            bound.append(network.create_server(address, family=family, backlog=BACKLOG))
            # Accepted sockets inherit it; asyncio sets it only on sockets that name their protocol.
            # Else a second frame waits for the station's delayed acknowledgement of the first.
            bound[-1].setsockopt(network.IPPROTO_TCP, network.TCP_NODELAY, 1)
            # Else the kernel takes up to 6 MB of a station that we do not read, and the pod pays.
            bound[-1].setsockopt(network.SOL_SOCKET, network.SO_RCVBUF, buffer_bytes)
            bound[-1].setsockopt(network.SOL_SOCKET, network.SO_SNDBUF, buffer_bytes)
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound
