"""What stations ask about certificates: a signature, a status, a car's contract certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.contract.auth import (
    GetCertificateStatus,
    GetEvCertificate,
    OcspHash,
    Revocation,
    SignCertificate,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.wire.limits import to_optional_integer
from voltbus_gateway.domain.wire.times import format_time

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import (
        CertificateStatus,
        GetCertificateStatusAnswer,
        GetEvCertificateAnswer,
        SignCertificateAnswer,
    )
    from voltbus_gateway.domain.translation.route import Context
    from voltbus_gateway.domain.wire.frames import Payload

# Of StatusInfoType: reasonCode, additionalInfo (2.1 allows more).
_CODE_LIMIT, _INFO_LIMIT = 20, 512
# The longest ocspResult and exiResponse of each version.
_OCSP_LIMIT = {Protocol.OCPP201: 5500, Protocol.OCPP21: 18_000}
_EXI_LIMIT = {Protocol.OCPP201: 7500, Protocol.OCPP21: 17_000}


def ocsp_hash(value: Payload, urls: tuple[str, ...] = ()) -> OcspHash:
    """OCSPRequestDataType, or CertificateHashDataType with the responders beside it."""
    first, *further = urls or (value.get("responderURL", ""),)
    return OcspHash(
        hash_algorithm=value["hashAlgorithm"],
        issuer_name_hash=value["issuerNameHash"],
        issuer_key_hash=value["issuerKeyHash"],
        serial_number=value["serialNumber"],
        responder_url=first,
        further_urls=tuple(further),
    )


def certificate_status(payload: Payload, context: Context) -> GetCertificateStatus:
    """GetCertificateStatus (M06)."""
    return GetCertificateStatus(
        station_id=context.station_id,
        protocol=context.protocol,
        certificates=(ocsp_hash(payload["ocspRequestData"]),),
    )


def certificate_status_answer(
    answer: GetCertificateStatusAnswer, payload: Payload, context: Context
) -> Payload:
    """GetCertificateStatusResponse: Accepted with the responder's answer, whatever it says."""
    (found,) = answer.certificates
    result = found.ocsp_response
    if result is None or len(result) > _OCSP_LIMIT[context.protocol]:
        return certificate_status_silence(payload, context)
    return {"status": "Accepted", "ocspResult": result}


def certificate_status_silence(_payload: Payload, _context: Context) -> Payload:
    """No status could be had (M06): the station keeps what it has."""
    return {"status": "Failed"}


def chain_status(payload: Payload, context: Context) -> GetCertificateStatus:
    """GetCertificateChainStatus of 2.1: those of its certificates that OCSP knows about."""
    return GetCertificateStatus(
        station_id=context.station_id,
        protocol=context.protocol,
        certificates=tuple(
            ocsp_hash(request["certificateHashData"], tuple(request["urls"]))
            for request in payload["certificateStatusRequests"]
            if _is_ocsp(request)
        ),
    )


def chain_status_answer(
    answer: GetCertificateStatusAnswer, payload: Payload, context: Context
) -> Payload:
    """GetCertificateChainStatusResponse: a status for each certificate; no CRL is read."""
    status = iter(answer.certificates)
    return _chain_statuses(
        [
            (request, next(status, None) if _is_ocsp(request) else None)
            for request in payload["certificateStatusRequests"]
        ],
        context,
    )


def chain_status_silence(payload: Payload, context: Context) -> Payload:
    """Nobody could be asked: each certificate is Failed."""
    return _chain_statuses(
        [(request, None) for request in payload["certificateStatusRequests"]], context
    )


def _is_ocsp(request: Payload) -> bool:
    return bool(request["source"] == "OCSP")


def _chain_statuses(
    found: list[tuple[Payload, CertificateStatus | None]], context: Context
) -> Payload:
    return {
        "certificateStatus": [
            {
                "certificateHashData": request["certificateHashData"],
                "source": request["source"],
                "status": (status.status if status is not None else Revocation.FAILED).capitalize(),
                # Obligatory: where nothing holds for any time, it may be asked again at once.
                "nextUpdate": format_time((status and status.next_update) or context.now),
            }
            for request, status in found
        ]
    }


def ev_certificate(payload: Payload, context: Context) -> GetEvCertificate:
    """Get15118EVCertificate (M01, M02)."""
    return GetEvCertificate(
        station_id=context.station_id,
        protocol=context.protocol,
        schema_version=payload["iso15118SchemaVersion"],
        action=payload["action"],
        exi_request=payload["exiRequest"],
        max_chains=to_optional_integer(payload.get("maximumContractCertificateChains")),
        prioritized_emaids=tuple(payload.get("prioritizedEMAIDs", ())),
    )


def ev_certificate_answer(
    answer: GetEvCertificateAnswer, payload: Payload, context: Context
) -> Payload:
    """Get15118EVCertificateResponse, as the provider says it."""
    if len(answer.exi_response) > _EXI_LIMIT[context.protocol]:
        return ev_certificate_silence(payload, context)
    response: Payload = {
        "status": "Accepted" if answer.status == "Accepted" else "Failed",
        "exiResponse": answer.exi_response,
    }
    if answer.remaining_contracts is not None and context.protocol is Protocol.OCPP21:
        response["remainingContracts"] = max(answer.remaining_contracts, 0)
    return response


def ev_certificate_silence(_payload: Payload, _context: Context) -> Payload:
    """No provider answered: Failed; the EXI text is obligatory, if empty."""
    return {"status": "Failed", "exiResponse": ""}


def sign_certificate(payload: Payload, context: Context) -> SignCertificate:
    """SignCertificate (A02); 1.6 gives no type, 2.1 a request id and a root."""
    root = payload.get("hashRootCertificate")
    return SignCertificate(
        station_id=context.station_id,
        protocol=context.protocol,
        csr=payload["csr"],
        certificate_type=payload.get("certificateType"),
        request_id=to_optional_integer(payload.get("requestId")),
        root=ocsp_hash(root) if root is not None else None,
    )


def sign_certificate_answer(
    answer: SignCertificateAnswer, _payload: Payload, context: Context
) -> Payload:
    """SignCertificateResponse: the certificate itself follows by CertificateSigned."""
    response: Payload = {"status": "Accepted" if answer.accepted else "Rejected"}
    if answer.reason_code is not None and context.protocol is not Protocol.OCPP16:
        response["statusInfo"] = {"reasonCode": answer.reason_code[:_CODE_LIMIT]}
        if answer.reason is not None:
            response["statusInfo"]["additionalInfo"] = answer.reason[:_INFO_LIMIT]
    return response


def sign_certificate_silence(_payload: Payload, _context: Context) -> Payload:
    """Nobody can process the request now (A02.FR.04): the station asks again later."""
    return {"status": "Rejected"}
