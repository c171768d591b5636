"""The settings of the config service, from the environment (prefix ``VOLTBUS_``)."""

from __future__ import annotations

from pydantic import Field

from voltbus_backbone.settings import StoreSettings
from voltbus_config.domain.stations import Registration


class Settings(StoreSettings):
    """Durations are in seconds.

    ``unknown_station``: what a station is that nobody registered. ``boot_wait_s``: how long calls
    to a station that has just connected wait for a possible BootNotification, ``settle_s`` once it
    has said something else. ``gateway_silence_s``: a gateway not heard of for longer has lost its
    connections. ``command_margin_s``: how long after a call's own timeout its gateway is given up.
    ``payment_methods_keys``: the OCPP 1.6 key by vendor ("*" for any) that takes the payment
    methods.
    """

    unknown_station: Registration = Registration.REJECTED
    heartbeat_s: int = Field(default=300, ge=1)
    boot_retry_s: int = Field(default=60, ge=1)
    boot_wait_s: float = Field(default=10.0, ge=0)
    settle_s: float = Field(default=1.0, ge=0)
    boot_lag_s: float = Field(default=0.2, ge=0)
    gateway_silence_s: float = Field(default=15.0, gt=0)
    command_ttl_s: float = Field(default=86_400.0, gt=0)
    command_margin_s: float = Field(default=10.0, ge=1)
    commands_kept_days: int = Field(default=30, ge=1)
    setting_timeout_s: float = Field(default=30.0, gt=0)
    variables_per_call: int = Field(default=10, ge=4)  # what payment methods need together
    payment_methods_keys: dict[str, str] = Field(default_factory=dict)
