"""Whether auth knows of a certificate with which a station can use security profile 3 (pure)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from auth.auth_examples import NOW, STATION
from voltbus_auth.station_certificates.domain.application import Application, State, opens_door
from voltbus_backbone.contract.values import Protocol

TAKEN = Application(
    id="a-1",
    station_id=STATION,
    protocol=Protocol.OCPP201,
    type="ChargingStationCertificate",
    key_sha256="0" * 64,
    state=State.ACCEPTED,
    asked_at=NOW,
    changed_at=NOW,
    forget_at=NOW + timedelta(days=30),
    round=1,
    revision=1,
    not_after=NOW + timedelta(days=1),
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"state": State.IN_USE}, True),
        ({"state": State.ISSUED}, False),
        ({"state": State.REJECTED}, False),
        ({"state": State.REPLACED}, False),
        ({"not_after": NOW}, False),
        ({"type": "V2GCertificate"}, False),
    ],
)
def test_only_a_certificate_that_it_took_and_that_holds(
    changes: dict[str, object],
    expected: bool,  # noqa: FBT001 - a table
) -> None:
    """Accepted or in use, still valid, and of the station itself (A02, A00.FR.403)."""
    assert opens_door(msgspec.structs.replace(TAKEN, **changes), NOW) is expected
