"""Asking OCSP responders over HTTP (RFC 6960 appendix A), with a cache and a short patience.

An answer is kept until its next update, under certificate and responder: what one responder says
never stands for another. One that fails several times in a row is left alone for a while, so that
a responder that is down costs a few drivers a wait and not each of them.

A station may name a responder, and so make us call any address. What only a station named is
asked on public addresses only; what an operator or a trusted authority named is asked anywhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING

import httpx
import structlog

from voltbus_auth.plug_and_charge.domain.revocation import Unbelievable, request_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from voltbus_auth.plug_and_charge.domain.revocation import CertId, Check, Responder, Told

    Believe = Callable[[bytes, Check], Told]
    Resolve = Callable[[str, int], Awaitable[list[str]]]

log = structlog.get_logger(__name__)

_MOST_KEPT = 10_000
_MOST_KEPT_BYTES = 16 * 1024 * 1024
_MOST_BYTES = 64 * 1024
_LEFT_ALONE_S = 10.0
_MOST_FAILURES = 3
_HEADERS = {
    "Content-Type": "application/ocsp-request",
    "Accept": "application/ocsp-response",
}
_PORTS = {"http": 80, "https": 443}

# Addresses behind which IPv4 may lie: the well-known prefix (RFC 6052 2.1), and those whose IPv4
# part only the network itself knows (RFC 8215; Teredo: RFC 4380; IPv4-compatible: RFC 4291).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b:1::/48", "2001::/32", "::/96")
)

Key = tuple["CertId", str]


class _Silent(Exception):  # noqa: N818 - what the responder is
    """No answer could be had. ``reason`` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, by the machine's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Responders:
    """Asks and remembers. ``now`` is the world's time, ``clock`` a monotonic one in seconds."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        resolve: Resolve = resolve,
    ) -> None:
        self._client = client
        self._now = now
        self._clock = clock
        self._resolve = resolve
        self._kept: OrderedDict[Key, tuple[datetime, bytes]] = OrderedDict()
        self._kept_bytes = 0
        self._asking: dict[Key, asyncio.Task[bytes]] = {}
        # By responder: how often it failed in a row, and until when it is left alone.
        self._failing: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def ask(self, check: Check, believe: Believe, budget_s: float) -> Told | None:
        """What the first believable responder says within so many seconds; None if none does.

        ``believe`` reads an answer, or raises Unbelievable.
        """
        if not check.responders:
            return None
        each = budget_s / len(check.responders)
        for responder in check.responders:
            try:
                return await self._told(responder, check, believe, each)
            except TimeoutError:
                reason = "no answer in time"
            except (_Silent, Unbelievable) as error:
                reason = error.reason
            log.warning("ocsp.no_answer", reason=reason, vouched=responder.vouched)
        return None

    async def close(self) -> None:
        """Let go of the connections."""
        for task in list(self._asking.values()):
            task.cancel()
        await self._client.aclose()

    async def _told(
        self, responder: Responder, check: Check, believe: Believe, patience_s: float
    ) -> Told:
        key = (check.id, responder.url)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._now():
            try:
                # Roots may have changed since: believed anew each time.
                return believe(kept[1], check)
            except Unbelievable:
                self._drop(key)
        told = believe(await self._shared(key, responder, check, patience_s), check)
        if told.next_update is not None and told.next_update > self._now():
            self._keep(key, told.next_update, told.der)
        return told

    def _keep(self, key: Key, until: datetime, der: bytes) -> None:
        """Keep an answer; the oldest go when there are too many, or too many bytes."""
        self._drop(key)
        self._kept[key] = (until, der)
        self._kept_bytes += len(der)
        while len(self._kept) > _MOST_KEPT or self._kept_bytes > _MOST_KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_bytes -= len(kept[1])

    async def _shared(
        self, key: Key, responder: Responder, check: Check, patience_s: float
    ) -> bytes:
        """One request for all who ask the same at once; it goes on when one of them gives up."""
        task = self._asking.get(key)
        if task is not None:
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(task)
        task = asyncio.create_task(self._fetch(responder, check, patience_s))
        self._asking[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: Key, done: asyncio.Task[bytes]) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may be waiting any more

    async def _fetch(self, responder: Responder, check: Check, patience_s: float) -> bytes:
        failures, until = self._failing.get(responder.url, (0, 0.0))
        if failures >= _MOST_FAILURES and until > self._clock():
            raise _Silent("it did not answer a moment ago")
        try:
            async with asyncio.timeout(patience_s):
                answer = await self._post(responder, request_of(check))
        except _Silent:
            raise
        except Exception as error:  # noqa: BLE001 - a station may have chosen the address
            self._note_failure(responder.url, failures + 1)
            raise _Silent(type(error).__name__) from None
        self._failing.pop(responder.url, None)
        return answer

    async def _post(self, responder: Responder, body: bytes) -> bytes:
        url = httpx.URL(responder.url)
        if url.scheme not in _PORTS or not url.host or url.userinfo:
            raise _Silent("not a web address")
        headers = {**_HEADERS, "Host": url.netloc.decode("ascii")}
        extensions = {"sni_hostname": url.host}
        if not responder.vouched:
            # The address that was looked at is the one that is called.
            url = url.copy_with(host=await self._public_address(url))
        async with self._client.stream(
            "POST", url, content=body, headers=headers, extensions=extensions
        ) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _Silent(f"HTTP {answer.status_code}")
            content = bytearray()
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > _MOST_BYTES:
                    raise _Silent("too large an answer")
        return bytes(content)

    async def _public_address(self, url: httpx.URL) -> str:
        addresses = await self._resolve(url.host, url.port or _PORTS[url.scheme])
        if not addresses or not all(_public(address) for address in addresses):
            raise _Silent("a station named a responder at an address that is not public")
        return addresses[0]

    def _note_failure(self, url: str, failures: int) -> None:
        self._failing[url] = (failures, self._clock() + _LEFT_ALONE_S)
        self._failing.move_to_end(url)
        if len(self._failing) > _MOST_KEPT:
            self._failing.popitem(last=False)


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if found.is_multicast:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return found.is_global
    carried = _carried(found)
    if carried is not None:
        return carried.is_global and not carried.is_multicast
    return found.is_global and not any(found in network for network in _TRANSLATED)


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that a network would make of this one, if it carries one."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
