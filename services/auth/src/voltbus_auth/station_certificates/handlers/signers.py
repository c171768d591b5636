"""Who signs stations' requests: the built-in authority, or one elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voltbus_auth.station_certificates.domain.chain import MisfitError
from voltbus_auth.station_certificates.domain.requests import STATION, V2G, NotSignedError
from voltbus_auth.station_certificates.handlers.applications import wish_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509

    from voltbus_auth.station_certificates.domain.application import Wish
    from voltbus_auth.station_certificates.domain.authority import Authority
    from voltbus_auth.station_certificates.domain.chain import Issued
    from voltbus_auth.station_certificates.domain.requests import SigningRequest
    from voltbus_backbone.contract.auth import SignCertificate


@dataclass(frozen=True)
class BuiltIn:
    """Signs here and now, what stations log in with and nothing else."""

    authority: Authority
    anchors: Sequence[x509.Certificate] = ()

    def wish(self, message: SignCertificate, request: SigningRequest) -> Wish:
        """See Signer."""
        if message.certificate_type not in {None, STATION}:
            raise NotSignedError(
                "UnsupportedRequest", "Only stations' own certificates are signed here."
            )
        return wish_of(
            message,
            request,
            common_name=message.station_id,
            organization=self.authority.organization,
        )

    def sign(self, wish: Wish, request: SigningRequest, now: datetime) -> Issued | None:
        """See Signer."""
        try:
            return self.authority.sign(request.key, wish.station_id, now)
        except MisfitError as error:
            raise NotSignedError("InternalError", str(error)) from None


@dataclass(frozen=True)
class External:
    """Passes requests on; its certificates come later, and must lead to one of the anchors."""

    organization: str
    anchors: Sequence[x509.Certificate] = ()

    def wish(self, message: SignCertificate, request: SigningRequest) -> Wish:
        """See Signer."""
        if message.certificate_type in V2G:
            return wish_of(
                message,
                request,
                common_name=request.common_name,
                organization=request.organization,
            )
        if message.certificate_type not in {None, STATION}:
            raise NotSignedError("UnsupportedRequest", "This type of certificate is not known.")
        return wish_of(
            message, request, common_name=message.station_id, organization=self.organization
        )

    def sign(self, _wish: Wish, _request: SigningRequest, _now: datetime) -> Issued | None:
        """See Signer: not here."""
        return None
