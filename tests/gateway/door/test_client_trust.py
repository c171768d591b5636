"""Which station certificates are believed, and what happens when that changes (A9, A00.FR.403-407).

Profile 3 only: every way to be refused at its listener is a row of one table.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from websockets.exceptions import InvalidStatus

from gateway.certificates import Authority
from gateway.door.test_tls import MUTUAL, REFUSED_BY_TLS, TlsStage, serves
from gateway.stage import Station, known_station
from voltbus_backbone.contract import registry
from voltbus_backbone.errors import SettingsError
from voltbus_gateway.door.tls import KeyPair, ServerTls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import Any

    from gateway.stage import Stage

    Begin = Callable[..., Awaitable["ClientTrustStage"]]

OPERATOR = "Operator AB"


class ClientTrustStage(TlsStage):
    """A gateway with a listener of profile 3, whose trust a test changes."""

    def __init__(self, stage: Stage, authority: Authority, folder: Path) -> None:
        super().__init__(stage, authority, folder)
        self.trusted = folder / "trusted.pem"
        self.lists = folder / "revoked.pem"

    async def trust(self, *authorities: Authority) -> None:
        """Write the file of trusted authorities anew, and have it read."""
        replace(self.trusted, b"".join(authority.file.read_bytes() for authority in authorities))
        await self.stage.gateway.reload_tls()

    async def revoke(self, lists: bytes) -> None:
        """Write the file of revocation lists anew, and have it read."""
        replace(self.lists, lists)
        await self.stage.gateway.reload_tls()

    async def enter(self, certificate: tuple[Path, Path] | None) -> Any:
        """A socket at the listener of profile 3."""
        return await self.connect(MUTUAL, self.context(certificate), headers={})

    async def outcome(self, certificate: tuple[Path, Path] | None) -> str:
        """How a station with this certificate fares: in, no handshake, or an HTTP status."""
        try:
            return "in" if await serves(await self.enter(certificate)) else "not served"
        except InvalidStatus as refused:
            return str(refused.response.status_code)
        except REFUSED_BY_TLS:
            return "no handshake"


def replace(file: Path, content: bytes) -> None:
    """As certificate tools do: whole, and another file."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)


def folder_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


@pytest.fixture
def begin(start: Callable[..., Awaitable[Stage]], tmp_path: Path) -> Begin:
    async def begin_(*, revoking: bool = False, **settings: Any) -> ClientTrustStage:
        authority = Authority(tmp_path)
        certificate, key = authority.server("ec", "ec")
        trusted, lists = tmp_path / "trusted.pem", tmp_path / "revoked.pem"
        trusted.write_bytes(authority.file.read_bytes())
        lists.write_bytes(authority.revoking())
        stage = await start(
            ocpp_mtls_port=0,
            tls_cert_file=certificate,
            tls_key_file=key,
            tls_client_ca_file=trusted,
            tls_client_crl_file=lists if revoking else None,
            tls_organization=OPERATOR,
            **settings,
        )
        stage.services.logins["CP-1"] = known_station()
        return ClientTrustStage(stage, authority, tmp_path)

    return begin_


async def test_a_certificate_of_an_older_authority_is_believed(
    begin: Begin, tmp_path: Path
) -> None:
    """Stations keep for years what they got, without an Authority Key Identifier (ADR 16)."""
    gateway = await begin()
    old = Authority(folder_of(tmp_path, "old"), "Old CA", old=True)
    await gateway.trust(gateway.authority, old)
    assert await gateway.outcome(old.station("CP-1")) == "in"


MATRIX: dict[str, tuple[Any, str]] = {
    "good, elliptic curve": (lambda ca, _: ca.station("CP-1"), "in"),
    "good, RSA 2048": (
        lambda ca, _: ca.station("CP-1", key=rsa.generate_private_key(65537, 2048)),
        "in",
    ),
    "none": (lambda _ca, _: None, "no handshake"),
    "expired": (lambda ca, _: ca.station("CP-1", days=-1), "no handshake"),
    "not yet valid": (lambda ca, _: ca.station("CP-1", since=1), "no handshake"),
    "another authority": (
        lambda _ca, folder: Authority(folder, "Other CA").station("CP-1"),
        "no handshake",
    ),
    "another authority of the same name": (
        lambda _ca, folder: Authority(folder).station("CP-1"),
        "no handshake",
    ),
    "self-signed": (lambda ca, _: ca.station("CP-1", itself=True), "no handshake"),
    "a server's": (lambda ca, _: ca.server("ec", "stolen"), "no handshake"),
    "another organization": (lambda ca, _: ca.station("CP-1", "Somebody AB"), "403"),
    "no organization of that spelling": (lambda ca, _: ca.station("CP-1", "operator ab"), "403"),
    "another station": (lambda ca, _: ca.station("CP-2"), "403"),
    "another station, longer": (lambda ca, _: ca.station("CP-11"), "403"),
    "P-192": (
        lambda ca, _: ca.station("CP-1", key=ec.generate_private_key(ec.SECP192R1())),
        "refused",
    ),
    "RSA 1024": (
        lambda ca, _: ca.station("CP-1", key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - refused for it
        "refused",
    ),
    "Ed25519": (
        lambda ca, _: ca.station("CP-1", key=ed25519.Ed25519PrivateKey.generate()),
        "refused",
    ),
}


@pytest.mark.parametrize("which", MATRIX)
async def test_every_way_to_be_refused(begin: Begin, tmp_path: Path, which: str) -> None:
    """A00.FR.403-407: at the listener of profile 3, and nothing is asked of auth for TLS's part.

    Keys too weak are refused by TLS or by us, as the library's own level has it.
    """
    trusting = await begin()
    make, expected = MATRIX[which]
    certificate = make(trusting.authority, folder_of(tmp_path, "other"))
    if certificate is not None and expected == "refused":
        # A library that lets such a key sign: the server alone is to refuse.
        context = trusting.context()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(*certificate)
        with pytest.raises((*REFUSED_BY_TLS, InvalidStatus)):
            await trusting.connect(MUTUAL, context, headers={})
        told = trusting.stage.bus.events(registry.Topic.STATIONS_EVENTS)
        assert registry.STATION_CONNECTED.name not in {event.type for event in told}
        return
    assert await trusting.outcome(certificate) == expected
    if expected == "no handshake":
        assert not trusting.stage.bus.events("auth.requests")


async def test_an_authority_that_is_removed(begin: Begin, tmp_path: Path) -> None:
    """Its certificates are refused, also by a session that began before; its stations are cut."""
    trusting = await begin()
    other = Authority(folder_of(tmp_path, "other"), "Other CA")
    mine, others = trusting.authority.station("CP-1"), other.station("CP-1")
    before = Station(await trusting.enter(mine))
    assert await trusting.outcome(others) == "no handshake"
    await trusting.trust(other)
    code, reason = await before.wait_closed()
    assert (code, reason) == (1008, "The certificate is not trusted any more")
    assert await trusting.outcome(mine) == "no handshake"
    stays = Station(await trusting.enter(others))
    await trusting.trust(other, trusting.authority)
    assert await trusting.outcome(mine) == "in"
    # One station, one connection: the last log-in took over from this one.
    assert (await stays.wait_closed())[1] == "The station has a newer connection"


async def test_open_connections_may_be_left(begin: Begin, tmp_path: Path) -> None:
    """By setting: who is in stays in; only new log-ins are refused."""
    trusting = await begin(tls_close_distrusted=False)
    mine = trusting.authority.station("CP-1")
    station = Station(await trusting.enter(mine))
    await trusting.trust(Authority(folder_of(tmp_path, "other"), "Other CA"))
    assert await trusting.outcome(mine) == "no handshake"
    answer = await station.call("Heartbeat", {})
    assert answer[0] == 3
    await station.socket.close()


async def test_who_is_still_trusted_stays(begin: Begin, tmp_path: Path) -> None:
    """One more authority, or a list that names others, cuts nobody off."""
    trusting = await begin(revoking=True)
    station = Station(await trusting.enter(trusting.authority.station("CP-1")))
    other = Authority(folder_of(tmp_path, "other"), "Other CA")
    await trusting.trust(trusting.authority, other)
    gone, _ = trusting.authority.station("CP-2")
    await trusting.revoke(trusting.authority.revoking(gone))
    assert (await station.call("Heartbeat", {}))[0] == 3
    await station.socket.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_old_session_is_no_way_in(
    begin: Begin, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """A ticket of before the removal resumes nothing: TLS would not look at the certificate."""
    trusting = await begin()
    context = trusting.context(trusting.authority.station("CP-1"))
    context.minimum_version = context.maximum_version = version
    port = trusting.stage.gateway.listeners.port(MUTUAL)

    def shake(session: ssl.SSLSession | None) -> tuple[bool | None, ssl.SSLSession | None]:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not secure.recv(1):
                raise ConnectionResetError
            return secure.session_reused, secure.session

    reused, session = await asyncio.to_thread(shake, None)
    assert (reused, session is not None) == (False, True)
    assert (await asyncio.to_thread(shake, session))[0], "resumption works as long as it is trusted"
    await trusting.trust(Authority(folder_of(tmp_path, "other"), "Other CA"))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.to_thread(shake, session)


async def test_a_revoked_certificate(begin: Begin) -> None:
    """Refused once the list says so, and its connection is closed; the others' are not touched."""
    trusting = await begin(revoking=True)
    lost, kept = trusting.authority.station("CP-1"), trusting.authority.station("CP-1")
    before = Station(await trusting.enter(lost))
    await trusting.revoke(trusting.authority.revoking(lost[0]))
    assert (await before.wait_closed())[0] == 1008
    assert await trusting.outcome(lost) == "403"
    assert await trusting.outcome(kept) == "in"
    await trusting.revoke(trusting.authority.revoking(lost[0], ends_in_days=-1))
    assert await trusting.outcome(lost) == "403"
    assert await trusting.outcome(kept) == "in"


async def test_files_that_cannot_be_used_change_nothing(begin: Begin, tmp_path: Path) -> None:
    """Half a list, or one of somebody else: the old ones hold."""
    trusting = await begin(revoking=True)
    lost = trusting.authority.station("CP-1")
    await trusting.revoke(trusting.authority.revoking(lost[0]))
    stranger = Authority(folder_of(tmp_path, "other"))
    for content in (b"", b"half a li", stranger.revoking()):
        await trusting.revoke(content)
        assert await trusting.outcome(lost) == "403"
    replace(trusting.trusted, b"half a certif")
    await trusting.stage.gateway.reload_tls()
    assert await trusting.outcome(trusting.authority.station("CP-1")) == "in"


async def test_lists_never_keep_an_authority_in(begin: Begin, tmp_path: Path) -> None:
    """Taken out while its list is still in the other file, or while that file is gone."""
    trusting = await begin(revoking=True)
    mine = trusting.authority.station("CP-1")
    assert await trusting.outcome(mine) == "in"
    other = Authority(folder_of(tmp_path, "other"), "Other CA")
    gone = other.station("CP-1")
    await trusting.trust(other, trusting.authority)
    await trusting.revoke(trusting.authority.revoking() + other.revoking(gone[0]))
    await trusting.trust(other)
    assert await trusting.outcome(mine) == "no handshake"
    assert await trusting.outcome(gone) == "403"
    trusting.lists.unlink()
    third = Authority(folder_of(tmp_path, "third"), "Third CA")
    await trusting.trust(third)
    assert await trusting.outcome(other.station("CP-1")) == "no handshake"
    assert await trusting.outcome(third.station("CP-1")) == "in"


def test_an_unusable_list_stops_the_start(tmp_path: Path) -> None:
    """One line that says what to give; exit code 2."""
    authority = Authority(tmp_path)
    pair = KeyPair(*authority.server())
    stranger = Authority(folder_of(tmp_path, "other"))
    lists = tmp_path / "lists.pem"
    for content in (b"no list", stranger.revoking()):
        lists.write_bytes(content)
        with pytest.raises(SettingsError, match="PEM"):
            ServerTls((pair,), authority.file, lists)
