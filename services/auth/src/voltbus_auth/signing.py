"""Who signs stations' requests, as the settings say."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from voltbus_auth.station_certificates.domain.authority import read_authority
from voltbus_auth.station_certificates.handlers.signers import BuiltIn, External
from voltbus_backbone.errors import SettingsError
from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from voltbus_auth.settings import Settings
    from voltbus_auth.station_certificates.handlers.applications import Signer


def signer(settings: Settings) -> Signer | None:
    """The authority for stations' certificates; None where there is none.

    Raises:
        SettingsError: only half of it is set, or it cannot be used.
    """
    chosen = settings.station_ca or _implied(settings)
    if chosen == "none":
        return None
    if not settings.station_ca_organization:
        raise SettingsError(
            "VOLTBUS_STATION_CA_ORGANIZATION is obligatory with an authority: give the O of "
            "stations' certificates, the gateway's VOLTBUS_TLS_ORGANIZATION"
        )
    if chosen == "external":
        return External(settings.station_ca_organization, _anchors(settings))
    return _built_in(settings, settings.station_ca_organization)


def _implied(settings: Settings) -> str:
    files = (settings.station_ca_cert_file, settings.station_ca_key_file)
    return "none" if files == (None, None) else "built-in"


def _built_in(settings: Settings, organization: str) -> BuiltIn:
    certificate, key = settings.station_ca_cert_file, settings.station_ca_key_file
    if certificate is None or key is None:
        raise SettingsError(
            "the built-in authority needs VOLTBUS_STATION_CA_CERT_FILE and "
            "VOLTBUS_STATION_CA_KEY_FILE"
        )
    unusable = SettingsError(
        "VOLTBUS_STATION_CA_CERT_FILE and VOLTBUS_STATION_CA_KEY_FILE must be the PEM of an "
        "authority's certificate and of its RSA or EC key"
    )
    with refuse_unreadable(unusable):
        authority = read_authority(
            certificate.read_bytes(),
            key.read_bytes(),
            organization=organization,
            validity=timedelta(days=settings.station_certificate_days),
        )
    return BuiltIn(authority)


def _anchors(settings: Settings) -> tuple[x509.Certificate, ...]:
    file = settings.station_ca_cert_file
    if file is None:
        return ()
    unusable = SettingsError(
        "VOLTBUS_STATION_CA_CERT_FILE must be the PEM of the authorities to which chains lead"
    )
    with refuse_unreadable(unusable):
        return tuple(x509.load_pem_x509_certificates(file.read_bytes()))
