"""How a simulated OCPP 2.x station takes settings: variables, reports, lists, profiles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ocpp.exceptions import OccurrenceConstraintViolationError

from voltbus.simulator.device2 import BASE_REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus.simulator.v2 import Messages2
    from voltbus.simulator.wire import Payload

ACCEPTED: Payload = {"status": "Accepted"}
REJECTED: Payload = {"status": "Rejected"}
REPORT_PART = 10


class SettingsAnswers2:
    """Answers for everything that changes or reads how the station is set."""

    def __init__(self, station: Messages2) -> None:
        self._station = station
        self.table: dict[str, Callable[[Payload], Payload]] = {
            "ClearChargingProfile": self._clear_charging_profile,
            "GetBaseReport": self._get_base_report,
            "GetChargingProfiles": self._get_charging_profiles,
            "GetCompositeSchedule": self._get_composite_schedule,
            "GetLocalListVersion": self._get_local_list_version,
            "GetReport": self._get_report,
            "GetVariables": self._get_variables,
            "SendLocalList": self._send_local_list,
            "SetChargingProfile": self._set_charging_profile,
            "SetNetworkProfile": self._set_network_profile,
            "SetVariables": self._set_variables,
        }

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
        """D01, within ItemsPerMessage, BytesPerMessage and the maxLimit of Entries."""
        variables = self._station.device.variables
        held, items, size = (
            variables["localauthlistctrlr", "", 0, name, ""]
            for name in ("entries", "itemspermessage", "bytespermessage")
        )
        lines = payload.get("localAuthorizationList", [])
        changes = {
            f"{line['idToken']['type']}:{line['idToken']['idToken'].lower()}": line.get(
                "idTokenInfo"
            )
            for line in lines
        }
        if (
            len(lines) > int(items.value)
            or len(json.dumps(payload, separators=(",", ":"))) > int(size.value)
            or len(changes) < len(lines)
        ):
            return {"status": "Failed"}
        status = self._station.local_list.update(
            payload["versionNumber"], payload["updateType"], changes, held.max_limit
        )
        held.value = str(len(self._station.local_list.entries))
        return {"status": status}

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
        self._station.afterwards(lambda: self._station.calls("ReportChargingProfiles", reports))
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
