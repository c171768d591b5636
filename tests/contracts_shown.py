"""Contract certificates as system tests and conformance cases show them (Plug and Charge, C07)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from auth.plug_and_charge.pki import pem
from voltbus_backbone.values import emaid

if TYPE_CHECKING:
    from auth.plug_and_charge.pki import Made
    from operating import Operator


async def trust(operator: Operator, made: Made, **fields: Any) -> str:
    body = {"certificate": pem(made.certificate), "type": "MO", **fields}
    added = await operator.done("POST", "auth", "/v1/roots", json=body)
    return str(added["id"])


async def contract(operator: Operator, **fields: Any) -> str:
    """Register a contract; its eMAID."""
    value = a_contract_id()
    body = {"id_token": value, "type": "eMAID", "status": "accepted", **fields}
    await operator.done("POST", "auth", "/v1/tokens", json=body)
    return value


def a_contract_id() -> str:
    body = f"NLTNM{secrets.token_hex(5)[:9].upper()}"
    return f"{body}{emaid.check_digit(body)}"


async def authorize(station: Any, value: str, **certificate: Any) -> tuple[str | None, str]:
    """Certificate status and status of an Authorize."""
    payload = {"idToken": {"idToken": value, "type": "eMAID"}, **certificate}
    answer = await station.call("Authorize", payload)
    return answer.get("certificateStatus"), answer["idTokenInfo"]["status"]


def hash_data(made: Made, **change: Any) -> dict[str, str]:
    """OCSPRequestDataType."""
    one = made.hashed(**change)
    return {
        "hashAlgorithm": one.hash_algorithm,
        "issuerNameHash": one.issuer_name_hash,
        "issuerKeyHash": one.issuer_key_hash,
        "serialNumber": one.serial_number,
        "responderURL": one.responder_url,
    }
