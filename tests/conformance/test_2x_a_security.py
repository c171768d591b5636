"""A Security: log-in, passwords, TLS, profiles, security events (OCPP 2.x)."""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from conformance.acting import answered, carried_out, every_2x
from conformance.by_hand import socket_of
from gateway.certificates import Authority
from tls_listeners import ORGANIZATION, listening
from voltbus.simulator import RefusedError, UnreachableError, make_station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from tls_listeners import Listeners
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack


async def credentials(operator: Operator, name: str, **body: Any) -> str | None:
    """Set what a station logs in with; the password, where there is one."""
    path = f"/v1/stations/{name}/credentials"
    password: str | None = (await operator.done("PUT", "auth", path, json=body))["password"]
    return password


# ---- HTTP Basic (A00) ----


@every_2x
async def test_tc_a_01_a_valid_password(operator: Operator, protocol: Protocol) -> None:
    """A00.FR.204: identity and password of a registered station let it in."""
    name, password = await operator.station()
    assert await operator.login(protocol, name, password) == 101


@every_2x
async def test_tc_a_02_another_user_name(operator: Operator, protocol: Protocol) -> None:
    """A00.FR.204: the user name must be the identity in the URL, even with a valid password."""
    name, password = await operator.station()
    other, _ = await operator.station()
    with pytest.raises(InvalidStatus) as refused:
        async with socket_of(operator, protocol, name, password, path=other):
            pass
    assert refused.value.response.status_code == 401


@every_2x
async def test_tc_a_03_an_invalid_password(operator: Operator, protocol: Protocol) -> None:
    """A00.FR.204/207: a wrong password gets 401 before the upgrade."""
    name, _ = await operator.station()
    wrong = secrets.token_hex(20)
    assert await operator.login(protocol, name, wrong) == 401


def new_password(password: str) -> dict[str, Any]:
    """SetVariables with a new password."""
    variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    return {"setVariableData": [{**variable, "attributeValue": password}]}


@every_2x
async def test_tc_a_09_a_new_password_is_accepted(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """A01.FR.03: once the station has accepted a new password, the old one is refused."""
    async with ready(protocol) as station:
        name = station.station_id
        old = await credentials(operator, name, security_profile=1)
        new = await credentials(operator, name, security_profile=1, keep_previous=True)
        assert new is not None
        assert old is not None
        answer = await answered(operator, name, "SetVariables", new_password(new))
        assert answer["setVariableResult"][0]["attributeStatus"] == "Accepted"
        path = f"/v1/stations/{name}/credentials/previous"
        await operator.done("DELETE", "auth", path)
        await station.reconnect()
        assert await operator.login(protocol, name, old) == 401


@every_2x
async def test_tc_a_10_a_new_password_is_rejected(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """A01.FR.04: a station that rejects the new password goes on with the old one."""
    async with ready(protocol) as station:
        name = station.station_id
        old = await credentials(operator, name, security_profile=1)
        new = await credentials(operator, name, security_profile=1, keep_previous=True)
        assert new is not None
        assert old is not None
        station.answers["SetVariables"] = lambda payload: {
            "setVariableResult": [
                {
                    "attributeStatus": "Rejected",
                    "component": payload["setVariableData"][0]["component"],
                    "variable": payload["setVariableData"][0]["variable"],
                }
            ]
        }
        await answered(operator, name, "SetVariables", new_password(new))
        assert await operator.login(protocol, name, old) == 101


@every_2x
async def test_a01_fr_08_a_password_is_shown_nowhere(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """A01.FR.08/09: neither the command nor an event nor a gateway's log holds the password."""
    async with ready(protocol) as station:
        password = secrets.token_hex(20)
        found = await carried_out(
            operator, station.station_id, "SetVariables", new_password(password)
        )
        told = await subscriber.wait_for(
            "command.changed", command_id=found["id"], status="answered"
        )
        logs = "".join(operator.stack.log(one).read_text() for one in ("gateway", "config"))
        assert password not in str(found) + str(told) + logs


# ---- TLS (A00, profiles 2 and 3) ----


class Secured:
    """A gateway process of its own with a listener per profile."""

    def __init__(self, listeners: Listeners, operator: Operator) -> None:
        self.authority = listeners.authority
        self.context = listeners.context
        self.operator = operator
        self._url = listeners.url

    async def connect(
        self,
        protocol: Protocol,
        profile: int,
        name: str,
        password: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Station16 | Station2:
        """A connected station; the caller closes it."""
        station = make_station(protocol)
        await station.connect(self._url(profile), name, password, ssl=context or self.context())
        return station


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(
    stack: Stack, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Secured]:
    """One more gateway, which speaks TLS, beside the shared stack's own."""
    async with listening(stack, tmp_path_factory.mktemp("tls"), "rsa") as listeners:
        yield Secured(listeners, operator)


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param("1.6", id="tc_086-1.6"),
        pytest.param("2.0.1", id="tc_a_04-2.0.1"),
        pytest.param("2.1", id="tc_a_04-2.1"),
    ],
)
async def test_tls_with_a_valid_server_certificate(secured: Secured, protocol: Protocol) -> None:
    """A00.FR.306/312: profile 2: the server's certificate holds, and the password is asked."""
    name, password = await secured.operator.station()
    station = await secured.connect(protocol, 2, name, password)
    assert (await station.boot()).status == "Accepted"
    await station.close()
    with pytest.raises(RefusedError) as refused:
        await secured.connect(protocol, 2, name, secrets.token_hex(20))
    assert refused.value.status == 401


@every_2x
async def test_tc_a_06_an_old_tls_version(secured: Secured, protocol: Protocol) -> None:
    """A00.FR.313: below TLS 1.2 there is no handshake."""
    name, password = await secured.operator.station()
    context = secured.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(UnreachableError):
        await secured.connect(protocol, 2, name, password, context)


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param("1.6", id="tc_087-1.6"),
        pytest.param("2.0.1", id="tc_a_07-2.0.1"),
        pytest.param("2.1", id="tc_a_07-2.1"),
    ],
)
async def test_mutual_tls(secured: Secured, protocol: Protocol) -> None:
    """A00.FR.401-407: profile 3: the station's certificate lets it in, without a password."""
    name, _ = await secured.operator.station()
    await credentials(secured.operator, name, security_profile=3)
    context = secured.context(secured.authority.station(name, ORGANIZATION))
    station = await secured.connect(protocol, 3, name, None, context)
    assert (await station.boot()).status == "Accepted"
    await station.close()


@every_2x
@pytest.mark.parametrize("organization", [ORGANIZATION, "Somebody else"])
async def test_tc_a_08_an_invalid_client_certificate(
    secured: Secured, protocol: Protocol, organization: str
) -> None:
    """A00.FR.405/406: a certificate of another station, or of another operator, is refused."""
    name, _ = await secured.operator.station()
    await credentials(secured.operator, name, security_profile=3)
    subject = "CP-OTHER" if organization == ORGANIZATION else name
    context = secured.context(secured.authority.station(subject, organization))
    with pytest.raises(RefusedError) as refused:
        await secured.connect(protocol, 3, name, None, context)
    assert refused.value.status == 403


@every_2x
async def test_tc_a_08_no_client_certificate(secured: Secured, protocol: Protocol) -> None:
    """A00.FR.403: without a certificate, or with an expired one, TLS refuses."""
    name, _ = await secured.operator.station()
    expired = secured.context(secured.authority.station(name, ORGANIZATION, days=-1))
    for context in (secured.context(), expired):
        with pytest.raises(UnreachableError):
            await secured.connect(protocol, 3, name, None, context)


@every_2x
async def test_tc_a_19_upgrade_of_the_security_profile(
    secured: Secured, protocol: Protocol
) -> None:
    """A05.FR.02/07: network profile, priority, reset; then the higher profile, and no way back."""
    operator = secured.operator
    name, password = await operator.station()
    station = make_station(protocol)
    await station.connect(operator.stack.ocpp(), name, password)
    await station.boot()
    data = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://csms.example/ocpp",
        "messageTimeout": 30,
        "securityProfile": 2,
        "ocppInterface": "Wired0",
    }
    payload = {"configurationSlot": 2, "connectionData": data}
    assert (await answered(operator, name, "SetNetworkProfile", payload))["status"] == "Accepted"
    priority = {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "NetworkConfigurationPriority"},
        "attributeValue": "2,1",
    }
    answer = await answered(operator, name, "SetVariables", {"setVariableData": [priority]})
    assert answer["setVariableResult"][0]["attributeStatus"] in {"Accepted", "RebootRequired"}
    await credentials(operator, name, security_profile=2, password=password)
    station.answers["Reset"] = lambda _: {"status": "Accepted"}
    await carried_out(operator, name, "reset", {"type": "on_idle"})
    await station.close()
    upgraded = await secured.connect(protocol, 2, name, password)
    assert (await upgraded.boot()).status == "Accepted"
    await upgraded.close()
    assert await operator.login(protocol, name, password) == 401


# ---- security events and certificates (A02, A04, M) ----


@every_2x
async def test_a04_a_security_event(
    ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """A04.FR.03: a security event is always confirmed, and told."""
    async with ready(protocol) as station:
        payload = {"type": "MemoryExhaustion", "timestamp": station.now(), "techInfo": "full"}
        assert await station.call("SecurityEventNotification", payload) == {}
        (told,) = await subscriber.wait_for("station.security-event", station_id=station.station_id)
        assert (told.type, told.tech_info) == ("MemoryExhaustion", "full")


@every_2x
async def test_a02_a_signed_certificate_that_does_not_fit(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """A02.FR.07: a station rejects a chain that is not for its key, and its event is confirmed."""
    async with ready(protocol) as station:
        payload = {"certificateChain": "no certificate"}
        answer = await answered(operator, station.station_id, "CertificateSigned", payload)
        assert answer["status"] == "Rejected"
        event = {"type": "InvalidChargingStationCertificate", "timestamp": station.now()}
        assert await station.call("SecurityEventNotification", event) == {}


@every_2x
async def test_m_certificates_are_installed_listed_and_deleted(
    operator: Operator, ready: Ready, protocol: Protocol, tmp_path: Path
) -> None:
    """M05, M03, M04: a root is installed, found by its hash, and deleted by it."""
    pem = Authority(tmp_path).file.read_text()
    async with ready(protocol) as station:
        name = station.station_id
        use = {"certificateType": "CSMSRootCertificate"}
        installed = await answered(
            operator, name, "InstallCertificate", {**use, "certificate": pem}
        )
        assert installed["status"] == "Accepted"
        listed = await answered(
            operator,
            name,
            "GetInstalledCertificateIds",
            {"certificateType": ["CSMSRootCertificate"]},
        )
        found = listed["certificateHashDataChain"][0]["certificateHashData"]
        deleted = await answered(
            operator, name, "DeleteCertificate", {"certificateHashData": found}
        )
        assert deleted["status"] == "Accepted"
