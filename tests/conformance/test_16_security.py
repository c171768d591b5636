"""OCPP 1.6 with the Security Whitepaper's extension: the cases of a CSMS.

TLS (TC_086, TC_087) is with the 2.x cases, which share their gateway: ``test_2x_a_security.py``.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from conformance.acting import answered, carried_out
from conformance.by_hand import socket_of
from gateway.certificates import Authority
from voltbus.simulator import RefusedError, make_station

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.acting import Ready
    from operating import Operator, Subscriber

pytestmark = pytest.mark.stack


async def test_tc_085_basic_authentication(operator: Operator) -> None:
    """A00.FR.204/205: the key's bytes, or its digits as text, let the station in; others not."""
    name, password = await operator.station()
    for secret in (password, bytes.fromhex(password)):
        station = make_station("1.6")
        await station.connect(operator.stack.ocpp(), name, secret)
        assert (await station.boot()).status == "Accepted"
        await station.close()
    with pytest.raises(RefusedError) as refused:
        await make_station("1.6").connect(operator.stack.ocpp(), name, secrets.token_hex(20))
    assert refused.value.status == 401


async def test_tc_088_subprotocol_negotiation(operator: Operator) -> None:
    """OCPP-J 1.6 3.1.2: ocpp1.6 is chosen where it is offered; without it there is no upgrade."""
    name, password = await operator.station()
    async with socket_of(operator, "1.6", name, password, offered=["ocpp1.2", "ocpp1.6"]) as raw:
        assert raw.socket.subprotocol == "ocpp1.6"
        assert (await raw.boot())[2]["status"] == "Accepted"
    with pytest.raises(InvalidStatus) as refused:
        async with socket_of(operator, "1.6", name, password, offered=["ocpp1.2"]):
            pass
    assert refused.value.response.status_code == 400


async def test_tc_073_a_new_password(operator: Operator, ready: Ready) -> None:
    """A01: AuthorizationKey travels as hex; accepted, the old one is refused from then on."""
    async with ready("1.6") as station:
        name = station.station_id
        path = f"/v1/stations/{name}/credentials"
        old = (await operator.done("PUT", "auth", path, json={"security_profile": 1}))["password"]
        body = {"security_profile": 1, "keep_previous": True}
        new = (await operator.done("PUT", "auth", path, json=body))["password"]
        payload = {"key": "AuthorizationKey", "value": new}
        answer = await answered(operator, name, "ChangeConfiguration", payload)
        assert answer["status"] == "Accepted"
        await operator.done("DELETE", "auth", f"{path}/previous")
        await station.reconnect()
        with pytest.raises(RefusedError) as refused:
            await make_station("1.6").connect(operator.stack.ocpp(), name, old)
        assert refused.value.status == 401


@pytest.mark.parametrize(
    "use",
    [
        pytest.param("ManufacturerRootCertificate", id="tc_075_1"),
        pytest.param("CentralSystemRootCertificate", id="tc_075_2"),
    ],
)
async def test_install_certificate(
    operator: Operator, ready: Ready, tmp_path: Path, use: str
) -> None:
    """M05: a root certificate is installed by order, and is then listed."""
    pem = Authority(tmp_path).file.read_text()
    async with ready("1.6") as station:
        name = station.station_id
        payload = {"certificateType": use, "certificate": pem}
        answer = await answered(operator, name, "InstallCertificate", payload)
        assert answer["status"] == "Accepted"
        listed = await answered(
            operator, name, "GetInstalledCertificateIds", {"certificateType": use}
        )
        assert len(listed["certificateHashData"]) == 1


async def test_tc_076_delete_a_certificate(
    operator: Operator, ready: Ready, tmp_path: Path
) -> None:
    """M04: an installed certificate is deleted by its hash; a second time it is NotFound."""
    pem = Authority(tmp_path).file.read_text()
    async with ready("1.6") as station:
        name, use = station.station_id, {"certificateType": "CentralSystemRootCertificate"}
        await answered(operator, name, "InstallCertificate", {**use, "certificate": pem})
        listed = await answered(operator, name, "GetInstalledCertificateIds", use)
        payload = {"certificateHashData": listed["certificateHashData"][0]}
        words = [
            (await answered(operator, name, "DeleteCertificate", payload))["status"]
            for _ in range(2)
        ]
        assert words == ["Accepted", "NotFound"]


async def test_tc_078_invalid_central_system_certificate(
    operator: Operator, ready: Ready, subscriber: Subscriber
) -> None:
    """A04: a certificate that the station rejects makes a security event, which is confirmed."""
    async with ready("1.6") as station:
        payload = {"certificateType": "CentralSystemRootCertificate", "certificate": "none"}
        answer = await answered(operator, station.station_id, "InstallCertificate", payload)
        assert answer["status"] == "Rejected"
        event = {"type": "InvalidCentralSystemCertificate", "timestamp": station.now()}
        assert await station.call("SecurityEventNotification", event) == {}
        (told,) = await subscriber.wait_for("station.security-event", station_id=station.station_id)
        assert told.type == "InvalidCentralSystemCertificate"


async def test_tc_079_security_log(
    operator: Operator, ready: Ready, subscriber: Subscriber
) -> None:
    """A04: the security log is asked for by GetLog; the upload's steps carry its request id."""
    async with ready("1.6") as station:
        wanted = {"location": "https://files.example/log", "kind": "security"}
        found = await carried_out(operator, station.station_id, "get_log", wanted)
        assert found["answer_status"] == "Accepted"
        sent = await station.wait_for("GetLog")
        assert sent["logType"] == "SecurityLog"
        steps = await subscriber.wait_for(
            "station.log-status", count=2, station_id=station.station_id
        )
        assert {one.request_id for one in steps} == {sent["requestId"]}


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            ["Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed"],
            id="tc_080",
        ),
        pytest.param(["Downloading", "Downloaded", "InvalidSignature"], id="tc_081"),
    ],
)
async def test_signed_update_firmware(
    ready: Ready, subscriber: Subscriber, steps: list[str]
) -> None:
    """L01: a signed update is ordered, and every step of it, also the last bad one, is told."""
    async with ready("1.6") as station:
        station.answers["SignedUpdateFirmware"] = lambda _: {"status": "Accepted"}
        wanted: dict[str, Any] = {
            "location": "https://files.example/fw",
            "retrieve_at": "2026-01-01T00:00:00Z",
            "signature": "c2lnbmF0dXJl",
            "signing_certificate": "a certificate",
        }
        found = await carried_out(ready.operator, station.station_id, "update_firmware", wanted)
        assert found["answer_status"] == "Accepted"
        number = (await station.wait_for("SignedUpdateFirmware"))["requestId"]
        for step in steps:
            payload = {"status": step, "requestId": number}
            assert await station.call("SignedFirmwareStatusNotification", payload) == {}
        told = await subscriber.wait_for(
            "station.firmware-status", count=len(steps), station_id=station.station_id
        )
        assert [one.status for one in told] == steps


async def test_tc_083_upgrade_of_the_security_profile(operator: Operator, ready: Ready) -> None:
    """A05.FR.07: the profile is raised by its key; from then on a lower one is refused."""
    async with ready("1.6") as station:
        name = station.station_id
        payload = {"key": "SecurityProfile", "value": "2"}
        answer = await answered(operator, name, "ChangeConfiguration", payload)
        assert answer["status"] in {"Accepted", "RebootRequired"}
        path = f"/v1/stations/{name}/credentials"
        password = "a password of some length"
        body = {"security_profile": 2, "password": password}
        await operator.done("PUT", "auth", path, json=body)
        with pytest.raises(RefusedError) as refused:
            await make_station("1.6").connect(operator.stack.ocpp(), name, password)
        assert refused.value.status == 401


async def test_extended_trigger_of_a_signing_request(operator: Operator, ready: Ready) -> None:
    """A02: ExtendedTriggerMessage asks for a CSR, and what comes is answered."""
    async with ready("1.6") as station:
        found = await carried_out(
            operator, station.station_id, "trigger", {"message": "sign_certificate"}
        )
        assert found["answer_status"] == "Accepted"
        sent = await station.wait_for("ExtendedTriggerMessage")
        assert sent["requestedMessage"] == "SignChargePointCertificate"
        await station.wait_until(lambda: station.sent[-1].action == "SignCertificate")
        assert await station.sign_certificate() in {"Accepted", "Rejected"}
