"""What makes a station fetch or deliver a file."""

from datetime import datetime
from typing import Any, Literal

from voltbus_config.domain.compile.forms import Unsupported
from voltbus_config.domain.shapes.shape import Call, Shape, moment


class GetLog(Shape, frozen=True, kw_only=True):
    """Upload diagnostics, or the security log, to a location (a URL)."""

    location: str
    kind: Literal["diagnostics", "security"] = "diagnostics"
    since: datetime | None = None
    until: datetime | None = None
    retries: int | None = None
    retry_interval_s: int | None = None

    def _v16(self, number: int) -> Call:
        if self.kind == "security":
            return self._v2(number)  # the security extension has 2.x's message
        return "GetDiagnostics", {
            "location": self.location,
            "startTime": moment(self.since),
            "stopTime": moment(self.until),
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }

    def _v2(self, number: int) -> Call:
        return "GetLog", {
            "logType": "SecurityLog" if self.kind == "security" else "DiagnosticsLog",
            "requestId": number,
            "log": {
                "remoteLocation": self.location,
                "oldestTimestamp": moment(self.since),
                "latestTimestamp": moment(self.until),
            },
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }


class UpdateFirmware(Shape, frozen=True, kw_only=True):
    """Fetch firmware from a location (a URL) and install it; signed when a signature is given."""

    location: str
    retrieve_at: datetime
    install_at: datetime | None = None
    signature: str | None = None
    signing_certificate: str | None = None
    retries: int | None = None
    retry_interval_s: int | None = None

    def __post_init__(self) -> None:
        """A signature and its certificate belong together (1.6 Whitepaper, 2.x L01)."""
        if (self.signature is None) != (self.signing_certificate is None):
            raise ValueError("signature and signing_certificate: give both, or neither")

    def _v16(self, number: int) -> Call:
        if self.signature is not None:
            return "SignedUpdateFirmware", self._build_signed_request(number)
        if self.install_at is not None:
            raise Unsupported("OCPP 1.6 takes install_at only for signed firmware")
        return "UpdateFirmware", {
            "location": self.location,
            "retrieveDate": moment(self.retrieve_at),
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }

    def _v2(self, number: int) -> Call:
        return "UpdateFirmware", self._build_signed_request(number)

    def _build_signed_request(self, number: int) -> dict[str, Any]:
        return {
            "requestId": number,
            "firmware": {
                "location": self.location,
                "retrieveDateTime": moment(self.retrieve_at),
                "installDateTime": moment(self.install_at),
                "signature": self.signature,
                "signingCertificate": self.signing_certificate,
            },
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }
