"""What a simulated station does with the calls of a central system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sim_central import Central, Session
from voltbus.simulator import Options, Station2, Station16

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """A central system that knows CP-1."""
    async with Central({"CP-1": None}) as running:
        yield running


@pytest.fixture
async def old(central: Central) -> AsyncIterator[tuple[Station16, Session]]:
    """A connected 1.6 station and the central system's side of its socket."""
    async with Station16() as station:
        await station.connect(central.url, "CP-1")
        yield station, await central.session()


@pytest.fixture(params=["2.0.1", "2.1"])
async def new(
    central: Central, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Station2, Session]]:
    """A connected 2.x station and the central system's side of its socket."""
    async with Station2(request.param) as station:
        await station.connect(central.url, "CP-1")
        yield station, await central.session()


def limit_16(watts: float, purpose: str = "ChargePointMaxProfile") -> dict[str, Any]:
    """Return a 1.6 profile that limits to so many watts."""
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": watts}],
        },
    }


def limit_2(watts: float, purpose: str = "ChargingStationMaxProfile") -> dict[str, Any]:
    """Return a 2.x profile that limits to so many watts."""
    return {
        "id": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [
            {
                "id": 1,
                "chargingRateUnit": "W",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": watts}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("HeartbeatInterval", "30", "Accepted"),
        ("HeartbeatInterval", "often", "Rejected"),
        ("NumberOfConnectors", "9", "Rejected"),
        ("NoSuchKey", "1", "NotSupported"),
        ("SecurityProfile", "2", "RebootRequired"),
        ("AuthorizeRemoteTxRequests", "maybe", "Rejected"),
    ],
)
async def test_change_configuration(
    old: tuple[Station16, Session], key: str, value: str, status: str
) -> None:
    """Each status of ChangeConfiguration is met by the key that deserves it (1.6 §5.3)."""
    station, session = old
    before = station.settings["keys"].get(key)
    assert await session.ask("ChangeConfiguration", {"key": key, "value": value}) == {
        "status": status
    }
    kept = status in {"Accepted", "RebootRequired"}
    assert station.settings["keys"].get(key) == (value if kept else before)
    assert (await station.wait_for("ChangeConfiguration"))["key"] == key


async def test_get_configuration(old: tuple[Station16, Session]) -> None:
    """Known keys come with value and readonly, unknown ones are listed, a password is hidden."""
    _, session = old
    answer = await session.ask(
        "GetConfiguration", {"key": ["NumberOfConnectors", "Colour", "AuthorizationKey"]}
    )
    assert answer == {
        "configurationKey": [
            {"key": "NumberOfConnectors", "readonly": True, "value": "2"},
            {"key": "AuthorizationKey", "readonly": False},
        ],
        "unknownKey": ["Colour"],
    }
    everything = await session.ask("GetConfiguration", {})
    assert isinstance(everything, dict)
    assert len(everything["configurationKey"]) > 30


async def test_a_new_authorization_key_is_used_at_the_next_login(
    central: Central, old: tuple[Station16, Session]
) -> None:
    """ChangeConfiguration(AuthorizationKey) carries hex; the login its bytes (A5, A7)."""
    station, session = old
    key = "00112233445566778899aabbccddeeff"
    assert await session.ask("ChangeConfiguration", {"key": "AuthorizationKey", "value": key}) == {
        "status": "Accepted"
    }
    central.passwords["CP-1"] = bytes.fromhex(key)
    await station.reconnect()
    assert await station.heartbeat()
    assert key not in str(station.settings)


async def test_a_16_charging_profile_is_kept_and_read_back(
    old: tuple[Station16, Session],
) -> None:
    """SetChargingProfile, GetCompositeSchedule and ClearChargingProfile agree (1.6 §5.16)."""
    station, session = old
    put = {"connectorId": 0, "csChargingProfiles": limit_16(11000)}
    assert await session.ask("SetChargingProfile", put) == {"status": "Accepted"}
    assert station.settings["charging_profiles"] == [limit_16(11000)]
    answer = await session.ask("GetCompositeSchedule", {"connectorId": 1, "duration": 3600})
    assert isinstance(answer, dict)
    schedule = answer["chargingSchedule"]
    assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 11000.0}]
    assert await session.ask("ClearChargingProfile", {"id": 1}) == {"status": "Accepted"}
    assert await session.ask("ClearChargingProfile", {"id": 1}) == {"status": "Unknown"}
    assert not station.settings["charging_profiles"]


@pytest.mark.parametrize(
    ("connector", "purpose"), [(1, "ChargePointMaxProfile"), (1, "TxProfile"), (9, "TxProfile")]
)
async def test_a_profile_in_the_wrong_place_is_rejected(
    old: tuple[Station16, Session], connector: int, purpose: str
) -> None:
    """The station's maximum lives on connector 0, a TxProfile needs a transaction (1.6 §3.13)."""
    _, session = old
    put = {"connectorId": connector, "csChargingProfiles": limit_16(1, purpose)}
    assert await session.ask("SetChargingProfile", put) == {"status": "Rejected"}


async def test_availability_waits_for_the_transaction(
    central: Central, old: tuple[Station16, Session]
) -> None:
    """Inoperative is Scheduled while a car charges and notified when it has stopped (1.6 §5.2)."""
    station, session = old
    transaction = await station.start("04A2B3C4")
    ask = {"connectorId": 1, "type": "Inoperative"}
    assert await session.ask("ChangeAvailability", ask) == {"status": "Scheduled"}
    await station.finish(transaction, 10, "Local")
    assert station.settings["availability"][1] is False
    assert central.asked("StatusNotification")[-1]["status"] == "Unavailable"
    assert await session.ask("ChangeAvailability", {"connectorId": 0, "type": "Operative"}) == {
        "status": "Accepted"
    }
    await station.wait_until(lambda: station.connectors[1] == "Available")


async def test_an_order_that_changes_nothing_is_silent(
    central: Central, old: tuple[Station16, Session]
) -> None:
    """Operative for a connector that is preparing leaves its state alone."""
    station, session = old
    await station.status(1, "Preparing")
    ask = {"connectorId": 0, "type": "Operative"}
    assert await session.ask("ChangeAvailability", ask) == {"status": "Accepted"}
    await station.heartbeat()
    assert [one["status"] for one in central.asked("StatusNotification")] == ["Preparing"]


async def test_a_remote_start_and_stop(central: Central, old: tuple[Station16, Session]) -> None:
    """RemoteStartTransaction is answered, then carried out; so is RemoteStopTransaction."""
    station, session = old
    ask = {"idTag": "04A2B3C4", "connectorId": 2}
    assert await session.ask("RemoteStartTransaction", ask) == {"status": "Accepted"}
    await station.wait_until(lambda: station.connectors[2] == "Charging")
    assert central.asked("StartTransaction")[0]["idTag"] == "04A2B3C4"
    assert await session.ask("RemoteStartTransaction", ask) == {"status": "Rejected"}
    stop = {"transactionId": 7}
    assert await session.ask("RemoteStopTransaction", stop) == {"status": "Accepted"}
    await station.wait_until(lambda: station.connectors[2] == "Available")
    assert central.asked("StopTransaction")[0]["reason"] == "Remote"
    assert await session.ask("RemoteStopTransaction", stop) == {"status": "Rejected"}


async def test_a_reset_comes_back_by_itself(
    central: Central, old: tuple[Station16, Session]
) -> None:
    """After a reset the station stops its transaction, reconnects, boots and notifies."""
    station, session = old
    await station.start("04A2B3C4")
    assert await session.ask("Reset", {"type": "Hard"}) == {"status": "Accepted"}
    await central.session()
    await station.wait_until(lambda: len(central.asked("StatusNotification")) == 2)
    names = [name for name, _ in central.calls]
    assert names[1:3] == ["StopTransaction", "BootNotification"]
    assert central.asked("StopTransaction")[0]["reason"] == "HardReset"


@pytest.mark.parametrize(
    "wanted", ["BootNotification", "Heartbeat", "StatusNotification", "FirmwareStatusNotification"]
)
async def test_a_16_station_sends_what_is_triggered(
    central: Central, old: tuple[Station16, Session], wanted: str
) -> None:
    """TriggerMessage is answered first, then the message follows (1.6 §5.17)."""
    station, session = old
    ask = {"requestedMessage": wanted}
    assert await session.ask("TriggerMessage", ask) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked(wanted))


async def test_16_lists_logs_and_firmware(central: Central, old: tuple[Station16, Session]) -> None:
    """The rest of the 1.6 actions answer as a station does, and their notifications follow."""
    station, session = old
    entry = {"idTag": "04A2B3C4", "idTagInfo": {"status": "Accepted"}}
    full = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": [entry]}
    assert await session.ask("SendLocalList", full) == {"status": "Accepted"}
    stale = {"listVersion": 3, "updateType": "Differential", "localAuthorizationList": []}
    assert await session.ask("SendLocalList", stale) == {"status": "VersionMismatch"}
    assert await session.ask("GetLocalListVersion", {}) == {"listVersion": 3}
    assert await session.ask("ClearCache", {}) == {"status": "Accepted"}
    assert await session.ask("UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert await session.ask("UnlockConnector", {"connectorId": 8}) == {"status": "NotSupported"}
    assert await session.ask("DataTransfer", {"vendorId": "x"}) == {"status": "UnknownVendorId"}
    assert await session.ask("GetDiagnostics", {"location": "ftp://x/"})
    firmware = {"location": "ftp://x/", "retrieveDate": "2026-01-01T00:00:00Z"}
    assert await session.ask("UpdateFirmware", firmware) == {}
    await station.wait_until(
        lambda: (
            [one["status"] for one in central.asked("FirmwareStatusNotification")][-1:]
            == ["Installed"]
        )
    )
    await station.wait_until(  # the two go on beside each other
        lambda: (
            [one["status"] for one in central.asked("DiagnosticsStatusNotification")][-1:]
            == ["Uploaded"]
        )
    )
    signed = {"location": "x", "retrieveDateTime": "2026-01-01T00:00:00Z"}
    signed |= {"signingCertificate": "x", "signature": "x"}
    update = {"requestId": 1, "firmware": signed}
    assert await session.ask("SignedUpdateFirmware", update) == "NotImplemented"


async def test_set_variables_statuses(new: tuple[Station2, Session]) -> None:
    """Each item of SetVariables gets the status it deserves (B05)."""
    station, session = new
    wanted = [
        ("OCPPCommCtrlr", "HeartbeatInterval", "30", "Accepted"),
        ("ocppcommctrlr", "OFFLINETHRESHOLD", "90", "Accepted"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "often", "Rejected"),
        ("SecurityCtrlr", "SecurityProfile", "3", "Rejected"),
        ("Toaster", "Heat", "1", "UnknownComponent"),
        ("OCPPCommCtrlr", "Heat", "1", "UnknownVariable"),
        ("OCPPCommCtrlr", "NetworkConfigurationPriority", "2", "RebootRequired"),
    ]
    items = [
        {"component": {"name": component}, "variable": {"name": name}, "attributeValue": value}
        for component, name, value, _ in wanted
    ]
    answer = await session.ask("SetVariables", {"setVariableData": items})
    assert isinstance(answer, dict)
    statuses = [one["attributeStatus"] for one in answer["setVariableResult"]]
    assert statuses == [status for *_, status in wanted]
    assert station.settings["keys"]["OCPPCommCtrlr.HeartbeatInterval"] == "30"
    assert station.settings["keys"]["OCPPCommCtrlr.OfflineThreshold"] == "90"
    too_many = {"setVariableData": items * 5}
    assert await session.ask("SetVariables", too_many) == "OccurrenceConstraintViolation"


async def test_a_write_only_variable_cannot_be_read(
    central: Central, new: tuple[Station2, Session]
) -> None:
    """BasicAuthPassword is taken for the next login and never read back (A7, B06.FR.09)."""
    station, session = new
    place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    password = "a-new-password-of-forty-characters-or-so"
    answer = await session.ask(
        "SetVariables", {"setVariableData": [{**place, "attributeValue": password}]}
    )
    assert isinstance(answer, dict)
    assert answer["setVariableResult"][0]["attributeStatus"] == "Accepted"
    read = await session.ask("GetVariables", {"getVariableData": [place]})
    assert isinstance(read, dict)
    assert read["getVariableResult"][0]["attributeStatus"] == "Rejected"
    central.passwords["CP-1"] = password.encode()
    await station.reconnect()
    assert await station.heartbeat()


async def test_get_variables(new: tuple[Station2, Session]) -> None:
    """A known variable comes with its value (B06)."""
    _, session = new
    ask = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
    answer = await session.ask("GetVariables", {"getVariableData": [ask]})
    assert isinstance(answer, dict)
    assert answer["getVariableResult"][0]["attributeValue"] == "22000"


async def test_a_full_inventory_comes_in_parts(
    central: Central, new: tuple[Station2, Session]
) -> None:
    """GetBaseReport is followed by NotifyReport parts from seqNo 0, tbc but for the last (B07)."""
    station, session = new
    ask = {"requestId": 5, "reportBase": "FullInventory"}
    assert await session.ask("GetBaseReport", ask) == {"status": "Accepted"}
    await station.wait_until(lambda: any(not part["tbc"] for part in central.asked("NotifyReport")))
    parts = central.asked("NotifyReport")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert {part["requestId"] for part in parts} == {5}
    assert sum(len(part["reportData"]) for part in parts) == len(station.device.variables)


async def test_2x_profiles_availability_and_lists(
    central: Central, new: tuple[Station2, Session]
) -> None:
    """Profiles, availability and the local list behave as in 1.6, by 2.x's names (K, G03, D)."""
    station, session = new
    put = {"evseId": 0, "chargingProfile": limit_2(7400)}
    assert await session.ask("SetChargingProfile", put) == {"status": "Accepted"}
    schedule = await session.ask("GetCompositeSchedule", {"evseId": 1, "duration": 60})
    assert isinstance(schedule, dict)
    assert schedule["schedule"]["chargingSchedulePeriod"][0]["limit"] == 7400
    ask = {"requestId": 2, "chargingProfile": {"chargingProfileId": [1]}}
    assert await session.ask("GetChargingProfiles", ask) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("ReportChargingProfiles"))
    off = {"operationalStatus": "Inoperative", "evse": {"id": 2}}
    assert await session.ask("ChangeAvailability", off) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("StatusNotification"))
    assert central.asked("StatusNotification")[0]["connectorStatus"] == "Unavailable"
    entry = {
        "idToken": {"idToken": "04A2B3C4", "type": "ISO14443"},
        "idTokenInfo": {"status": "Accepted"},
    }
    full = {"versionNumber": 4, "updateType": "Full", "localAuthorizationList": [entry]}
    assert await session.ask("SendLocalList", full) == {"status": "Accepted"}
    assert station.settings["local_list_version"] == 4
    assert list(station.local_list.entries) == ["ISO14443:04a2b3c4"]


async def test_a_2x_remote_start_and_stop(central: Central, new: tuple[Station2, Session]) -> None:
    """RequestStartTransaction leads to Started with its remoteStartId (F02), then to Ended."""
    station, session = new
    ask = {"remoteStartId": 9, "idToken": {"idToken": "04A2B3C4", "type": "ISO14443"}, "evseId": 1}
    assert await session.ask("RequestStartTransaction", ask) == {"status": "Accepted"}
    await station.wait_until(lambda: station.connectors[1] == "Charging")
    started = central.asked("TransactionEvent")[0]
    assert started["triggerReason"] == "RemoteStart"
    assert started["transactionInfo"]["remoteStartId"] == 9
    named = {"transactionId": station.transactions[1].id}
    status = await session.ask("GetTransactionStatus", named)
    assert status == {"messagesInQueue": False, "ongoingIndicator": True}
    assert await session.ask("Reset", {"type": "OnIdle"}) == {"status": "Scheduled"}
    assert await session.ask("RequestStopTransaction", named) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("BootNotification"))
    assert central.asked("TransactionEvent")[-1]["triggerReason"] == "RemoteStop"


async def test_the_rest_of_2x(central: Central, new: tuple[Station2, Session]) -> None:
    """Network profile, trigger, firmware, log and customer information answer and follow up."""
    station, session = new
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://example.org",
        "messageTimeout": 30,
        "securityProfile": 2,
        "ocppInterface": "Wired0",
    }
    put = {"configurationSlot": 2, "connectionData": connection}
    assert await session.ask("SetNetworkProfile", put) == {"status": "Accepted"}
    assert station.settings["network_profiles"] == {2: connection}
    trigger = {"requestedMessage": "BootNotification"}
    assert await session.ask("TriggerMessage", trigger) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("BootNotification"))
    assert central.asked("BootNotification")[0]["reason"] == "Triggered"
    firmware = {"location": "https://x/", "retrieveDateTime": "2026-01-01T00:00:00Z"}
    ask = {"requestId": 1, "firmware": firmware}
    assert await session.ask("UpdateFirmware", ask) == {"status": "Accepted"}
    log = {"logType": "SecurityLog", "requestId": 2, "log": {"remoteLocation": "https://x/"}}
    assert await session.ask("GetLog", log)
    who = {"requestId": 3, "report": True, "clear": False, "customerIdentifier": "x"}
    assert await session.ask("CustomerInformation", who) == {"status": "Accepted"}
    await station.wait_until(lambda: central.asked("NotifyCustomerInformation"))
    await station.wait_until(lambda: len(central.asked("FirmwareStatusNotification")) == 4)
    await station.wait_until(lambda: len(central.asked("LogStatusNotification")) == 2)
    assert central.asked("LogStatusNotification")[-1] == {"status": "Uploaded", "requestId": 2}
    publish = {"location": "https://x/", "checksum": "0" * 32, "requestId": 1}
    assert await session.ask("PublishFirmware", publish) == "NotImplemented"


async def test_a_station_may_only_answer(central: Central) -> None:
    """With carry_out off a station accepts and does nothing, as some real ones do."""
    async with Station16(Options(carry_out=False)) as station:
        await station.connect(central.url, "CP-1")
        session = await central.session()
        assert await session.ask("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {
            "status": "Accepted"
        }
        await session.ask("ClearCache", {})
        assert not central.asked("Heartbeat")
