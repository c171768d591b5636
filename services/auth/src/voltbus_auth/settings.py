"""What the auth service takes from its environment (prefix ``VOLTBUS_``)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field

from voltbus_auth.decisions.domain.verdict import Silence
from voltbus_auth.tokens.domain.identifiers import TokenKey, read_key
from voltbus_auth.transactions.domain.review import PLAUSIBLE_W
from voltbus_backbone.errors import SettingsError
from voltbus_backbone.settings import StoreSettings


class Way(StrEnum):
    """How the external authorizer is asked."""

    NONE = "none"
    TOPIC = "topic"
    HTTP = "http"


class Settings(StoreSettings):
    """The auth service's settings. Durations are in the unit that their name ends in."""

    mongo_database: str = "voltbus_auth"
    token_key_file: Path = Field(
        description="At least 32 secret bytes, raw or base64: the key of token references."
    )
    token_key_other_file: Path | None = Field(
        default=None,
        description="While one token key replaces another: first the next key, then the one "
        "before.",
    )
    field_key_file: Path | None = Field(
        default=None,
        description="96 bytes in base64: the master key under which readable tokens are kept. "
        "Without it no readable token is kept at all.",
    )
    require_agreement: bool = Field(
        default=False, description="Refuse a token that no agreement covers."
    )
    cache_hours: float = Field(
        default=24.0, gt=0, description="How long a station may rely on an acceptance."
    )
    decision_log_days: float = Field(
        default=30.0, ge=0, description="How long decisions are remembered; 0: not at all."
    )
    require_ocsp: bool = Field(
        default=True,
        description="Refuse a contract certificate when no OCSP responder tells its status.",
    )
    ocsp_deadline_s: float = Field(
        default=3.0, gt=0, description="How long OCSP responders may take for one certificate."
    )
    station_ca: Literal["none", "built-in", "external"] | None = Field(
        default=None,
        description="Who signs stations' requests for certificates. Left out: built-in where its "
        "key is given, else none.",
    )
    station_ca_cert_file: Path | None = Field(
        default=None,
        description="PEM: the built-in authority's certificate, then those above it. With an "
        "external one: the authorities to which its chains must lead.",
    )
    station_ca_key_file: Path | None = Field(
        default=None, description="PEM, not encrypted: the key of the built-in authority."
    )
    station_ca_organization: str | None = Field(
        default=None, description="O of stations' certificates; obligatory with an authority."
    )
    station_certificate_renew_days: float | None = Field(
        default=None,
        gt=0,
        description="Stations are told to ask for a new certificate so long before theirs ends. "
        "Without it nobody tells them.",
    )
    station_certificate_renewals_per_minute: int = Field(
        default=60, ge=1, description="How many stations at most are told so in a minute."
    )
    station_certificate_days: float = Field(
        default=365.0, gt=0, description="How long the built-in authority's certificates hold."
    )
    roots_refresh_s: float = Field(
        default=5.0, gt=0, description="How soon replicas learn of an added or removed root."
    )
    change_wait_s: float = Field(
        default=3600.0,
        gt=0,
        le=604_800,
        description="How long a command of a rotation or an upgrade may wait for its station.",
    )
    upgrade_window_s: float = Field(
        default=900.0,
        gt=0,
        description="By when a station must be back with the higher security profile.",
    )
    local_list_settle_s: float = Field(
        default=1.0,
        ge=0,
        description="A change waits so long for others before stations' local lists are changed.",
    )
    local_list_retry_s: float = Field(
        default=30.0,
        gt=0,
        description="The first wait after a local list was not taken; doubled up to an hour.",
    )
    default_max_concurrent: int | None = Field(
        default=None, ge=1, description="For tokens that set none; nothing means no limit."
    )
    forget_open_days: float = Field(
        default=7.0,
        gt=0,
        description="A transaction older than this, never ended, no longer counts as open.",
    )
    external_authorizer: Way = Field(
        default=Way.NONE,
        description="Who is asked about tokens that nobody registered: nobody, whoever answers on "
        "the topic providers.requests, or an HTTP server (OCPI real-time authorization).",
    )
    external_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]+",
        description="http: the other side's OCPI tokens endpoint; `/{uid}/authorize` is added.",
    )
    external_token_file: Path | None = Field(
        default=None, description="http: the secret of `Authorization: Token`, as it was agreed."
    )
    external_deadline_s: float = Field(
        default=3.0, gt=0, description="How long the external authorizer may take."
    )
    external_cache_s: float = Field(
        default=300.0, ge=0, description="How long its answer is used again, at the most."
    )
    external_silence: Silence = Field(
        default=Silence.ERROR, description="What holds when it does not answer in time."
    )
    external_concurrency: int = Field(
        default=64, ge=1, description="Questions to it at once, of one process."
    )
    ev_certificate_provider: bool = Field(
        default=False,
        description="Whether a provider of contract certificates answers on providers.requests; "
        "without one a car hears Failed at once.",
    )
    ev_certificate_deadline_s: float = Field(
        default=5.0, gt=0, description="How long that provider may take before the car hears so."
    )
    superseded_ends_s: float = Field(
        default=3600.0,
        ge=0,
        description="How long a transaction that is superseded waits for its end before it is told "
        "as ended with what was measured.",
    )
    plausible_power_w: float = Field(
        default=PLAUSIBLE_W,
        gt=0,
        description="More power than this between two readings of a register is doubted.",
    )
    transactions_kept_days: float = Field(
        default=0.0,
        ge=0,
        description="How long ended transactions and their samples are kept after the last message "
        "of them; 0: for ever.",
    )


def token_key(settings: Settings) -> TokenKey:
    """The key of token references, and the other one where there is one.

    Raises:
        SettingsError: a file cannot be read or holds too little.
    """
    other = None
    if settings.token_key_other_file is not None:
        name = "VOLTBUS_TOKEN_KEY_OTHER_FILE"
        other = TokenKey(_secret(settings.token_key_other_file, name))
    return TokenKey(_secret(settings.token_key_file, "VOLTBUS_TOKEN_KEY_FILE"), other)


def _secret(path: Path, name: str) -> bytes:
    try:
        return read_key(path.read_bytes())
    except (OSError, ValueError):
        raise SettingsError(
            f"{name} must be a readable file with at least 32 secret bytes"
        ) from None
