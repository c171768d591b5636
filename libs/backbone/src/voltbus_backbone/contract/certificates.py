"""Certificates of stations' own: what an authority elsewhere is asked, and what it answers.

Asked on `providers.requests`, answered on `auth.certificate-requests`, minutes or hours later: an
authority may need a person. Neither topic is public.
"""

from __future__ import annotations

from datetime import datetime

from voltbus_backbone.contract.auth import OcspHash
from voltbus_backbone.contract.values import Message


class CertificateWanted(Message, frozen=True):
    """A station's signing request, for an authority to sign or to refuse. (request; A02)

    ``csr`` is PEM as it came. ``certificate_type`` is CertificateSigningUseEnumType. For a
    station's own certificate (``ChargingStationCertificate``) the subject must have
    ``organization`` as O and ``common_name`` as CN, whatever the request says; for the other types
    the request's own subject counts and both are left out. The same ``request_id`` may come again:
    the same answer is wanted. ``root`` names the root under which the station wants it, if it says.
    """

    request_id: str
    station_id: str
    certificate_type: str
    csr: str
    at: datetime
    common_name: str | None = None
    organization: str | None = None
    root: OcspHash | None = None


class CertificateMade(Message, frozen=True):
    """What an authority made of a signing request. (to `auth.certificate-requests`, a fact)

    ``chain`` is PEM: the station's certificate, then those that signed it, each by the next; the
    root may be left out. Without a chain it is a refusal, and ``refusal`` says why in one sentence.
    """

    request_id: str
    station_id: str
    chain: str | None = None
    refusal: str | None = None
