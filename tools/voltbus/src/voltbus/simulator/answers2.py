"""How a simulated OCPP 2.x station answers the central system, action by action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocpp.exceptions import NotImplementedError as ActionNotImplemented

from voltbus.simulator.certificates import certificate_answers
from voltbus.simulator.charging import STATION_WIDE
from voltbus.simulator.settings2 import SettingsAnswers2

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus.simulator.monitoring2 import MonitoringAnswers2
    from voltbus.simulator.transactions import Transaction
    from voltbus.simulator.v2 import Messages2
    from voltbus.simulator.wire import Payload

ACCEPTED: Payload = {"status": "Accepted"}
REJECTED: Payload = {"status": "Rejected"}
FIRMWARE_STEPS = ("Downloading", "Downloaded", "Installing", "Installed")


class Answers2:
    """The table from action to answer; anything else is NotImplemented, as on real stations."""

    def __init__(self, station: Messages2, monitoring: MonitoringAnswers2) -> None:
        self._station = station
        self._table: dict[str, Callable[[Payload], Payload]] = {
            "CancelReservation": self._cancel_reservation,
            "ChangeAvailability": self._change_availability,
            "ClearCache": lambda _: ACCEPTED,
            "CostUpdated": lambda _: {},
            "CustomerInformation": self._customer_information,
            "DataTransfer": lambda _: {"status": "UnknownVendorId"},
            "GetLog": self._get_log,
            "GetTransactionStatus": self._get_transaction_status,
            "RequestStartTransaction": self._request_start,
            "RequestStopTransaction": self._request_stop,
            "ReserveNow": self._reserve_now,
            "Reset": self._reset,
            "TriggerMessage": self._trigger_message,
            "UnlockConnector": self._unlock_connector,
            "UpdateFirmware": self._update_firmware,
        } | SettingsAnswers2(station).table
        self._table |= monitoring.table
        self._table |= certificate_answers(station.certificates, chained=True)
        self.reservations: dict[int, int] = {}

    def answer(self, action: str, payload: Payload) -> Payload:
        """Return the answer's payload; raises the library's OCPPError for a CALLERROR."""
        if action not in self._table:
            raise ActionNotImplemented
        return self._table[action](payload)

    # ---- availability and reservations ----

    def _change_availability(self, payload: Payload) -> Payload:
        evse = payload.get("evse", {}).get("id", 0)
        operative = payload["operationalStatus"] == "Operative"
        return {"status": self._station.change_availability(evse, operative=operative)}

    def _reserve_now(self, payload: Payload) -> Payload:
        station = self._station
        evse = payload.get("evseId") or next(
            (one for one, state in station.connectors.items() if state == "Available"), 1
        )
        state = station.connectors.get(evse, "Unavailable")
        if state != "Available":
            return {"status": state if state in {"Faulted", "Unavailable"} else "Occupied"}
        self.reservations[payload["id"]] = evse
        station.afterwards(lambda: station.set_state(evse, "Reserved"))
        return ACCEPTED

    def _cancel_reservation(self, payload: Payload) -> Payload:
        evse = self.reservations.pop(payload["reservationId"], None)
        if evse is None:
            return REJECTED
        self._station.afterwards(lambda: self._station.set_state(evse, "Available"))
        return ACCEPTED

    def _unlock_connector(self, payload: Payload) -> Payload:
        station, evse = self._station, payload["evseId"]
        if evse not in station.connectors or payload["connectorId"] != 1:
            return {"status": "UnknownConnector"}
        if evse in station.transactions:
            return {"status": "OngoingAuthorizedTransaction"}
        return {"status": "Unlocked"}

    # ---- transactions ----

    def _request_start(self, payload: Payload) -> Payload:
        station = self._station
        free = [
            evse
            for evse in station.connectors
            if evse not in station.transactions and station.operative[evse]
        ]
        evse = payload.get("evseId", free[0] if free else 0)
        profile = payload.get("chargingProfile")
        if evse not in free or (profile and profile["chargingProfilePurpose"] in STATION_WIDE):
            return REJECTED
        checks = station.device.value("AuthCtrlr", "AuthorizeRemoteStart").lower() == "true"
        token = payload["idToken"]
        station.afterwards(
            lambda: station.charge_remotely(
                token["idToken"],
                evse,
                profile=profile,
                authorize=checks,
                token_type=token["type"],
                remote_start_id=payload["remoteStartId"],
            )
        )
        return ACCEPTED

    def _find(self, transaction_id: str) -> Transaction | None:
        return next(
            (one for one in self._station.transactions.values() if one.id == transaction_id), None
        )

    def _request_stop(self, payload: Payload) -> Payload:
        found = self._find(payload["transactionId"])
        if found is None:
            return REJECTED
        self._station.afterwards(lambda: self._station.finish(found, found.meter_wh, "Remote"))
        return ACCEPTED

    def _get_transaction_status(self, payload: Payload) -> Payload:
        answer: Payload = {"messagesInQueue": bool(self._station.outbox)}
        if "transactionId" in payload:
            answer["ongoingIndicator"] = self._find(payload["transactionId"]) is not None
        return answer

    # ---- the device ----

    def _reset(self, payload: Payload) -> Payload:
        station = self._station
        if payload["type"] == "OnIdle" and station.transactions:
            station.reset_when_idle = True
            return {"status": "Scheduled"}
        station.afterwards(lambda: station.restart("ImmediateReset"))
        return ACCEPTED

    def _trigger_message(self, payload: Payload) -> Payload:
        station, evse = self._station, payload.get("evse", {}).get("id")
        if evse is not None and evse not in station.connectors:
            return REJECTED
        wanted = payload["requestedMessage"]
        if wanted not in {
            "BootNotification",
            "FirmwareStatusNotification",
            "Heartbeat",
            "LogStatusNotification",
            "MeterValues",
            "SignChargingStationCertificate",
            "SignV2GCertificate",
            "StatusNotification",
            "TransactionEvent",
        }:
            return {"status": "NotImplemented"}
        station.afterwards(lambda: self._triggered(wanted, evse))
        return ACCEPTED

    async def _triggered(self, wanted: str, evse: int | None) -> None:
        """Send the message the central system asked for."""
        station = self._station
        if wanted == "BootNotification":
            await station.boot("Triggered")
        elif wanted.startswith("Sign"):
            await station.sign_certificate(wanted.removeprefix("Sign"))
        elif wanted == "TransactionEvent":
            for transaction in list(station.transactions.values()):
                if evse in (None, transaction.connector):
                    await station.meter(transaction, transaction.meter_wh)
        elif wanted == "MeterValues":
            for one in [evse] if evse else list(station.connectors):
                await station.call("MeterValues", self._meter_values(one))
        elif wanted == "StatusNotification":
            for one in [evse] if evse else list(station.connectors):
                await station.status(one, station.connectors[one])
        else:
            await station.call(wanted, {} if wanted == "Heartbeat" else {"status": "Idle"})

    def _meter_values(self, evse: int) -> Payload:
        transaction = self._station.transactions.get(evse)
        sample = {
            "value": transaction.meter_wh if transaction else 0,
            "context": "Trigger",
            "measurand": "Energy.Active.Import.Register",
        }
        meter_value = [{"timestamp": self._station.now(), "sampledValue": [sample]}]
        return {"evseId": evse, "meterValue": meter_value}

    def _update_firmware(self, payload: Payload) -> Payload:
        steps = [{"status": step, "requestId": payload["requestId"]} for step in FIRMWARE_STEPS]
        self._station.afterwards(lambda: self._station.calls("FirmwareStatusNotification", steps))
        return ACCEPTED

    def _get_log(self, payload: Payload) -> Payload:
        steps = [
            {"status": step, "requestId": payload["requestId"]}
            for step in ("Uploading", "Uploaded")
        ]
        self._station.afterwards(lambda: self._station.calls("LogStatusNotification", steps))
        return {"status": "Accepted", "filename": f"{self._station.options.serial}.log"}

    def _customer_information(self, payload: Payload) -> Payload:
        report = {
            "data": "",
            "seqNo": 0,
            "generatedAt": self._station.now(),
            "requestId": payload["requestId"],
        }
        if payload["report"] or payload["clear"]:
            self._station.afterwards(
                lambda: self._station.calls("NotifyCustomerInformation", [report])
            )
        return ACCEPTED
