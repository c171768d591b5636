"""What a simulated OCPP 1.6 station says: its own calls, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus.simulator.device16 import Configuration
from voltbus.simulator.station import Authorized, Boot, Station
from voltbus.simulator.transactions import Transaction, Undelivered

if TYPE_CHECKING:
    from voltbus.simulator.options import Options, Surroundings
    from voltbus.simulator.wire import Payload


class Messages16(Station):
    """The calls of a station that speaks ocpp1.6; `stations.Station16` answers too."""

    def __init__(
        self, options: Options | None = None, surroundings: Surroundings | None = None
    ) -> None:
        super().__init__("1.6", options, surroundings)
        self.configuration = Configuration(self.options.connectors)

    @property
    def settings(self) -> dict[str, Any]:
        """See Station."""
        return {
            "keys": self.configuration.values(),
            "charging_profiles": [held.profile for held in self.profiles.held],
            "availability": dict(self.operative),
            "local_list_version": self.local_list.version,
        }

    async def sign_certificate(self) -> str:
        """Ask for a certificate for a new key and return the status (white paper A02)."""
        organization = self.configuration.keys["CpoName"].value or "Voltbus"
        request = self.certificates.request(self.options.serial, organization)
        return str((await self.call("SignCertificate", {"csr": request}))["status"])

    async def boot(self, reason: str = "PowerUp") -> Boot:  # noqa: ARG002 - 1.6 gives no reason
        """See Station."""
        answer = await self.call(
            "BootNotification",
            {
                "chargePointVendor": self.options.vendor,
                "chargePointModel": self.options.model,
                "chargePointSerialNumber": self.options.serial,
                "firmwareVersion": self.options.firmware,
            },
        )
        if answer["status"] == "Accepted" and answer["interval"] > 0:
            self.configuration.keys["HeartbeatInterval"].value = str(answer["interval"])
        return Boot(answer["status"], answer["interval"], answer)

    async def status(self, connector: int, state: str) -> None:
        """See Station."""
        if connector:
            self.connectors[connector] = state
        await self.call(
            "StatusNotification",
            {
                "connectorId": connector,
                "errorCode": "NoError",
                "status": state,
                "timestamp": self.now(),
            },
        )

    async def authorize(self, id_token: str, token_type: str = "ISO14443") -> Authorized:  # noqa: ARG002, S107 - 1.6 has no types; no password
        """See Station."""
        answer = await self.call("Authorize", {"idTag": id_token})
        return Authorized(answer["idTagInfo"]["status"], answer)

    async def start(
        self,
        id_token: str,
        connector: int = 1,
        meter_wh: int = 0,
        *,
        token_type: str = "ISO14443",  # noqa: S107 - a type, no password
        remote_start_id: int | None = None,
    ) -> Transaction:
        """See Station. ``transaction.id`` stays None while the start is only queued."""
        transaction = Transaction(
            connector,
            id_token,
            token_type,
            meter_wh,
            begun_wh=meter_wh,
            remote_start_id=remote_start_id,
        )
        payload = {
            "connectorId": connector,
            "idTag": id_token,
            "meterStart": meter_wh,
            "timestamp": self.now(),
        }

        def begun(answer: Payload) -> None:
            transaction.id = answer["transactionId"]
            transaction.status = answer["idTagInfo"]["status"]
            transaction.answer = answer

        self.transactions[connector] = transaction
        try:
            await self.deliver(Undelivered("StartTransaction", lambda: payload, begun))
        except BaseException:
            del self.transactions[connector]
            raise
        return transaction

    async def meter(self, transaction: Transaction, wh: int) -> None:
        """See Station."""
        transaction.meter_wh = wh
        at = self.now()

        def payload() -> Payload:
            return {
                "connectorId": transaction.connector,
                "transactionId": _number(transaction),
                "meterValue": [
                    {
                        "timestamp": at,
                        "sampledValue": [
                            {
                                "value": str(wh),
                                "context": "Sample.Periodic",
                                "measurand": "Energy.Active.Import.Register",
                                "unit": "Wh",
                            }
                        ],
                    }
                ],
            }

        await self.deliver(Undelivered("MeterValues", payload, lambda _: None))

    async def stop(
        self, transaction: Transaction, meter_wh: int, reason: str = "Local"
    ) -> Transaction:
        """See Station."""
        transaction.meter_wh = meter_wh
        transaction.ended = True
        at = self.now()
        self.transactions.pop(transaction.connector, None)

        def payload() -> Payload:
            return {
                "transactionId": _number(transaction),
                "idTag": transaction.id_token,
                "meterStop": meter_wh,
                "timestamp": at,
                "reason": reason,
            }

        def ended(answer: Payload) -> None:
            transaction.answer = answer
            if "idTagInfo" in answer:
                transaction.status = answer["idTagInfo"]["status"]

        await self.deliver(Undelivered("StopTransaction", payload, ended))
        return transaction


def _number(transaction: Transaction) -> int:
    """Return the transactionId, or -1, which stations use when the start was never answered."""
    return transaction.id if isinstance(transaction.id, int) else -1
