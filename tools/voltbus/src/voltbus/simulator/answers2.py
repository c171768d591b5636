"""How a simulated OCPP 2.x station answers the central system, action by action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocpp.exceptions import NotImplementedError as ActionNotImplemented
from ocpp.exceptions import OccurrenceConstraintViolationError

from voltbus.simulator.charging import STATION_WIDE
from voltbus.simulator.device2 import BASE_REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus.simulator.transactions import Transaction
    from voltbus.simulator.v2 import Station2
    from voltbus.simulator.wire import Payload

ACCEPTED: Payload = {"status": "Accepted"}
REJECTED: Payload = {"status": "Rejected"}
FIRMWARE_STEPS = ("Downloading", "Downloaded", "Installing", "Installed")
REPORT_PART = 10


class Answers2:
    """The table from action to answer; anything else is NotImplemented, as on real stations."""

    def __init__(self, station: Station2) -> None:
        self._station = station
        self._table: dict[str, Callable[[Payload], Payload]] = {
            "CancelReservation": self._cancel_reservation,
            "ChangeAvailability": self._change_availability,
            "ClearCache": lambda _: ACCEPTED,
            "ClearChargingProfile": self._clear_charging_profile,
            "CostUpdated": lambda _: {},
            "CustomerInformation": self._customer_information,
            "DataTransfer": lambda _: {"status": "UnknownVendorId"},
            "GetBaseReport": self._get_base_report,
            "GetChargingProfiles": self._get_charging_profiles,
            "GetCompositeSchedule": self._get_composite_schedule,
            "GetLocalListVersion": self._get_local_list_version,
            "GetLog": self._get_log,
            "GetReport": self._get_report,
            "GetTransactionStatus": self._get_transaction_status,
            "GetVariables": self._get_variables,
            "RequestStartTransaction": self._request_start,
            "RequestStopTransaction": self._request_stop,
            "ReserveNow": self._reserve_now,
            "Reset": self._reset,
            "SendLocalList": self._send_local_list,
            "SetChargingProfile": self._set_charging_profile,
            "SetNetworkProfile": self._set_network_profile,
            "SetVariables": self._set_variables,
            "TriggerMessage": self._trigger_message,
            "UnlockConnector": self._unlock_connector,
            "UpdateFirmware": self._update_firmware,
        }
        self.reservations: dict[int, int] = {}

    def answer(self, action: str, payload: Payload) -> Payload:
        """Return the answer's payload; raises the library's OCPPError for a CALLERROR."""
        if action not in self._table:
            raise ActionNotImplemented
        return self._table[action](payload)

    # ---- device model ----

    def _most_items(self, action: str) -> int:
        place = ("devicedatactrlr", "", 0, "itemspermessage", action.lower())
        return int(self._station.device.variables[place].value)

    def _set_variables(self, payload: Payload) -> Payload:
        items = payload["setVariableData"]
        if len(items) > self._most_items("SetVariables"):
            raise OccurrenceConstraintViolationError
        results = [self._station.device.set(item) for item in items]
        for item, result in zip(items, results, strict=True):
            secret = item["variable"]["name"] == "BasicAuthPassword"
            if secret and result["attributeStatus"] == "Accepted":
                self._station.take_password(item["attributeValue"])
        return {"setVariableResult": results}

    def _get_variables(self, payload: Payload) -> Payload:
        items = payload["getVariableData"]
        if len(items) > self._most_items("GetVariables"):
            raise OccurrenceConstraintViolationError
        return {"getVariableResult": [self._station.device.get(item) for item in items]}

    def _get_base_report(self, payload: Payload) -> Payload:
        which = payload["reportBase"]
        if which not in BASE_REPORTS:
            return {"status": "NotSupported"}
        data = self._station.device.report(which)
        self._station.afterwards(lambda: self._notify_report(payload["requestId"], data))
        return ACCEPTED

    def _get_report(self, payload: Payload) -> Payload:
        wanted = [
            (item["component"]["name"].lower(), item.get("variable", {}).get("name", "").lower())
            for item in payload.get("componentVariable", [])
        ]
        data = [
            row
            for row in self._station.device.report("FullInventory")
            if not wanted
            or any(
                component == row["component"]["name"].lower()
                and variable in ("", row["variable"]["name"].lower())
                for component, variable in wanted
            )
        ]
        if not data:
            return {"status": "EmptyResultSet"}
        self._station.afterwards(lambda: self._notify_report(payload["requestId"], data))
        return ACCEPTED

    async def _notify_report(self, request_id: int, data: list[dict[str, Any]]) -> None:
        """Send the report in parts (B07.FR.08, B08): seqNo from 0, tbc on all but the last."""
        parts = [data[at : at + REPORT_PART] for at in range(0, len(data), REPORT_PART)]
        for seq_no, part in enumerate(parts):
            await self._station.call(
                "NotifyReport",
                {
                    "requestId": request_id,
                    "generatedAt": self._station.now(),
                    "seqNo": seq_no,
                    "tbc": seq_no + 1 < len(parts),
                    "reportData": part,
                },
            )

    def _set_network_profile(self, payload: Payload) -> Payload:
        self._station.network_profiles[payload["configurationSlot"]] = payload["connectionData"]
        return ACCEPTED

    # ---- local list ----

    def _get_local_list_version(self, _: Payload) -> Payload:
        return {"versionNumber": self._station.local_list.version}

    def _send_local_list(self, payload: Payload) -> Payload:
        changes = {
            f"{entry['idToken']['type']}:{entry['idToken']['idToken'].lower()}": entry.get(
                "idTokenInfo"
            )
            for entry in payload.get("localAuthorizationList", [])
        }
        status = self._station.local_list.update(
            payload["versionNumber"], payload["updateType"], changes
        )
        return {"status": status}

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

    # ---- charging profiles ----

    def _set_charging_profile(self, payload: Payload) -> Payload:
        station, evse = self._station, payload["evseId"]
        if evse not in station.operative:
            return REJECTED
        status = station.profiles.install(
            evse, payload["chargingProfile"], charging=evse in station.transactions
        )
        return {"status": status}

    def _clear_charging_profile(self, payload: Payload) -> Payload:
        criteria = payload.get("chargingProfileCriteria", {})
        gone = self._station.profiles.clear(
            payload.get("chargingProfileId"),
            criteria.get("evseId"),
            criteria.get("chargingProfilePurpose"),
            criteria.get("stackLevel"),
        )
        return {"status": "Accepted" if gone else "Unknown"}

    def _get_charging_profiles(self, payload: Payload) -> Payload:
        criteria = payload["chargingProfile"]
        ids = criteria.get("chargingProfileId")
        found = [
            held
            for held in self._station.profiles.held
            if payload.get("evseId") in (None, held.evse)
            and (ids is None or held.identity in ids)
            and criteria.get("chargingProfilePurpose") in (None, held.purpose)
            and criteria.get("stackLevel") in (None, held.stack_level)
        ]
        if not found:
            return {"status": "NoProfiles"}
        reports = [
            {
                "requestId": payload["requestId"],
                "chargingLimitSource": "CSO",
                "evseId": held.evse,
                "chargingProfile": [held.profile],
                "tbc": at + 1 < len(found),
            }
            for at, held in enumerate(found)
        ]
        self._station.afterwards(lambda: self._calls("ReportChargingProfiles", reports))
        return ACCEPTED

    def _get_composite_schedule(self, payload: Payload) -> Payload:
        station, evse = self._station, payload["evseId"]
        unit = payload.get("chargingRateUnit", "W")
        periods = (
            station.profiles.composite(evse, station.around.now(), payload["duration"], unit)
            if evse in station.operative
            else []
        )
        if not periods:
            return REJECTED
        return {
            "status": "Accepted",
            "schedule": {
                "evseId": evse,
                "duration": payload["duration"],
                "scheduleStart": station.now(),
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": periods,
            },
        }

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
        self._station.afterwards(lambda: self._calls("FirmwareStatusNotification", steps))
        return ACCEPTED

    def _get_log(self, payload: Payload) -> Payload:
        steps = [
            {"status": step, "requestId": payload["requestId"]}
            for step in ("Uploading", "Uploaded")
        ]
        self._station.afterwards(lambda: self._calls("LogStatusNotification", steps))
        return {"status": "Accepted", "filename": f"{self._station.options.serial}.log"}

    def _customer_information(self, payload: Payload) -> Payload:
        report = {
            "data": "",
            "seqNo": 0,
            "generatedAt": self._station.now(),
            "requestId": payload["requestId"],
        }
        if payload["report"] or payload["clear"]:
            self._station.afterwards(lambda: self._calls("NotifyCustomerInformation", [report]))
        return ACCEPTED

    async def _calls(self, action: str, payloads: list[Payload]) -> None:
        for payload in payloads:
            await self._station.call(action, payload)
