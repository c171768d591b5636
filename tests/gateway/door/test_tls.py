"""Security profiles 2 and 3, with every way to be refused (A8, A9)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from gateway.certificates import Authority, strict_context
from gateway.stage import PASSWORD, Stage, Station, basic, known_station
from voltbus_backbone.contract import registry
from voltbus_backbone.errors import SettingsError
from voltbus_gateway.door.tls import KeyPair, ServerTls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

TLS, MUTUAL = 2, 3
BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}
REFUSED_BY_TLS = (ssl.SSLError, ConnectionResetError, InvalidMessage, ConnectionClosed, EOFError)


class TlsStage:
    """A gateway with a listener per profile, and its authority."""

    def __init__(self, stage: Stage, authority: Authority, folder: Path) -> None:
        self.stage = stage
        self.authority = authority
        self.folder = folder

    def context(
        self, certificate: tuple[Path, Path] | None = None, ciphers: str | None = None
    ) -> ssl.SSLContext:
        """A station's side of TLS."""
        context = strict_context(self.authority.file)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        if ciphers is not None:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
        return context

    async def connect(
        self,
        profile: int,
        context: ssl.SSLContext | None = None,
        *,
        station_id: str = "CP-1",
        headers: dict[str, str] | None = None,
    ) -> ClientConnection:
        """Open a socket."""
        port = self.stage.gateway.listeners.port(profile)
        return await self.stage.socket(
            station_id,
            url=f"wss://127.0.0.1:{port}/ocpp/{station_id}",
            ssl=context or self.context(),
            server_hostname="localhost",
            headers=headers,
        )


@pytest.fixture
async def tls_stage(start: Callable[..., Awaitable[Stage]], tmp_path: Path) -> TlsStage:
    """RSA and ECDSA side by side, on a TLS and a mutual TLS listener, beside the plain one."""
    authority = Authority(tmp_path)
    first, first_key = authority.server("ec", "ec")
    second, second_key = authority.server("rsa", "rsa")
    stage = await start(
        ocpp_tls_port=0,
        ocpp_mtls_port=0,
        tls_cert_file=first,
        tls_key_file=first_key,
        tls_second_cert_file=second,
        tls_second_key_file=second_key,
        tls_client_ca_file=authority.file,
        tls_organization="Operator AB",
    )
    stage.services.logins["CP-1"] = known_station()
    return TlsStage(stage, authority, tmp_path)


async def serves(socket: ClientConnection) -> bool:
    """Whether calls are answered."""
    answer = await Station(socket).call("BootNotification", BOOT)
    await socket.close()
    return bool(answer[0] == 3)


@pytest.mark.parametrize(
    "ciphers",
    [None, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "AES128-GCM-SHA256"],
)
async def test_tls_with_a_password_by_either_certificate(
    tls_stage: TlsStage, ciphers: str | None
) -> None:
    """A00.FR.313/318: RSA and ECDSA, TLS 1.2 and newer, with OCPP's cipher suites."""
    assert await serves(await tls_stage.connect(TLS, tls_stage.context(ciphers=ciphers)))
    login = tls_stage.stage.bus.events("auth.requests")[0].message
    connected = await tls_stage.stage.event(registry.STATION_CONNECTED, "CP-1")
    assert (login.security_profile, connected.security_profile) == (2, 2)


async def test_old_tls_is_refused(tls_stage: TlsStage) -> None:
    """A8: TLS 1.2 or newer."""
    context = tls_stage.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(REFUSED_BY_TLS):
        await tls_stage.connect(TLS, context)


@pytest.mark.parametrize("headers", [{}, basic("CP-1", "wrong-password-00000")])
async def test_tls_does_not_replace_the_password(
    tls_stage: TlsStage, headers: dict[str, str]
) -> None:
    """Profile 2 is TLS and Basic."""
    with pytest.raises(InvalidStatus) as caught:
        await tls_stage.connect(TLS, headers=headers)
    assert caught.value.response.status_code == 401


async def test_a_station_of_profile_2_is_refused_without_tls(tls_stage: TlsStage) -> None:
    """A00.FR.002: no downgrade below the station's minimum profile, even with the password."""
    tls_stage.stage.services.logins["CP-1"] = known_station(minimum_profile=2)
    with pytest.raises(InvalidStatus) as caught:
        await tls_stage.stage.socket("CP-1")
    assert caught.value.response.status_code == 401
    assert await serves(await tls_stage.connect(TLS))


async def test_mutual_tls_needs_no_password(tls_stage: TlsStage) -> None:
    """Profile 3: the certificate says who it is."""
    certificate = tls_stage.authority.station("CP-1")
    assert await serves(await tls_stage.connect(MUTUAL, tls_stage.context(certificate), headers={}))
    login = tls_stage.stage.bus.events("auth.requests")[0].message
    assert (login.security_profile, login.certificate_cn) == (3, "CP-1")
    assert login.certificate_serial


async def test_a_certificate_may_name_the_serial_number(tls_stage: TlsStage) -> None:
    """A00.FR.406: CN is the station's serial number or its identity."""
    tls_stage.stage.services.logins["CP-1"] = known_station(serial_number="SN-7")
    certificate = tls_stage.authority.station("SN-7")
    socket = await tls_stage.connect(MUTUAL, tls_stage.context(certificate), headers={})
    answer = await Station(socket).call(
        "BootNotification", BOOT | {"chargePointSerialNumber": "SN-7"}
    )
    assert answer[0] == 3
    await socket.close()


@pytest.mark.parametrize(
    "said", [{}, {"chargeBoxSerialNumber": "SN-7", "chargePointSerialNumber": "SN-8"}]
)
async def test_a_serial_number_may_be_left_out_at_boot(
    tls_stage: TlsStage, said: dict[str, str]
) -> None:
    """It is optional in every version, and 1.6 has two: only a contradiction is refused."""
    tls_stage.stage.services.logins["CP-1"] = known_station(serial_number="SN-7")
    certificate = tls_stage.authority.station("SN-7")
    station = Station(await tls_stage.connect(MUTUAL, tls_stage.context(certificate), headers={}))
    assert (await station.call("BootNotification", BOOT | said))[0] == 3
    await station.socket.close()


async def test_another_serial_number_at_boot_closes(tls_stage: TlsStage) -> None:
    """B01.FR.11/12: the serial number in BootNotification must be the certificate's."""
    tls_stage.stage.services.logins["CP-1"] = known_station(serial_number="SN-7")
    certificate = tls_stage.authority.station("SN-7")
    station = Station(await tls_stage.connect(MUTUAL, tls_stage.context(certificate), headers={}))
    answer = await station.call("BootNotification", BOOT | {"chargePointSerialNumber": "SN-8"})
    assert answer[2] == "SecurityError"
    assert (await station.wait_closed())[0] == 1008


@pytest.mark.parametrize(
    ("common_name", "organization"), [("CP-2", "Operator AB"), ("CP-1", "Somebody AB")]
)
async def test_a_certificate_of_somebody_else_is_refused(
    tls_stage: TlsStage, common_name: str, organization: str
) -> None:
    """A00.FR.403-407: O must be the operator, CN this station."""
    certificate = tls_stage.authority.station(common_name, organization)
    with pytest.raises(InvalidStatus) as caught:
        await tls_stage.connect(MUTUAL, tls_stage.context(certificate), headers={})
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("which", ["none", "expired", "another authority", "a server's"])
async def test_a_certificate_that_does_not_hold_is_refused_by_tls(
    tls_stage: TlsStage, which: str, tmp_path: Path
) -> None:
    """No certificate, an expired one, another chain, another purpose: no handshake."""
    folder = tmp_path / "other"
    folder.mkdir()
    certificate = {
        "none": None,
        "expired": tls_stage.authority.station("CP-1", days=-1),
        "another authority": Authority(folder, "Other CA").station("CP-1"),
        "a server's": tls_stage.authority.server("ec", "stolen"),
    }[which]
    with pytest.raises(REFUSED_BY_TLS):
        await tls_stage.connect(MUTUAL, tls_stage.context(certificate), headers={})
    assert not tls_stage.stage.bus.events("auth.requests")


async def test_plain_text_at_a_tls_port_disturbs_nobody(tls_stage: TlsStage) -> None:
    """A station that was not told about TLS is cut off; the others go on."""
    port = tls_stage.stage.gateway.listeners.port(TLS)
    with pytest.raises(REFUSED_BY_TLS):
        await tls_stage.stage.socket("CP-1", url=f"ws://127.0.0.1:{port}/ocpp/CP-1")
    assert await serves(await tls_stage.connect(TLS))


async def test_certificates_are_replaced_without_a_restart(tls_stage: TlsStage) -> None:
    """New files serve new handshakes, open connections go on, a broken file changes nothing."""
    context = tls_stage.context(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    before = await tls_stage.connect(TLS, context)
    tls_stage.authority.server("ec", "ec")
    await tls_stage.stage.gateway.reload_tls()
    after = await tls_stage.connect(TLS, context, station_id="CP-1")
    assert _serial(before) != _serial(after)
    (tls_stage.folder / "ec.pem").write_text("half a certif")
    await tls_stage.stage.gateway.reload_tls()
    again = await tls_stage.connect(TLS, context)
    assert _serial(again) == _serial(after)
    for socket in (before, after, again):
        await socket.close()


def _serial(socket: ClientConnection) -> Any:
    found: dict[str, Any] = socket.transport.get_extra_info("peercert")
    return found["serialNumber"]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unusable_files_stop_the_start(tmp_path: Path, content: str | None) -> None:
    """One line that says what to give; exit code 2."""
    file = tmp_path / "x.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match="PEM"):
        ServerTls((KeyPair(file, file),))


async def test_a_password_is_not_taken_at_the_mutual_listener(tls_stage: TlsStage) -> None:
    """Profile 3 has one way in."""
    with pytest.raises(REFUSED_BY_TLS):
        await tls_stage.connect(MUTUAL, headers=basic("CP-1", PASSWORD))
