"""Certificates, monitors and display messages of a simulated station."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.ocsp import OCSPRequestBuilder

from sim_central import Central, Session
from voltbus.simulator import Protocol, Station, Station2, make_station
from voltbus.simulator.certificates import hash_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A root")])
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(
    public_key: Any = None, name: x509.Name = NAME, serial: int = 0xABC
) -> x509.Certificate:
    """Return a certificate signed by our root key."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(NAME)
        .public_key(public_key or KEY.public_key())
        .serial_number(serial)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )


def pem(one: x509.Certificate) -> str:
    """Return a certificate as text."""
    return one.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(params=["1.6", "2.0.1", "2.1"])
async def joined(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Station, Session, Central]]:
    """A connected station of each version."""
    protocol: Protocol = request.param
    async with Central({"CP-1": None}) as central, make_station(protocol) as station:
        await station.connect(central.url, "CP-1")
        yield station, await central.session(), central


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_hash_data_is_what_ocsp_uses(algorithm: str) -> None:
    """Name hash, key hash and serial are the CertID of an OCSP request (RFC 6960 4.1.1)."""
    root = certificate()
    kind = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}
    asked = OCSPRequestBuilder().add_certificate(root, root, kind[algorithm]).build()
    found = hash_data(root, root, algorithm)
    assert found["issuerNameHash"] == asked.issuer_name_hash.hex()
    assert found["issuerKeyHash"] == asked.issuer_key_hash.hex()
    assert int(found["serialNumber"], 16) == asked.serial_number


async def test_install_list_delete(joined: tuple[Station, Session, Central]) -> None:
    """A root is installed, listed by its hash data, and deleted by it (M03-M05)."""
    station, session, _ = joined
    use = "ManufacturerRootCertificate"
    listing = {"certificateType": use if station.protocol == "1.6" else [use]}
    assert await session.ask("GetInstalledCertificateIds", listing) == {"status": "NotFound"}
    put = {"certificateType": use, "certificate": pem(certificate())}
    assert await session.ask("InstallCertificate", put) == {"status": "Accepted"}
    assert await session.ask("InstallCertificate", put | {"certificate": "no PEM"}) == {
        "status": "Rejected"
    }
    answer = await session.ask("GetInstalledCertificateIds", listing)
    assert isinstance(answer, dict)
    if station.protocol == "1.6":
        (data,) = answer["certificateHashData"]
    else:
        (row,) = answer["certificateHashDataChain"]
        assert row["certificateType"] == use
        data = row["certificateHashData"]
    gone = {"certificateHashData": data | {"serialNumber": "0ABC"}}
    assert await session.ask("DeleteCertificate", gone) == {"status": "Accepted"}
    assert await session.ask("DeleteCertificate", gone) == {"status": "NotFound"}


async def test_a_triggered_signing(joined: tuple[Station, Session, Central]) -> None:
    """The trigger leads to a CSR; only a certificate for that very key is taken (A02)."""
    station, session, central = joined
    if station.protocol == "1.6":
        trigger = ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})
    else:
        trigger = ("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"})
    assert await session.ask(*trigger) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("SignCertificate"))
    request = x509.load_pem_x509_csr(central.asked("SignCertificate")[0]["csr"].encode())
    assert request.is_signature_valid
    wrong = {"certificateChain": pem(certificate())}
    assert await session.ask("CertificateSigned", wrong) == {"status": "Rejected"}
    leaf = certificate(request.public_key(), request.subject, 7)
    chain = {"certificateChain": pem(leaf) + pem(certificate())}
    assert await session.ask("CertificateSigned", chain) == {"status": "Accepted"}
    assert station.certificates.chain[0] == leaf


@pytest.fixture
async def new() -> AsyncIterator[tuple[Station2, Session, Central]]:
    """A connected 2.0.1 station."""
    async with Central({"CP-1": None}) as central, Station2() as station:
        await station.connect(central.url, "CP-1")
        yield station, await central.session(), central


async def test_a_delta_monitor_tells_a_foreign_change(
    new: tuple[Station2, Session, Central],
) -> None:
    """A change made at the station itself reaches the central system by NotifyEvent (N07)."""
    station, session, central = new
    place = {"component": {"name": "TxCtrlr"}, "variable": {"name": "EVConnectionTimeOut"}}
    watch = {**place, "value": 1, "type": "Delta", "severity": 5}
    unknown = {**watch, "component": {"name": "Toaster"}}
    answer = await session.ask("SetVariableMonitoring", {"setMonitoringData": [watch, unknown]})
    assert isinstance(answer, dict)
    first, second = answer["setMonitoringResult"]
    assert (first["status"], second["status"]) == ("Accepted", "UnknownComponent")
    await station.change_variable("TxCtrlr", "EVConnectionTimeOut", "90")
    (event,) = central.asked("NotifyEvent")[0]["eventData"]
    assert (event["actualValue"], event["variableMonitoringId"]) == ("90", first["id"])
    assert await session.ask("GetMonitoringReport", {"requestId": 1}) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("NotifyMonitoringReport"))
    assert await session.ask("SetMonitoringLevel", {"severity": 3}) == {"status": "Accepted"}
    await station.change_variable("TxCtrlr", "EVConnectionTimeOut", "30")
    assert len(central.asked("NotifyEvent")) == 1
    cleared = await session.ask("ClearVariableMonitoring", {"id": [first["id"], 99]})
    assert cleared == {
        "clearMonitoringResult": [
            {"id": first["id"], "status": "Accepted"},
            {"id": 99, "status": "NotFound"},
        ]
    }
    assert await session.ask("GetMonitoringReport", {"requestId": 2}) == {
        "status": "EmptyResultSet"
    }


async def test_display_messages(new: tuple[Station2, Session, Central]) -> None:
    """Messages are kept, listed by filter, and cleared (O01-O05)."""
    station, session, central = new
    message = {"id": 1, "priority": "InFront", "message": {"format": "UTF8", "content": "Hej"}}
    assert await session.ask("SetDisplayMessage", {"message": message}) == {"status": "Accepted"}
    web = message | {"message": {"format": "HTML", "content": "<p>"}}
    assert await session.ask("SetDisplayMessage", {"message": web}) == {
        "status": "NotSupportedMessageFormat"
    }
    assert await session.ask("GetDisplayMessages", {"requestId": 1, "id": [2]}) == {
        "status": "Unknown"
    }
    assert await session.ask("GetDisplayMessages", {"requestId": 2}) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("NotifyDisplayMessages"))
    assert central.asked("NotifyDisplayMessages")[0]["messageInfo"] == [message]
    assert await session.ask("ClearDisplayMessage", {"id": 1}) == {"status": "Accepted"}
    assert await session.ask("ClearDisplayMessage", {"id": 1}) == {"status": "Unknown"}
