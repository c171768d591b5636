"""The gateway's settings, from the environment (prefix ``VOLTBUS_``). Durations are in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, IPvAnyNetwork, field_validator, model_validator

from voltbus_backbone.bounds import FRAME_BYTES
from voltbus_backbone.settings import ServiceSettings
from voltbus_gateway.domain.repairs.reading import Facts
from voltbus_gateway.domain.wire.schemas import Extras


class Settings(ServiceSettings):
    """The settings of a gateway.

    ``answer_deadline_s`` is our own budget for a station's call; it must end before the station's
    timeout, which is 30 s in most firmware, so that the station hears an error and not silence.
    """

    # The door.
    ocpp_host: str = "127.0.0.1"
    ocpp_port: int | None = Field(
        default=None, ge=0, le=65535, description="security profile 1: a password, no TLS"
    )
    ocpp_path: str = "/ocpp"
    allow_no_password: bool = Field(
        default=False, description="security profile 0: no password is asked; for development only"
    )
    upgrade_without_subprotocol: bool = Field(
        default=False,
        description="no common subprotocol: upgrade and close at once instead of HTTP 400 (A3)",
    )
    login_deadline_s: float = Field(default=5.0, gt=0)
    open_timeout_s: float = Field(default=20.0, gt=0)
    failed_logins: int = Field(
        default=5, ge=1, description="wrong passwords in a row before a station has to wait"
    )
    failed_login_wait_s: float = Field(default=30.0, ge=0, description="the longest such wait")

    # TLS listeners. The second key pair is there so that RSA and ECDSA can be served at once.
    ocpp_tls_port: int | None = Field(
        default=None, ge=0, le=65535, description="security profile 2: TLS and password"
    )
    ocpp_mtls_port: int | None = Field(
        default=None, ge=0, le=65535, description="security profile 3: client certificates"
    )
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_second_cert_file: Path | None = None
    tls_second_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    tls_client_crl_file: Path | None = Field(
        default=None,
        description="PEM: which station certificates are revoked, a list of each authority",
    )
    tls_close_distrusted: bool = Field(
        default=True,
        description="open connections whose certificate is no longer trusted are closed (1008)",
    )
    tls_organization: str | None = Field(
        default=None, description="the O that a station's certificate must have (A00.FR.405)"
    )
    tls_reload_s: float = Field(default=10.0, gt=0, description="files are looked at so often")

    # Admission: a fleet that comes back at once is let in at a bounded rate.
    connect_rate_per_s: float = Field(default=400.0, gt=0)
    connect_burst: int = Field(default=200, ge=1)
    connect_longest_wait_s: float = Field(
        default=10.0, ge=0, description="who would wait longer gets 503 and Retry-After"
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="networks of proxies whose X-Forwarded-For tells a station's address",
    )
    max_connections: int = Field(default=20_000, ge=1)

    # The socket.
    max_frame_bytes: int = Field(default=FRAME_BYTES, ge=1024, le=FRAME_BYTES)
    compression: bool = True
    ping_interval_s: float = Field(default=45.0, ge=0, description="0: no pings")
    ping_timeout_s: float = Field(default=20.0, gt=0)
    ping_silence_s: float = Field(
        default=900.0,
        ge=0,
        description="a station that has never answered a ping lives while it sends something so "
        "often",
    )
    close_timeout_s: float = Field(default=5.0, gt=0)
    write_limit_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        description="a station that has not taken so much of what we wrote is not read",
    )
    socket_buffer_bytes: int = Field(
        default=64 * 1024,
        ge=4096,
        description="the kernel's buffers of a station's socket, in each direction",
    )

    # What one station may cost the others. Who is over a budget is read more slowly.
    messages_per_s: float = Field(default=2000.0, gt=0)
    bytes_per_s: float = Field(
        default=1024 * 1024, gt=0, description="of messages, after decompression"
    )
    loop_share: float = Field(
        default=0.1, gt=0, le=1, description="of the event loop's time, for reading its messages"
    )
    budget_burst_s: float = Field(
        default=2.0, gt=0, description="so many seconds' worth of these may come at once"
    )
    control_frames_per_s: float = Field(default=20.0, gt=0)
    control_frames_burst: int = Field(
        default=200, ge=1, description="pings and pongs at once; a station with more is closed"
    )
    max_held_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="unread, waiting and unsent, of all stations; then the dearest is closed",
    )

    # Calls.
    unknown_properties: Extras = Extras.REFUSE
    station_facts: Facts = Field(
        default=Facts.LENIENT,
        description="facts and answers that don't fit their schema: mended, or refused (ADR 0012)",
    )
    answer_deadline_s: float = Field(default=10.0, gt=0)
    registration_deadline_s: float = Field(default=3.0, gt=0)
    longest_call_timeout_s: float = Field(default=300.0, gt=0)
    calls_ahead: int = Field(
        default=16, ge=1, description="a station's calls that may wait for their turn"
    )
    commands_ahead: int = Field(
        default=64, ge=1, description="calls to a station that may wait for their turn"
    )
    max_in_flight: int = Field(
        default=8192, ge=1, description="calls being handled by this process; then reading stops"
    )
    max_in_flight_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=64 * 1024,
        description="their bytes before they are parsed; parsed they take some twenty times that",
    )

    # Events.
    beat_s: float = Field(default=5.0, gt=0)
    seen_s: float = Field(
        default=60.0, ge=0, description="a station's heartbeats are told so often"
    )
    outage_s: float = Field(
        default=5.0, gt=0, description="Kafka silent for so long: not ready, stations are sent away"
    )
    retry_s: float = Field(
        default=1.0, gt=0, description="what Kafka did not take is told again after so long"
    )
    close_batch: int = Field(default=200, ge=1)
    close_pause_s: float = Field(default=0.1, ge=0)

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if self.ocpp_tls_port is None and self.ocpp_mtls_port is None:
            if self.ocpp_port is None:
                raise ValueError(
                    "give VOLTBUS_OCPP_PORT, VOLTBUS_OCPP_TLS_PORT or VOLTBUS_OCPP_MTLS_PORT"
                )
            return self
        if self.tls_cert_file is None or self.tls_key_file is None:
            raise ValueError("a TLS port needs VOLTBUS_TLS_CERT_FILE and VOLTBUS_TLS_KEY_FILE")
        if (self.tls_second_cert_file is None) != (self.tls_second_key_file is None):
            raise ValueError("VOLTBUS_TLS_SECOND_CERT_FILE and _KEY_FILE go together")
        if self.ocpp_mtls_port is not None and (
            self.tls_client_ca_file is None or self.tls_organization is None
        ):
            raise ValueError(
                "VOLTBUS_OCPP_MTLS_PORT needs VOLTBUS_TLS_CLIENT_CA_FILE and "
                "VOLTBUS_TLS_ORGANIZATION"
            )
        return self

    @field_validator("ocpp_path")
    @classmethod
    def _path(cls, value: str) -> str:
        if not value.startswith("/") or "?" in value or "#" in value:
            raise ValueError("must be a path that starts with '/'")
        return value.rstrip("/")
