"""How a simulated OCPP 1.6 station answers the central system, action by action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocpp.exceptions import NotImplementedError as ActionNotImplemented

from voltbus.simulator.certificates import certificate_answers
from voltbus.simulator.charging import STATION_WIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus.simulator.v16 import Messages16
    from voltbus.simulator.wire import Payload

ACCEPTED: Payload = {"status": "Accepted"}
REJECTED: Payload = {"status": "Rejected"}
FIRMWARE_STEPS = ("Downloading", "Downloaded", "Installing", "Installed")


class Answers16:
    """The table from action to answer; anything else is NotImplemented, as on real stations."""

    def __init__(self, station: Messages16) -> None:
        self._station = station
        self._table: dict[str, Callable[[Payload], Payload]] = {
            "CancelReservation": self._cancel_reservation,
            "ChangeAvailability": self._change_availability,
            "ChangeConfiguration": self._change_configuration,
            "ClearCache": lambda _: ACCEPTED,
            "ClearChargingProfile": self._clear_charging_profile,
            "DataTransfer": lambda _: {"status": "UnknownVendorId"},
            "ExtendedTriggerMessage": self._trigger_message,
            "GetCompositeSchedule": self._get_composite_schedule,
            "GetConfiguration": self._get_configuration,
            "GetDiagnostics": self._get_diagnostics,
            "GetLocalListVersion": self._get_local_list_version,
            "GetLog": self._get_log,
            "RemoteStartTransaction": self._remote_start,
            "RemoteStopTransaction": self._remote_stop,
            "ReserveNow": self._reserve_now,
            "Reset": self._reset,
            "SendLocalList": self._send_local_list,
            "SetChargingProfile": self._set_charging_profile,
            "TriggerMessage": self._trigger_message,
            "UnlockConnector": self._unlock_connector,
            "UpdateFirmware": self._update_firmware,
        } | certificate_answers(station.certificates, chained=False)
        self.reservations: dict[int, int] = {}

    def answer(self, action: str, payload: Payload) -> Payload:
        """Return the answer's payload; raises the library's OCPPError for a CALLERROR."""
        if action not in self._table:
            raise ActionNotImplemented
        return self._table[action](payload)

    # ---- configuration ----

    def _change_configuration(self, payload: Payload) -> Payload:
        key, value = payload["key"], payload["value"]
        status = self._station.configuration.change(key, value)
        if key == "AuthorizationKey" and status == "Accepted":
            self._station.take_password(bytes.fromhex(value))
        return {"status": status}

    def _get_configuration(self, payload: Payload) -> Payload:
        return self._station.configuration.get(payload.get("key", []))

    def _get_local_list_version(self, _: Payload) -> Payload:
        return {"listVersion": self._station.local_list.version if self._has_lists() else -1}

    def _send_local_list(self, payload: Payload) -> Payload:
        """1.6 §5.15, within SendLocalListMaxLength and LocalAuthListMaxLength (§9.2)."""
        if not self._has_lists():
            return {"status": "NotSupported"}
        keys = self._station.configuration.keys
        lines = payload.get("localAuthorizationList", [])
        changes = {line["idTag"].casefold(): line for line in lines}
        full = payload["updateType"] == "Full"
        if (
            len(lines) > int(keys["SendLocalListMaxLength"].value)
            or len(changes) < len(lines)
            or payload["listVersion"] <= 0
            or (full and any("idTagInfo" not in line for line in lines))
        ):
            return {"status": "Failed"}
        status = self._station.local_list.update(
            payload["listVersion"],
            payload["updateType"],
            {line["idTag"]: line.get("idTagInfo") for line in lines},
            int(keys["LocalAuthListMaxLength"].value),
        )
        return {"status": status}

    def _has_lists(self) -> bool:
        profiles = self._station.configuration.keys["SupportedFeatureProfiles"].value
        return "LocalAuthListManagement" in profiles

    # ---- availability and reservations ----

    def _change_availability(self, payload: Payload) -> Payload:
        operative = payload["type"] == "Operative"
        status = self._station.change_availability(payload["connectorId"], operative=operative)
        return {"status": status}

    def _reserve_now(self, payload: Payload) -> Payload:
        station, connector = self._station, payload["connectorId"]
        if connector not in station.connectors:
            return REJECTED
        if station.connectors[connector] != "Available":
            state = station.connectors[connector]
            return {"status": state if state in {"Faulted", "Unavailable"} else "Occupied"}
        self.reservations[payload["reservationId"]] = connector
        station.afterwards(lambda: station.set_state(connector, "Reserved"))
        return ACCEPTED

    def _cancel_reservation(self, payload: Payload) -> Payload:
        connector = self.reservations.pop(payload["reservationId"], None)
        if connector is None:
            return REJECTED
        self._station.afterwards(lambda: self._station.set_state(connector, "Available"))
        return ACCEPTED

    def _unlock_connector(self, payload: Payload) -> Payload:
        station, connector = self._station, payload["connectorId"]
        if connector not in station.connectors:
            return {"status": "NotSupported"}
        transaction = station.transactions.get(connector)
        if transaction is not None:
            station.afterwards(
                lambda: station.finish(transaction, transaction.meter_wh, "UnlockCommand")
            )
        return {"status": "Unlocked"}

    # ---- charging profiles ----

    def _set_charging_profile(self, payload: Payload) -> Payload:
        station, connector = self._station, payload["connectorId"]
        if connector not in station.operative:
            return REJECTED
        status = station.profiles.install(
            connector, payload["csChargingProfiles"], charging=connector in station.transactions
        )
        return {"status": status}

    def _clear_charging_profile(self, payload: Payload) -> Payload:
        gone = self._station.profiles.clear(
            payload.get("id"),
            payload.get("connectorId"),
            payload.get("chargingProfilePurpose"),
            payload.get("stackLevel"),
        )
        return {"status": "Accepted" if gone else "Unknown"}

    def _get_composite_schedule(self, payload: Payload) -> Payload:
        station, connector = self._station, payload["connectorId"]
        unit = payload.get("chargingRateUnit", "W")
        periods = (
            station.profiles.composite(connector, station.around.now(), payload["duration"], unit)
            if connector in station.operative
            else []
        )
        if not periods:
            return REJECTED
        return {
            "status": "Accepted",
            "connectorId": connector,
            "scheduleStart": station.now(),
            "chargingSchedule": {
                "duration": payload["duration"],
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": periods,
            },
        }

    # ---- transactions ----

    def _remote_start(self, payload: Payload) -> Payload:
        station = self._station
        free = [
            connector
            for connector in station.connectors
            if connector not in station.transactions and station.operative[connector]
        ]
        connector = payload.get("connectorId", free[0] if free else 0)
        profile = payload.get("chargingProfile")
        if connector not in free or (profile and profile["chargingProfilePurpose"] in STATION_WIDE):
            return REJECTED
        checks = station.configuration.keys["AuthorizeRemoteTxRequests"].value.lower() == "true"
        station.afterwards(
            lambda: station.charge_remotely(
                payload["idTag"], connector, profile=profile, authorize=checks
            )
        )
        return ACCEPTED

    def _remote_stop(self, payload: Payload) -> Payload:
        station = self._station
        running = {one.id: one for one in station.transactions.values()}
        found = running.get(payload["transactionId"])
        if found is None:
            return REJECTED
        station.afterwards(lambda: station.finish(found, found.meter_wh, "Remote"))
        return ACCEPTED

    # ---- the device ----

    def _reset(self, payload: Payload) -> Payload:
        reason = "HardReset" if payload["type"] == "Hard" else "SoftReset"
        self._station.afterwards(lambda: self._station.restart(reason))
        return ACCEPTED

    def _trigger_message(self, payload: Payload) -> Payload:
        station, connector = self._station, payload.get("connectorId")
        if connector is not None and connector not in station.operative:
            return REJECTED
        wanted = payload["requestedMessage"]
        if wanted not in {
            "BootNotification",
            "DiagnosticsStatusNotification",
            "FirmwareStatusNotification",
            "Heartbeat",
            "LogStatusNotification",
            "MeterValues",
            "SignChargePointCertificate",
            "StatusNotification",
        }:
            return {"status": "NotImplemented"}
        station.afterwards(lambda: self._triggered(wanted, connector))
        return ACCEPTED

    async def _triggered(self, wanted: str, connector: int | None) -> None:
        """Send the message the central system asked for."""
        station = self._station
        if wanted == "BootNotification":
            await station.boot()
        elif wanted == "SignChargePointCertificate":
            await station.sign_certificate()
        elif wanted == "MeterValues":
            for transaction in list(station.transactions.values()):
                if connector in (None, transaction.connector):
                    await station.meter(transaction, transaction.meter_wh)
        elif wanted == "StatusNotification":
            for one in [connector] if connector else list(station.connectors):
                await station.status(one, station.connectors[one])
        else:
            await station.call(wanted, {} if wanted == "Heartbeat" else {"status": "Idle"})

    def _update_firmware(self, _: Payload) -> Payload:
        self._station.afterwards(lambda: self._steps("FirmwareStatusNotification", FIRMWARE_STEPS))
        return {}

    def _get_diagnostics(self, _: Payload) -> Payload:
        self._station.afterwards(
            lambda: self._steps("DiagnosticsStatusNotification", ("Uploading", "Uploaded"))
        )
        return {"fileName": f"{self._station.options.serial}.log"}

    def _get_log(self, payload: Payload) -> Payload:
        request = {"requestId": payload["requestId"]}
        self._station.afterwards(
            lambda: self._steps("LogStatusNotification", ("Uploading", "Uploaded"), request)
        )
        return {"status": "Accepted", "filename": f"{self._station.options.serial}.log"}

    async def _steps(
        self, action: str, steps: tuple[str, ...], more: Payload | None = None
    ) -> None:
        for step in steps:
            await self._station.call(action, {"status": step, **(more or {})})
