"""A gateway that listens for TLS, beside a stack's own at profile 1."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.certificates import Authority, strict_context
from voltbus.embedded.ports import free_ports

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from voltbus.embedded.stack import Stack

ORGANIZATION = "Operator AB"


class Listeners:
    """Its listener for profile 2 and the one for profile 3, under one authority."""

    def __init__(self, authority: Authority, ports: list[int]) -> None:
        self.authority = authority
        self._ports = ports

    def url(self, profile: int) -> str:
        """Where stations of a profile connect."""
        return f"wss://localhost:{self._ports[profile - 2]}/ocpp"

    def context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A station's side of TLS, with its own certificate and key at profile 3."""
        context = strict_context(self.authority.file)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


@asynccontextmanager
async def listening(stack: Stack, folder: Path, kind: str = "ec") -> AsyncIterator[Listeners]:
    """One more gateway with a server's certificate of this kind, until the end of the block."""
    authority = Authority(folder)
    certificate, key = authority.server(kind, kind)
    ports = free_ports(2)
    name = await stack.add_replica(
        "gateway",
        {
            "VOLTBUS_OCPP_TLS_PORT": str(ports[0]),
            "VOLTBUS_OCPP_MTLS_PORT": str(ports[1]),
            "VOLTBUS_TLS_CERT_FILE": str(certificate),
            "VOLTBUS_TLS_KEY_FILE": str(key),
            "VOLTBUS_TLS_CLIENT_CA_FILE": str(authority.file),
            "VOLTBUS_TLS_ORGANIZATION": ORGANIZATION,
        },
    )
    try:
        yield Listeners(authority, ports)
    finally:
        await stack.stop_part(name)
