"""What a simulated OCPP 2.x station watches and displays: variable monitors, display messages."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus.simulator.v2 import Messages2
    from voltbus.simulator.wire import Payload

ACCEPTED: Payload = {"status": "Accepted"}
LEVELS = range(10)


class MonitoringAnswers2:
    """Monitors by id (N02-N06), the severity that is still reported, and messages by id (O)."""

    def __init__(self, station: Messages2) -> None:
        self._station = station
        self.monitors: dict[int, Payload] = {}
        self.messages: dict[int, Payload] = {}
        self.level = 9
        self._ids = itertools.count(1)
        self._events = itertools.count(1)
        self.table: dict[str, Callable[[Payload], Payload]] = {
            "ClearDisplayMessage": self._clear_display_message,
            "ClearVariableMonitoring": self._clear_variable_monitoring,
            "GetDisplayMessages": self._get_display_messages,
            "GetMonitoringReport": self._get_monitoring_report,
            "SetDisplayMessage": self._set_display_message,
            "SetMonitoringBase": self._set_monitoring_base,
            "SetMonitoringLevel": self._set_monitoring_level,
            "SetVariableMonitoring": self._set_variable_monitoring,
        }

    # ---- monitors ----

    def _set_variable_monitoring(self, payload: Payload) -> Payload:
        return {
            "setMonitoringResult": [self._monitor(item) for item in payload["setMonitoringData"]]
        }

    def _monitor(self, item: Payload) -> Payload:
        status, _ = self._station.device.find(item)
        kept = {"type", "severity", "component", "variable"}
        result: Payload = {name: value for name, value in item.items() if name in kept}
        if status == "Accepted" and "id" in item and item["id"] not in self.monitors:
            status = "Rejected"  # N04.FR.14: only an existing monitor can be changed
        if status == "Accepted":
            number = item.get("id") or next(self._ids)
            self.monitors[number] = {**item, "id": number}
            result["id"] = number
        return {**result, "status": status}

    def _clear_variable_monitoring(self, payload: Payload) -> Payload:
        results = [
            {"id": number, "status": "Accepted" if self.monitors.pop(number, None) else "NotFound"}
            for number in payload["id"]
        ]
        return {"clearMonitoringResult": results}

    def _set_monitoring_base(self, payload: Payload) -> Payload:
        if payload["monitoringBase"] != "All":
            self.monitors.clear()  # this station has none from the factory
        return ACCEPTED

    def _set_monitoring_level(self, payload: Payload) -> Payload:
        if payload["severity"] not in LEVELS:
            return {"status": "Rejected"}
        self.level = payload["severity"]
        return ACCEPTED

    def _get_monitoring_report(self, payload: Payload) -> Payload:
        if not self.monitors:
            return {"status": "EmptyResultSet"}
        kept = ("id", "value", "type", "severity")
        # 2.1 also wants to know where a monitor comes from (VariableMonitoringType).
        told = {"eventNotificationType": "CustomMonitor"} if self._station.protocol == "2.1" else {}
        rows = [
            {
                "component": one["component"],
                "variable": one["variable"],
                "variableMonitoring": [
                    {
                        "transaction": one.get("transaction", False),
                        **{key: one[key] for key in kept},
                        **told,
                    }
                ],
            }
            for one in self.monitors.values()
        ]
        report = {
            "requestId": payload["requestId"],
            "seqNo": 0,
            "generatedAt": self._station.now(),
            "monitor": rows,
        }
        self._station.afterwards(lambda: self._station.calls("NotifyMonitoringReport", [report]))
        return ACCEPTED

    async def changed(self, component: str, variable: str, value: str) -> None:
        """Send NotifyEvent where a Delta monitor watches this variable (N07)."""
        rows: list[dict[str, Any]] = [
            {
                "eventId": next(self._events),
                "timestamp": self._station.now(),
                "trigger": "Delta",
                "actualValue": value,
                "eventNotificationType": "CustomMonitor",
                "variableMonitoringId": number,
                "component": one["component"],
                "variable": one["variable"],
            }
            for number, one in self.monitors.items()
            if one["type"] == "Delta"
            and one["severity"] <= self.level
            and one["component"]["name"].lower() == component.lower()
            and one["variable"]["name"].lower() == variable.lower()
        ]
        if rows:
            event = {"generatedAt": self._station.now(), "seqNo": 0, "eventData": rows}
            await self._station.call("NotifyEvent", event)

    # ---- display ----

    def _set_display_message(self, payload: Payload) -> Payload:
        message = payload["message"]
        if message["message"]["format"] not in {"ASCII", "UTF8"}:
            return {"status": "NotSupportedMessageFormat"}
        running = {one.id for one in self._station.transactions.values()}
        if message.get("transactionId") not in {None, *running}:
            return {"status": "UnknownTransaction"}
        self.messages[message["id"]] = message
        return ACCEPTED

    def _clear_display_message(self, payload: Payload) -> Payload:
        gone = self.messages.pop(payload["id"], None)
        return {"status": "Accepted" if gone else "Unknown"}

    def _get_display_messages(self, payload: Payload) -> Payload:
        found = [
            message
            for number, message in self.messages.items()
            if number in payload.get("id", [number])
            and payload.get("priority") in (None, message["priority"])
            and payload.get("state") in (None, message.get("state"))
        ]
        if not found:
            return {"status": "Unknown"}
        report = {"requestId": payload["requestId"], "messageInfo": found}
        self._station.afterwards(lambda: self._station.calls("NotifyDisplayMessages", [report]))
        return ACCEPTED
