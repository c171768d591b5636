"""What a simulated OCPP 2.0.1 or 2.1 station says: its own calls, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from voltbus.simulator.device2 import DeviceModel, standard_variables
from voltbus.simulator.station import Authorized, Boot, Station
from voltbus.simulator.transactions import Transaction, Undelivered

if TYPE_CHECKING:
    from voltbus.simulator.options import Options, Surroundings
    from voltbus.simulator.wire import Payload

# 2.x shows only that a connector is in use (StatusNotification, ConnectorStatusEnumType).
OCCUPIED = frozenset({"Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"})

# Why a transaction ends, and the trigger that reports it (E06, F03, C12).
TRIGGERS = {
    "Local": "StopAuthorized",
    "Remote": "RemoteStop",
    "EVDisconnected": "EVCommunicationLost",
    "DeAuthorized": "Deauthorized",
    "ImmediateReset": "ResetCommand",
    "Reboot": "ResetCommand",
    "StoppedByEV": "ChargingStateChanged",
    "EnergyLimitReached": "EnergyLimitReached",
    "TimeLimitReached": "TimeLimitReached",
}


class Messages2(Station):
    """The calls of a station that speaks ocpp2.0.1 or ocpp2.1; `stations.Station2` answers too.

    ``connector`` n is EVSE n, connector 1.
    """

    def __init__(
        self,
        protocol: Literal["2.0.1", "2.1"] = "2.0.1",
        options: Options | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(protocol, options, surroundings)
        self.device = DeviceModel()
        self.device.add(*standard_variables(self.options.connectors, payments=protocol == "2.1"))
        self.network_profiles: dict[int, Payload] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """See Station."""
        return {
            "keys": self.device.values(),
            "charging_profiles": [held.profile for held in self.profiles.held],
            "availability": dict(self.operative),
            "local_list_version": self.local_list.version,
            "network_profiles": dict(self.network_profiles),
        }

    async def sign_certificate(self, use: str = "ChargingStationCertificate") -> str:
        """Ask for a certificate for a new key and return the status (A02)."""
        request = self.certificates.request(
            self.options.serial, self.device.value("SecurityCtrlr", "OrganizationName"), use
        )
        payload = {"csr": request, "certificateType": use}
        return str((await self.call("SignCertificate", payload))["status"])

    async def boot(self, reason: str = "PowerUp") -> Boot:
        """See Station."""
        answer = await self.call(
            "BootNotification",
            {
                "reason": reason,
                "chargingStation": {
                    "vendorName": self.options.vendor,
                    "model": self.options.model,
                    "serialNumber": self.options.serial,
                    "firmwareVersion": self.options.firmware,
                },
            },
        )
        return Boot(answer["status"], answer["interval"], answer)

    async def status(self, connector: int, state: str) -> None:
        """See Station."""
        self.connectors[connector] = state
        await self.call(
            "StatusNotification",
            {
                "timestamp": self.now(),
                "connectorStatus": "Occupied" if state in OCCUPIED else state,
                "evseId": connector,
                "connectorId": 1,
            },
        )

    async def authorize(self, id_token: str, token_type: str = "ISO14443") -> Authorized:  # noqa: S107 - a type, no password
        """See Station."""
        answer = await self.call(
            "Authorize", {"idToken": {"idToken": id_token, "type": token_type}}
        )
        return Authorized(answer["idTokenInfo"]["status"], answer)

    async def start(
        self,
        id_token: str,
        connector: int = 1,
        meter_wh: int = 0,
        *,
        token_type: str = "ISO14443",  # noqa: S107 - a type, no password
        remote_start_id: int | None = None,
    ) -> Transaction:
        """See Station. TransactionEvent Started, seqNo 0."""
        transaction = Transaction(
            connector,
            id_token,
            token_type,
            meter_wh,
            id=self.around.new_id(),
            begun_wh=meter_wh,
            remote_start_id=remote_start_id,
        )
        self.transactions[connector] = transaction
        trigger = "Authorized" if remote_start_id is None else "RemoteStart"
        payload = self._event(transaction, "Started", trigger, "Transaction.Begin", meter_wh)
        payload["transactionInfo"]["chargingState"] = "Charging"
        if remote_start_id is not None:
            payload["transactionInfo"]["remoteStartId"] = remote_start_id
        payload["evse"] = {"id": connector, "connectorId": 1}
        payload["idToken"] = {"idToken": id_token, "type": token_type}
        try:
            await self._report(transaction, payload)
        except BaseException:
            del self.transactions[connector]
            raise
        return transaction

    async def meter(self, transaction: Transaction, wh: int) -> None:
        """See Station. TransactionEvent Updated."""
        transaction.meter_wh = wh
        await self._report(
            transaction,
            self._event(transaction, "Updated", "MeterValuePeriodic", "Sample.Periodic", wh),
        )

    async def stop(
        self, transaction: Transaction, meter_wh: int, reason: str = "Local"
    ) -> Transaction:
        """See Station. TransactionEvent Ended."""
        transaction.meter_wh = meter_wh
        transaction.ended = True
        self.transactions.pop(transaction.connector, None)
        trigger = TRIGGERS.get(reason, "AbnormalCondition")
        payload = self._event(transaction, "Ended", trigger, "Transaction.End", meter_wh)
        payload["transactionInfo"]["stoppedReason"] = reason
        if reason == "Local":
            payload["idToken"] = {"idToken": transaction.id_token, "type": transaction.token_type}
        await self._report(transaction, payload)
        return transaction

    def _event(
        self, transaction: Transaction, kind: str, trigger: str, context: str, wh: int
    ) -> Payload:
        """Return a TransactionEvent that takes the transaction's next seqNo."""
        seq_no, transaction.seq_no = transaction.seq_no, transaction.seq_no + 1
        payload: Payload = {
            "eventType": kind,
            "timestamp": self.now(),
            "triggerReason": trigger,
            "seqNo": seq_no,
            "transactionInfo": {"transactionId": transaction.id},
            "meterValue": [
                {
                    "timestamp": self.now(),
                    "sampledValue": [
                        {
                            "value": wh,
                            "context": context,
                            "measurand": "Energy.Active.Import.Register",
                            "unitOfMeasure": {"unit": "Wh"},
                        }
                    ],
                }
            ],
        }
        if not self.online:
            payload["offline"] = True
        return payload

    async def _report(self, transaction: Transaction, payload: Payload) -> None:
        def answered(answer: Payload) -> None:
            transaction.answer = answer
            if "idTokenInfo" in answer:
                transaction.status = answer["idTokenInfo"]["status"]

        await self.deliver(Undelivered("TransactionEvent", lambda: payload, answered))
