"""What real stations send of their transactions, boots and statuses that fits no schema: ADR 0012.

Each case is one odd field in an otherwise sound message. The fact reaches Kafka, with a note.
"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.repairs.leniently import NOW, refuse_call, translate_call
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.wire.times import parse_time

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21
AT = "2026-03-01T11:00:00Z"
STOP: dict[str, Any] = {"transactionId": 42, "meterStop": 26008, "timestamp": AT}
START: dict[str, Any] = {"connectorId": 1, "idTag": "TAG", "meterStart": 7, "timestamp": AT}
STATUS: dict[str, Any] = {"connectorId": 1, "errorCode": "GroundFailure", "status": "Faulted"}
BOOT: dict[str, Any] = {"chargePointVendor": "Acme", "chargePointModel": "One"}
ENDED: dict[str, Any] = {
    "eventType": "Ended",
    "timestamp": AT,
    "triggerReason": "EVDeparted",
    "seqNo": 3,
    "transactionInfo": {"transactionId": "tx-1"},
}
STATUS_2: dict[str, Any] = {
    "timestamp": AT,
    "connectorStatus": "Faulted",
    "evseId": 1,
    "connectorId": 1,
}
BOOT_2: dict[str, Any] = {
    "reason": "PowerUp",
    "chargingStation": {"vendorName": "Acme", "model": "One"},
}
CARD = "04A2B3C4D5E6F70123456"  # 21 characters
PAN = "5413330089010483"


def make_sampled(**sample: Any) -> list[dict[str, Any]]:
    """Transaction data with one sample."""
    return [{"timestamp": AT, "sampledValue": [{"value": "26008", **sample}]}]


class TestStops:
    """1.6 §4.10: a stop is confirmed whatever else it says, and 2.x Ended likewise."""

    @pytest.mark.parametrize(
        ("odd", "note"),
        [
            ({"meterStop": 26008.0}, "meterStop: read as integer"),
            ({"meterStop": 26008.3}, "meterStop: rounded"),
            ({"meterStop": "26008"}, "meterStop: read as integer"),
            ({"meterStop": "26008.3"}, "meterStop: rounded"),
            ({"reason": ""}, "reason: empty, left out"),
            ({"reason": None}, "reason: null, left out"),
            ({"reason": "local"}, "reason: another spelling of a known word"),
            ({"reason": "Local "}, "reason: another spelling of a known word"),
            ({"idTag": None}, "idTag: null, left out"),
            ({"idTag": CARD}, "idTag: longer than 20 characters, kept whole"),
            ({"transactionData": None}, "transactionData: null, left out"),
            ({"transactionData": {}}, "transactionData: a single object, read as a list"),
            (
                {"transactionData": make_sampled(unit="Hertz", measurand="Frequency")},
                "transactionData.sampledValue.unit: a word that this version does not have, kept",
            ),
            (
                {"transactionData": make_sampled(value=1500)},
                "transactionData.sampledValue.value: a number, read as text",
            ),
            ({"vendorTrace": PAN}, "payload: unknown property vendorTrace left out"),
            ({PAN: 1}, "payload: unknown property (unreadable) left out"),
            ({"transactionId": "42"}, "transactionId: read as integer"),
        ],
    )
    def test_one_odd_field_loses_no_stop(self, odd: dict[str, Any], note: str) -> None:
        """The transaction ends with its energy at its time; the note names place and repair."""
        message = translate_call(V16, "StopTransaction", STOP | odd)
        assert (message.transaction_id, message.meter_wh) == ("42", 26008)
        assert message.at == parse_time(AT)
        assert note in message.repairs
        assert PAN not in str(message.repairs)
        assert CARD not in str(message.repairs)

    def test_a_reason_in_free_text_is_other(self) -> None:
        """It is not Local, as no reason would be (1.6 §6.49): the version's word is Other."""
        message = translate_call(V16, "StopTransaction", STOP | {"reason": "the driver left"})
        assert message.stopped_reason == "Other"
        message = translate_call(V16, "StopTransaction", STOP | {"reason": None})
        assert message.stopped_reason == "Local"

    def test_a_tag_is_never_cut(self) -> None:
        """What is cut to 20 characters is somebody else's tag; one without end is none."""
        assert translate_call(V16, "StopTransaction", STOP | {"idTag": CARD}).id_token.value == CARD
        assert translate_call(V16, "StopTransaction", STOP | {"idTag": "A" * 256}).id_token is None

    @pytest.mark.parametrize("meter", [None, "much", [], 1e300])
    def test_a_stop_without_a_register_is_a_stop(self, meter: Any) -> None:
        """It says when the session ended: better than a session that never does."""
        message = translate_call(V16, "StopTransaction", STOP | {"meterStop": meter})
        assert (message.transaction_id, message.meter_wh) == ("42", None)

    @pytest.mark.parametrize("time", [None, "yesterday", "", 1772362800])
    def test_an_unreadable_time_is_the_time_of_arrival(self, time: Any) -> None:
        """With a note beside it, for whoever bills."""
        message = translate_call(V16, "StopTransaction", STOP | {"timestamp": time})
        assert message.at == NOW
        (note,) = message.repairs
        assert note.startswith("timestamp: ")
        assert note.endswith("the time of arrival taken")

    def test_only_a_stop_that_names_no_transaction_is_refused(self) -> None:
        """Nobody could say which session ended; the station hears which field it is."""
        odd: Any
        for odd in (None, "", "abc", 4.5, [], True):
            assert refuse_call(V16, "StopTransaction", STOP | {"transactionId": odd}) is not None
        assert (
            refuse_call(V16, "StopTransaction", {"meterStop": 1}) == "OccurenceConstraintViolation"
        )

    @pytest.mark.parametrize("protocol", [V201, V21])
    @pytest.mark.parametrize(
        "odd",
        [
            {"triggerReason": None},
            {"triggerReason": "VendorReason"},
            {"meterValue": []},
            {"meterValue": None},
            {"seqNo": "3"},
            {"eventType": "ended"},
            {"evse": {"connectorId": 1}},
            {"idToken": None},
            {"idToken": {"idToken": "", "type": None}},
            {"offline": "false"},
            {"numberOfPhasesUsed": "all"},
            {"cableMaxCurrent": "32"},
            {"reservationId": 1e30},
            {"customData": {"a": 1}},
            {"vendorStuff": {}},
        ],
    )
    def test_one_odd_field_loses_no_end(self, protocol: Protocol, odd: dict[str, Any]) -> None:
        """2.x: an event that ends a transaction is recorded as such, with its place in the row."""
        message = translate_call(protocol, "TransactionEvent", ENDED | odd)
        assert (message.transaction_id, message.phase, message.seq_no) == ("tx-1", "ended", 3)
        assert message.at == parse_time(AT)
        assert message.repairs

    def test_an_ended_without_a_trigger_reason(self) -> None:
        """The property is missing altogether: nothing is made up for it."""
        sent = {name: value for name, value in ENDED.items() if name != "triggerReason"}
        message = translate_call(V201, "TransactionEvent", sent)
        assert message.trigger is None
        assert message.repairs == ("triggerReason: missing",)

    def test_a_vendors_stopped_reason(self) -> None:
        """Other is 2.x's word for it."""
        info = {"transactionId": "tx-1", "stoppedReason": "VendorReason"}
        message = translate_call(V201, "TransactionEvent", ENDED | {"transactionInfo": info})
        assert message.stopped_reason == "Other"


class TestStarts:
    """A start that is refused is a session that nobody pays."""

    @pytest.mark.parametrize(
        "odd",
        [
            {"meterStart": 7.4},
            {"meterStart": "7"},
            {"connectorId": "1"},
            {"reservationId": None},
            {"reservationId": "none"},
            {"vendorStuff": 1},
        ],
    )
    def test_one_odd_field_loses_no_start(self, odd: dict[str, Any]) -> None:
        """Connector, tag and register are as the station meant them."""
        message = translate_call(V16, "StartTransaction", START | odd)
        assert (message.connector_id, message.id_token.value, message.meter_wh) == (1, "TAG", 7)

    def test_a_long_tag_starts_as_what_it_is(self) -> None:
        """1.6 allows 20 characters: auth decides on the whole tag, which it may not know."""
        assert (
            translate_call(V16, "StartTransaction", START | {"idTag": CARD}).id_token.value == CARD
        )

    @pytest.mark.parametrize("odd", [{"idTag": None}, {"idTag": "A" * 256}, {"connectorId": 1.5}])
    def test_a_start_for_nobody_or_nowhere_is_refused(self, odd: dict[str, Any]) -> None:
        """1.6 §4.8: a start is of a tag at a connector."""
        assert refuse_call(V16, "StartTransaction", START | odd) is not None

    def test_a_kind_of_token_that_the_version_does_not_have(self) -> None:
        """It is kept, so that auth finds the token unknown; a missing kind is as in 1.6."""
        event = ENDED | {"eventType": "Started", "idToken": {"idToken": "AA", "type": "RFID"}}
        assert translate_call(V201, "TransactionEvent", event).id_token.type == "RFID"
        event["idToken"] = {"idToken": "AA"}
        assert translate_call(V201, "TransactionEvent", event).id_token.type == ""


class TestSamples:
    """A sample whose meaning is not understood must not be billed as another."""

    @pytest.mark.parametrize(
        "odd", [{"unit": 5}, {"unit": "of 5"}, {"measurand": []}, {"phase": "L1 or L2"}]
    )
    def test_what_decides_its_meaning_goes_with_it(self, odd: dict[str, Any]) -> None:
        """Left out alone, "MWh" would be Wh, and one phase the whole outlet."""
        data = make_sampled(**odd) + make_sampled(value="1")
        message = translate_call(V16, "StopTransaction", STOP | {"transactionData": data})
        assert [sample.value for sample in message.samples] == [1]

    def test_a_word_of_the_vendors_own_is_kept(self) -> None:
        """Whoever reads it knows that it is no energy in Wh."""
        data = make_sampled(unit="MWh")
        (sample,) = translate_call(V16, "StopTransaction", STOP | {"transactionData": data}).samples
        assert (sample.value, sample.unit) == (26008, "MWh")

    def test_a_multiplier_that_is_none(self) -> None:
        """2.x: without it the value may be a thousand times another."""
        samples = [
            {"value": 5, "unitOfMeasure": {"unit": "Wh", "multiplier": "x"}},
            {"value": "6.5", "unitOfMeasure": {"unit": "Wh", "multiplier": "3"}},
        ]
        values = [{"timestamp": AT, "sampledValue": samples}]
        (sample,) = translate_call(V201, "MeterValues", {"evseId": 1, "meterValue": values}).samples
        assert (sample.value, sample.multiplier) == (6.5, 3)

    def test_a_signature_is_never_cut(self) -> None:
        """2.0.1 allows 2,500 characters; calibrated meters sign with more."""
        signed = {"signedMeterData": "A" * 9000, "encodingMethod": "OCMF"}
        samples = [{"value": 5, "signedMeterValue": signed}]
        values = [{"timestamp": AT, "sampledValue": samples}]
        (sample,) = translate_call(V201, "MeterValues", {"evseId": 1, "meterValue": values}).samples
        assert len(sample.signed.data) == 9000

    def test_meter_values_of_which_nothing_can_be_read(self) -> None:
        """They are confirmed, or the station would send them for ever."""
        for values in ([], None, [{"timestamp": AT}], "none"):
            message = translate_call(V16, "MeterValues", {"connectorId": 1, "meterValue": values})
            assert message.samples == ()
            assert message.repairs


class TestBoots:
    """A boot that is refused locks its station out for good."""

    def test_long_names_and_numbers_are_kept(self) -> None:
        """A serial number that is cut is another station's."""
        odd = {
            "chargePointModel": "M" * 23,
            "chargePointSerialNumber": "S" * 26,
            "iccid": None,
            "firmwareVersion": 3.2,
        }
        message = translate_call(V16, "BootNotification", BOOT | odd)
        assert (message.model, message.serial_number) == ("M" * 23, "S" * 26)
        assert (message.iccid, message.firmware_version) == (None, "3.2")
        assert len(message.repairs) == 4

    @pytest.mark.parametrize("protocol", [V201, V21])
    @pytest.mark.parametrize(
        "odd",
        [
            {"reason": "ColdBoot"},
            {"reason": None},
            {"chargingStation": {"vendorName": "Acme", "model": "M" * 23}},
            {"chargingStation": {"vendorName": "Acme"}},
            {"chargingStation": {"vendorName": "Acme", "model": "One", "modem": {"iccid": None}}},
            {"chargingStation": {"vendorName": "Acme", "model": "One", "modem": "none"}},
        ],
    )
    def test_one_odd_field_locks_no_station_out(
        self, protocol: Protocol, odd: dict[str, Any]
    ) -> None:
        """2.x: whatever is odd, config decides on the boot."""
        message = translate_call(protocol, "BootNotification", BOOT_2 | odd)
        assert message.vendor == "Acme"
        assert message.repairs

    def test_a_station_that_does_not_name_its_maker(self) -> None:
        """Empty, as unknown: who it is it said when it logged in."""
        message = translate_call(V16, "BootNotification", {"chargePointModel": "One"})
        assert (message.vendor, message.model) == ("", "One")
        assert translate_call(V201, "BootNotification", {"reason": "PowerUp"}).vendor == ""

    @pytest.mark.parametrize("protocol", list(Protocol))
    def test_a_boot_that_says_nothing_is_none(self, protocol: Protocol) -> None:
        """2.x Part 4 §4.2.3: its author hears which property is missing."""
        for payload in ({}, {"chargePointVendor": None, "reason": None}):
            code = refuse_call(protocol, "BootNotification", payload)
            assert code is not None
            assert code.endswith("ConstraintViolation") or payload


class TestStatuses:
    """An operator must not go on seeing Available."""

    @pytest.mark.parametrize(
        "odd",
        [
            {"info": "i" * 77},
            {"info": None},
            {"errorCode": "VendorFault"},
            {"errorCode": None},
            {"errorCode": ""},
            {"vendorErrorCode": 17},
            {"timestamp": "soon"},
            {"connectorId": "1"},
            {"connectorId": 1.0},
            {"status": "faulted"},
        ],
    )
    def test_one_odd_field_hides_no_fault(self, odd: dict[str, Any]) -> None:
        """The connector is seen as Faulted."""
        message = translate_call(V16, "StatusNotification", STATUS | odd)
        assert (message.connector_id, message.status) == (1, "Faulted")
        assert message.repairs

    def test_an_error_code_of_the_vendors_own(self) -> None:
        """OtherError is 1.6's word for it; a fault is never told as NoError."""
        message = translate_call(V16, "StatusNotification", STATUS | {"errorCode": "VendorFault"})
        assert message.error_code == "OtherError"
        assert (
            translate_call(V16, "StatusNotification", STATUS | {"errorCode": None}).error_code
            is None
        )

    @pytest.mark.parametrize(
        ("said", "seen"),
        [
            ("Occupied", "Occupied"),
            ("OutOfOrder", "OutOfOrder"),
            (f"card {PAN}", "Unknown"),
            ("", "Unknown"),
            (None, "Unknown"),
            (5, "Unknown"),
        ],
    )
    def test_a_status_that_the_version_does_not_have(self, said: Any, seen: str) -> None:
        """A name is shown as the station says it; whatever else is Unknown, and not repeated."""
        message = translate_call(V16, "StatusNotification", STATUS | {"status": said})
        assert message.status == seen
        assert PAN not in str(message)
        for protocol in (V201, V21):
            body = STATUS_2 | {"connectorStatus": said}
            assert translate_call(protocol, "StatusNotification", body).status == seen

    def test_security_events_are_always_confirmed(self) -> None:
        """A04.FR.03: with a time of its own or without."""
        for protocol in Protocol:
            event = {"type": "Reset", "timestamp": "soon", "techInfo": "t" * 300}
            message = translate_call(protocol, "SecurityEventNotification", event)
            assert (message.type, message.at) == ("Reset", NOW)

    def test_progress_is_told_also_in_other_words(self) -> None:
        """Firmware and logs: a status of the vendor's own is a status."""
        for protocol in Protocol:
            for action in ("FirmwareStatusNotification", "LogStatusNotification"):
                message = translate_call(protocol, action, {"status": "AlmostDone"})
                assert message.status == "AlmostDone"
                assert message.repairs
        message = translate_call(
            V201, "LogStatusNotification", {"status": "Uploaded", "requestId": "7"}
        )
        assert (message.status, message.request_id) == ("Uploaded", 7)


class TestWhatStaysStrict:
    """What is asked is refused when it can't be read, and everything where strictness is set."""

    def test_questions_are_refused(self) -> None:
        """An Authorize is no fact: its tag decides who charges (rules B)."""
        assert refuse_call(V16, "Authorize", {"idTag": CARD}) == "PropertyConstraintViolation"
        assert refuse_call(V16, "Heartbeat", {"x": 1}) == "FormationViolation"
        assert refuse_call(V201, "SignCertificate", {"csr": 1}) == "TypeConstraintViolation"

    def test_where_the_operator_asks_for_it(self) -> None:
        """``VOLTBUS_STATION_FACTS=strict``: the schema decides, as in every version's text."""
        sent = STOP | {"reason": "local"}
        assert refuse_call(V16, "StopTransaction", sent) is None
        code = refuse_call(V16, "StopTransaction", sent, facts=Facts.STRICT)
        assert code == "PropertyConstraintViolation"

    def test_a_sound_message_has_no_notes(self) -> None:
        """The table is looked at only where the schema refuses."""
        assert translate_call(V16, "StopTransaction", STOP).repairs == ()
        assert translate_call(V21, "TransactionEvent", ENDED).repairs == ()


def test_a_message_with_thousands_of_odd_fields() -> None:
    """Each place is noted once, and no message has notes without end."""
    samples = [{"value": number, f"extra{number}": 1} for number in range(5000)]
    odd = {"transactionData": [{"timestamp": AT, "sampledValue": samples}]}
    message = translate_call(V16, "StopTransaction", STOP | odd | {f"x{n}": 1 for n in range(100)})
    assert len(message.samples) == 5000
    assert len(message.repairs) <= 20
